//! Problems of the embedded model's tasks, which it is measured and calibrated on in place of texts.

use dynlayer::inference::ScoreItem;
use dynlayer::model::text::Tokenizer;
use dynlayer_tiny::{Problem, Task};
use std::error::Error;

/// The number of problems of each task that controllers are calibrated on.
const CALIBRATION: u64 = 40;

/// Returns the first `n` held-out problems, taking the tasks in turn.
pub fn held_out(n: usize) -> impl Iterator<Item = Problem> {
    let tasks = Task::ALL.len();
    (0..n).map(move |i| Problem::new(Task::ALL[i % tasks], 0, (i / tasks) as u64, true))
}

/// Returns the first `limit` held-out problems with their answers, each of which ends with the end-of-text token.
pub fn items(tokenizer: &Tokenizer, limit: usize) -> Result<Vec<ScoreItem>, Box<dyn Error>> {
    let item = |problem: Problem| {
        let mut continuation = tokenizer.encode(&problem.answer, false)?;
        continuation.extend(tokenizer.eos_id());
        Ok(ScoreItem { prompt: tokenizer.encode(&problem.prompt, false)?, continuation })
    };
    held_out(limit).map(item).collect()
}

/// Returns the token ids of problems with their answers, to calibrate on. None of these problems is held out.
pub fn calibration(tokenizer: &Tokenizer) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
    let problems = Task::ALL.iter().flat_map(|task| (0..CALIBRATION).map(|i| Problem::new(*task, 0, i, false)));
    problems.map(|problem| Ok(tokenizer.encode(&(problem.prompt + &problem.answer), false)?)).collect()
}
