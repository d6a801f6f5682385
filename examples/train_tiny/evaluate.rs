//! Exact match of held-out problems by task and depth.

use dynlayer::inference::controllers::ExitAfter;
use dynlayer::inference::generate;
use dynlayer::model::Llama;
use dynlayer::model::text::Tokenizer;
use dynlayer_tiny::{self as tiny, Problem, Task};
use std::error::Error;
use std::fmt;

/// The number of problems that run together.
const BATCH: usize = 100;

/// The shares of solved problems by task and depth.
pub struct Table {
    /// The number of layers of each column.
    pub depths: Vec<usize>,
    /// Each task with its shares, depth by depth.
    pub rows: Vec<(Task, Vec<f64>)>,
    /// The number of problems of each task.
    pub problems: usize,
}

/// Runs all problems at every depth; a pass of that depth predicts every token.
pub fn table(model: &Llama, tokenizer: &Tokenizer, problems: &[Problem]) -> Result<Table, Box<dyn Error>> {
    let depths: Vec<usize> = (1..=model.layers().len()).collect();
    let mut rows: Vec<(Task, Vec<f64>)> = Task::ALL.iter().map(|task| (*task, Vec::new())).collect();
    for depth in &depths {
        for (task, shares) in &mut rows {
            let of_task: Vec<&Problem> = problems.iter().filter(|problem| problem.task == *task).collect();
            let mut solved = 0u32;
            for batch in of_task.chunks(BATCH) {
                solved += run(model, tokenizer, batch, *depth)?;
            }
            shares.push(f64::from(solved) / of_task.len() as f64);
        }
    }
    Ok(Table { depths, rows, problems: problems.len() / Task::ALL.len() })
}

fn run(model: &Llama, tokenizer: &Tokenizer, problems: &[&Problem], depth: usize) -> Result<u32, Box<dyn Error>> {
    let prompts =
        problems.iter().map(|problem| tokenizer.encode(&problem.prompt, false)).collect::<Result<Vec<_>, _>>()?;
    let (completions, _) = generate(model, ExitAfter(depth), &prompts, tiny::options(tokenizer))?.finish()?;
    let solved = completions.iter().zip(problems).filter(|(completion, problem)| problem.solved_by(&completion.text));
    Ok(u32::try_from(solved.count())?)
}

impl Table {
    /// Returns the mean share over tasks at full depth.
    pub fn mean_at_full_depth(&self) -> f64 {
        let last: Vec<f64> = self.rows.iter().filter_map(|(_, shares)| shares.last().copied()).collect();
        last.iter().sum::<f64>() / last.len() as f64
    }
}

/// Writes a Markdown table.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = |f: &mut fmt::Formatter<'_>, cell: &dyn Fn(usize) -> String| -> fmt::Result {
            (0..self.depths.len()).try_for_each(|i| write!(f, " {} |", cell(i)))
        };
        write!(f, "| task |")?;
        columns(f, &|i| self.depths[i].to_string())?;
        write!(f, "\n|---|")?;
        columns(f, &|_| "---:".to_owned())?;
        for (task, shares) in &self.rows {
            write!(f, "\n| {task} |")?;
            columns(f, &|i| format!("{:.1}", 100.0 * shares[i]))?;
        }
        Ok(())
    }
}
