//! Logits, loss and norms of a prompt's forward pass, by a layer loop over the model's pieces.

use burn::tensor::Tensor;
use dynlayer::model::Llama;
use serde::Serialize;
use std::error::Error;

/// The number of positions whose logits are in memory at once.
const POSITIONS_AT_ONCE: usize = 64;

/// The logits and norms at the prompt's last position, and the mean loss of its tokens.
#[derive(Serialize)]
pub struct Inspection {
    prompt_ids: Vec<u32>,
    /// Ids and logits of the largest logits, the highest first.
    top: Vec<(usize, f32)>,
    logsumexp: f64,
    /// Mean negative log-likelihood of the prompt's tokens from the second on; `None` for a single token.
    mean_nll: Option<f64>,
    /// L2 norms of the embedding, of the states after all layers but the last, and of the final normed state.
    hidden_norms: Vec<f32>,
}

/// Runs the prompt at full depth; keeps the `n` largest logits after it.
pub fn inspect(model: &Llama, prompt: &[u32], n: usize) -> Result<Inspection, Box<dyn Error>> {
    let config = model.config();
    if prompt.is_empty() || prompt.len() > config.max_positions {
        return Err(format!("a prompt of {} tokens; expected 1 to {}", prompt.len(), config.max_positions).into());
    }
    if let Some(id) = prompt.iter().find(|id| **id as usize >= config.vocab_size) {
        return Err(format!("token {id} in a vocabulary of {}", config.vocab_size).into());
    }
    let mut cache = model.cache(1, prompt.len());
    let frame = model.frame(&cache, &[0], &[(0..prompt.len()).collect()]);
    let mut hidden = model.embed(model.tokens(&[prompt])); // [1, tokens, d_model]
    let mut hidden_norms = vec![last_norm(&hidden)?];
    for (layer, block) in model.layers().iter().enumerate() {
        hidden = block.forward(hidden, &frame, cache.layer_mut(layer));
        if layer + 1 < config.n_layers {
            hidden_norms.push(last_norm(&hidden)?);
        }
    }
    let normed = model.final_norm(hidden);
    hidden_norms.push(last_norm(&normed)?);

    let (mut nll, mut last) = (0.0, Vec::new());
    for start in (0..prompt.len()).step_by(POSITIONS_AT_ONCE) {
        let count = POSITIONS_AT_ONCE.min(prompt.len() - start);
        let logits = model.head(normed.clone().narrow(1, start, count)); // [1, count, vocab_size]
        let logits = logits.try_into_data()?.try_into_vec_as::<f32>().map_err(|e| format!("{e:?}"))?;
        for (i, logits) in logits.chunks_exact(config.vocab_size).enumerate() {
            match prompt.get(start + i + 1) {
                Some(next) => nll += logsumexp(logits) - f64::from(logits[*next as usize]),
                None => last = logits.to_vec(),
            }
        }
    }
    let logsumexp = logsumexp(&last);
    let mut top: Vec<(usize, f32)> = last.into_iter().enumerate().collect();
    top.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    top.truncate(n);
    let predictions = (prompt.len() - 1) as f64;
    Ok(Inspection {
        prompt_ids: prompt.to_vec(),
        top,
        logsumexp,
        mean_nll: (predictions > 0.0).then(|| nll / predictions),
        hidden_norms,
    })
}

/// Returns the L2 norm of the last token's state; `hidden` is `[1, tokens, d_model]`.
fn last_norm(hidden: &Tensor<3>) -> Result<f32, Box<dyn Error>> {
    let tokens = hidden.dims()[1];
    let square_sum = hidden.clone().narrow(1, tokens - 1, 1).square().sum();
    let values = square_sum.try_into_data()?.try_into_vec_as::<f32>().map_err(|e| format!("{e:?}"))?;
    Ok(values.first().copied().unwrap_or(f32::NAN).sqrt())
}

fn logsumexp(logits: &[f32]) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    f64::from(most) + logits.iter().map(|x| f64::from(x - most).exp()).sum::<f64>().ln()
}
