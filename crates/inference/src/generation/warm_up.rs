//! Passes before the first request, so that no request waits for kernels to be compiled and tuned.

use super::{GenerateError, GenerateOptions, generate};
use crate::controllers::ExitAfter;
use dynlayer_model::Llama;
use std::iter::successors;
use std::time::{Duration, Instant};

/// The prompt's length of the batches.
const PROMPT: usize = 16;
/// The layers that a pass skips, of which a GPU computes 8, 4, 2 and 1 together: there is a kernel for each of these numbers.
const SKIPPED: usize = 15;

/// The passes that [`warm_up`] has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WarmUp {
    /// The number of passes.
    pub passes: u64,
    /// The time that they took.
    pub time: Duration,
}

/// Runs passes whose results are dropped, at full depth and with an early exit: prompts of 1, 2, 4 tokens and so on up to
/// `tokens`, and batches of 1, 2, 4 sequences and so on up to `rows`.
///
/// A model with an adapter beside its weights runs them with it and without it, as speculation does.
///
/// A GPU backend compiles a kernel where it is first used, and tries several for every power of two that a dimension of a
/// matrix product reaches. A server calls this once before its first request. On a CPU it only costs time.
///
/// # Errors
/// [`GenerateError`], if a pass fails; `tokens` beyond the model's longest context are left out.
pub fn warm_up(model: &Llama, rows: usize, tokens: usize) -> Result<WarmUp, GenerateError> {
    let started = Instant::now();
    let mut passes = 0;
    let mut models = vec![model.clone()];
    models.extend(model.adapter().map(|_| model.without_adapter()));
    let mut run = |rows: usize, tokens: usize| -> Result<(), GenerateError> {
        // The first token comes from the prompt's pass, the second from a decode pass.
        let options = GenerateOptions { max_new_tokens: 2, ..GenerateOptions::default() };
        let layers = model.layers().len();
        for depth in [layers, layers.saturating_sub(SKIPPED).max(1)] {
            for model in &models {
                let prompts = vec![vec![0; tokens]; rows];
                let (_, report) = generate(model, ExitAfter(depth), &prompts, options.clone())?.finish()?;
                passes += report.prefill.passes + report.decode.passes;
            }
        }
        Ok(())
    };
    let room = model.config().max_positions.saturating_sub(2).max(1);
    for tokens in up_to(tokens.min(room)) {
        run(1, tokens)?;
    }
    for rows in up_to(rows).filter(|rows| *rows > 1) {
        run(rows, PROMPT.min(room))?;
    }
    Ok(WarmUp { passes, time: started.elapsed() })
}

/// The powers of two below `most`, and `most`.
fn up_to(most: usize) -> impl Iterator<Item = usize> {
    successors(Some(1), |n| Some(2 * n)).take_while(move |n| *n < most).chain(Some(most.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::small_model;
    use dynlayer_model::Backend;

    #[test]
    fn every_power_of_two_is_run() {
        assert_eq!(up_to(1).collect::<Vec<_>>(), [1]);
        assert_eq!(up_to(8).collect::<Vec<_>>(), [1, 2, 4, 8]);
        assert_eq!(up_to(9).collect::<Vec<_>>(), [1, 2, 4, 8, 9]);
        let model = small_model(&Backend::Flex.device().unwrap()).unwrap();
        let longest = model.config().max_positions;
        // Each generation has a pass per prompt and one decode pass, and is run at two depths.
        assert_eq!(warm_up(&model, 4, 4).unwrap().passes, 2 * (3 * 2 + (2 + 1) + (4 + 1)));
        assert!(warm_up(&model, 1, 10 * longest).is_ok());
    }
}
