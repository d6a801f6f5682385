//! The embedded model's own problems, where other models have texts.

use dynlayer::inference::ScoreItem;
use dynlayer::model::text::Tokenizer;
use dynlayer_tiny::{self as tiny, Problem, Task};
use std::error::Error;
use std::path::Path;

/// Problems of each task that controllers are calibrated on.
const CALIBRATION: u64 = 40;

/// Whether a path is that of the embedded model, which knows nothing of plain text.
pub fn is_embedded(model: &Path) -> bool {
    model == tiny::folder()
}

/// The first `n` held-out problems, the tasks in turn.
pub fn held_out(n: usize) -> impl Iterator<Item = Problem> {
    let tasks = Task::ALL.len();
    (0..n).map(move |i| Problem::new(Task::ALL[i % tasks], 0, (i / tasks) as u64, true))
}

/// The first `limit` held-out problems with their answers, whole, the end of the text included.
pub fn items(tokenizer: &Tokenizer, limit: usize) -> Result<Vec<ScoreItem>, Box<dyn Error>> {
    let item = |problem: Problem| {
        let mut continuation = tokenizer.encode(&problem.answer, false)?;
        continuation.extend(tokenizer.eos_id());
        Ok(ScoreItem { prompt: tokenizer.encode(&problem.prompt, false)?, continuation })
    };
    held_out(limit).map(item).collect()
}

/// Problems to calibrate on, with their answers; none of them is held out.
pub fn calibration(tokenizer: &Tokenizer) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
    let problems = Task::ALL.iter().flat_map(|task| (0..CALIBRATION).map(|i| Problem::new(*task, 0, i, false)));
    problems.map(|problem| Ok(tokenizer.encode(&(problem.prompt + &problem.answer), false)?)).collect()
}
