//! Runs all candidates for all prompts, and writes down the results.

mod candidate;
mod check;
mod error;
mod header;
mod item;
mod item_run;
mod journal;
mod lane;
mod lane_controllers;
mod measure;
mod merge;
mod options;
mod results;
mod scoring;
mod shard;
#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::float_cmp,
    clippy::panic,
    clippy::too_many_lines,
    reason = "small numbers in tests, compared exactly on purpose"
)]
mod tests;

pub use candidate::Candidate;
pub use error::OracleError;
pub use item::Item;
pub use measure::{Measure, ScoringInput};
pub use options::{Cost, OracleOptions};
pub use results::{MeasuredCell, MeasuredItem, OracleResults, Output};
pub use shard::{Shard, ShardError};

use dynlayer_model::Llama;
use header::Header;
use journal::Journal;
use std::path::Path;

/// A run of a model over prompts and candidates, which measures quality and cost of every candidate for every prompt.
///
/// Each prompt, without its last token, runs once at full depth. Its keys and values are then copied to one *lane* per
/// candidate: a continuation of the prompt under the candidate's controller. The lanes decode together as rows of a
/// batch. A lane gives the result that its candidate alone would give for that prompt under
/// [`ControlFrom::LastPromptToken`](crate::ControlFrom::LastPromptToken): bit for bit on the backend `flex`, and on
/// others up to the rounding of sums, where a greedy choice between two tokens of almost the same probability may differ
/// in a batch.
///
/// The results go to a file of JSON lines, one per finished item, each on the disk before the next item begins. An
/// interrupted run can be continued, and ends with the same file as an undisturbed one, except for wall times. A file
/// of a run with other settings, weights, tokenizer, items, or inputs of candidates is refused and not changed; the
/// file holds their digests.
///
/// ```
/// use dynlayer_inference::controllers::UniformSkip;
/// use dynlayer_inference::oracle::{Candidate, Item, Measure, OracleOptions, OracleRun};
/// use dynlayer_metrics::allocation::Allocator;
/// # let device = dynlayer_model::Backend::Flex.device()?;
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("run.jsonl");
///
/// let model = dynlayer_inference::conformance::small_model(&device)?;
/// let items: Vec<Item> =
///     (0..4u32).map(|i| Item { id: i.into(), prompt: vec![i, 7, 9], ..Item::default() }).collect();
/// let candidates = vec![Candidate::full(), Candidate::new("uniform:2", || UniformSkip::new(2))];
/// let run = OracleRun::new(&model, candidates, Measure::Agreement)
///     .options(OracleOptions { max_new_tokens: 6, ..OracleOptions::default() });
/// let results = run.run(&file, &items, |progress| assert!(progress.done <= progress.total))?;
///
/// let evidence = results.evidence()?;
/// let allocation = Allocator::new(&evidence)?.most_quality(3.0)?;
/// assert!(allocation.mean_cost <= 3.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct OracleRun<'a> {
    model: &'a Llama,
    candidates: Vec<Candidate<'a>>,
    measure: Measure<'a>,
    options: OracleOptions<'a>,
}

/// Progress of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OracleProgress {
    /// Number of finished items.
    pub done: usize,
    /// Number of items that were found finished in the file.
    pub resumed: usize,
    /// Number of items in total.
    pub total: usize,
}

impl<'a> OracleRun<'a> {
    /// Creates a run with default options.
    pub fn new(model: &'a Llama, candidates: Vec<Candidate<'a>>, measure: Measure<'a>) -> Self {
        Self { model, candidates, measure, options: OracleOptions::default() }
    }

    /// Sets the options.
    pub fn options(self, options: OracleOptions<'a>) -> Self {
        Self { options, ..self }
    }

    /// Runs the items that the file does not contain yet, in order; with a [shard](OracleOptions::shard), those of the shard. Calls `progress` at the beginning and after each
    /// item. Items may be appended to those of an earlier run.
    ///
    /// # Errors
    /// [`OracleError`]: before anything runs, if options, candidates or items are not valid or the file belongs to
    /// another run; later, if a controller breaks its contract, a quality is not finite, a file that a candidate reads
    /// was replaced, or the file cannot be written. After an error, the file keeps the items that were finished before
    /// it.
    pub fn run(
        &self,
        file: impl AsRef<Path>,
        items: &[Item],
        mut progress: impl FnMut(&OracleProgress),
    ) -> Result<OracleResults, OracleError> {
        let file = file.as_ref();
        self.check(items)?;
        let header = Header::new(self)?;
        let in_shard = |position| self.options.shard.is_none_or(|shard| shard.has(position));
        let items: Vec<&Item> =
            (0..).zip(items).filter(|(position, _)| in_shard(*position)).map(|(_, item)| item).collect();
        let (mut journal, mut done) = Journal::open(file, &header, &items)?;
        let (resumed, total) = (done.len(), items.len());
        progress(&OracleProgress { done: resumed, resumed, total });
        for item in &items[resumed..] {
            let measured = self.measure_item(item)?;
            header.check_inputs(&self.candidates, file)?;
            journal.append(&measured)?;
            done.push(measured);
            progress(&OracleProgress { done: done.len(), resumed, total });
        }
        Ok(OracleResults { items: done })
    }
}
