//! Problems of the tasks, for training or held out.

use super::Task;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// One prompt in this many is held out: training never sees it.
const HELD_OUT: u64 = 8;

/// A prompt and the only right answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The task.
    pub task: Task,
    /// The prompt.
    pub prompt: String,
    /// The answer, without the token that ends a text.
    pub answer: String,
}

impl Problem {
    /// Draws problem `index` of a seed, either a held-out one or one for training.
    ///
    /// A prompt is held out or not by its text alone, so no prompt is both, whatever the seeds and indices.
    ///
    /// ```
    /// use dynlayer_tiny::{Problem, Task};
    ///
    /// let problem = Problem::new(Task::Add, 0, 0, true);
    /// assert!(problem.prompt.starts_with("add ") && problem.answer.len() == 4);
    /// assert_eq!(problem, Problem::new(Task::Add, 0, 0, true));
    /// ```
    pub fn new(task: Task, seed: u64, index: u64, held_out: bool) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        key[16] = u8::from(held_out);
        key[17..17 + task.name().len()].copy_from_slice(task.name().as_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        loop {
            let (prompt, answer) = task.draw(&mut rng);
            if hash(&prompt).is_multiple_of(HELD_OUT) == held_out {
                return Self { task, prompt, answer };
            }
        }
    }

    /// Returns true if a generated text is the answer.
    pub fn solved_by(&self, text: &str) -> bool {
        text == self.answer
    }
}

/// Returns `n` held-out problems of each task, task by task.
///
/// ```
/// use dynlayer_tiny::{Task, problems};
///
/// assert_eq!(problems(&[Task::Sort, Task::Add], 10, 1).len(), 20);
/// ```
pub fn problems(tasks: &[Task], n: u64, seed: u64) -> Vec<Problem> {
    tasks.iter().flat_map(|task| (0..n).map(move |index| Problem::new(*task, seed, index, true))).collect()
}

/// Returns the FNV-1a hash of 64 bits (Fowler, Noll and Vo).
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_right() {
        for index in 0..200 {
            let problem = |task| Problem::new(task, 3, index, index % 2 == 0);
            let given = |p: &Problem| {
                let (_, rest) = p.prompt.split_once(' ').unwrap();
                rest.strip_suffix('=').unwrap().to_owned()
            };
            let sort = problem(Task::Sort);
            let mut digits: Vec<char> = given(&sort).chars().collect();
            digits.sort_unstable();
            assert_eq!(sort.answer, digits.into_iter().collect::<String>());
            let add = problem(Task::Add);
            let sum: u32 = given(&add).split('+').map(|n| n.parse::<u32>().unwrap()).sum();
            assert_eq!(add.answer, format!("{sum:04}"));
            let count = problem(Task::Count);
            let of = |letter| given(&count).chars().filter(|c| *c == letter).count().to_string();
            assert_eq!(count.answer, of('A') + &of('B') + &of('C'));
            for (steps, task) in [(1, Task::Follow1), (2, Task::Follow2), (3, Task::Follow3)] {
                let p = problem(task);
                let text = given(&p);
                let (table, query) = text.split_once(',').unwrap();
                let (start, given_steps) = query.split_once('+').unwrap();
                assert_eq!(given_steps, steps.to_string());
                let mut at: usize = start.parse().unwrap();
                for _ in 0..steps {
                    at = table[at..=at].parse().unwrap();
                }
                assert_eq!(p.answer, at.to_string());
            }
        }
    }

    #[test]
    fn held_out_prompts_are_never_trained_on() {
        for task in Task::ALL {
            let held_out: Vec<String> = (0..200).map(|i| Problem::new(task, 1, i, true).prompt).collect();
            for index in 0..2000 {
                let trained = Problem::new(task, 0, index, false).prompt;
                assert!(!held_out.contains(&trained), "{trained}");
            }
        }
    }
}
