//! From a model, prompts and candidates to evidence.

mod candidate;
mod check;
mod error;
mod header;
mod item;
mod journal;
mod judge;
mod lane;
mod lanes;
mod measure;
mod measured;
mod options;
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
mod work;

pub use candidate::Candidate;
pub use error::DriveError;
pub use item::Item;
pub use measure::{Judged, Measure, OutputMeasure};
pub use measured::{Driven, Measured, MeasuredCell, Output};
pub use options::{Cost, DriveOptions};

use dynlayer_model::Llama;
use header::Header;
use journal::Journal;
use std::path::Path;
use work::Work;

/// Runs a model over prompts and candidates, and writes down what every candidate did for every prompt.
///
/// Each prompt runs once, all but its last token, at full depth; its keys and values are copied to a *lane* per
/// candidate, and lanes decode together as rows of a batch. A lane gives what its candidate alone would give for that
/// prompt under [`ControlFrom::LastPromptToken`](crate::ControlFrom::LastPromptToken), but for the rounding of sums: a
/// greedy choice between two tokens that are as good as equally likely may turn out differently in a batch.
///
/// The results go to a file of JSON lines, a line per finished item, on the disk before the next begins. A run that was
/// interrupted at any moment goes on where it was, and ends with the file of an undisturbed one, wall times aside. A
/// file that belongs to other settings, another model or other items is refused and left as it is.
///
/// ```
/// use dynlayer_inference::controllers::UniformSkip;
/// use dynlayer_inference::oracle::{Allocator, Candidate, Drive, DriveOptions, Item, Measure};
/// # let device = dynlayer_model::Backend::Flex.device()?;
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("run.jsonl");
///
/// let model = dynlayer_inference::conformance::small_model(&device)?;
/// let items: Vec<Item> =
///     (0..4u32).map(|i| Item { id: i.into(), prompt: vec![i, 7, 9], ..Item::default() }).collect();
/// let candidates = vec![Candidate::full(), Candidate::new("uniform:2", || UniformSkip::new(2))];
/// let drive = Drive::new(&model, candidates, Measure::Agreement)
///     .options(DriveOptions { max_new_tokens: 6, ..DriveOptions::default() });
/// let driven = drive.run(&file, &items, |progress| assert!(progress.done <= progress.total))?;
///
/// let evidence = driven.evidence()?;
/// let allocation = Allocator::new(&evidence)?.most_quality(3.0)?;
/// assert!(allocation.mean_cost <= 3.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Drive<'a> {
    model: &'a Llama,
    candidates: Vec<Candidate<'a>>,
    measure: Measure<'a>,
    options: DriveOptions<'a>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriveProgress {
    /// Items that are finished.
    pub done: usize,
    /// Those that were finished before, and found in the file.
    pub resumed: usize,
    /// All items.
    pub total: usize,
}

impl<'a> Drive<'a> {
    /// A run with default options.
    pub fn new(model: &'a Llama, candidates: Vec<Candidate<'a>>, measure: Measure<'a>) -> Self {
        Self { model, candidates, measure, options: DriveOptions::default() }
    }

    /// Sets the options.
    pub fn options(self, options: DriveOptions<'a>) -> Self {
        Self { options, ..self }
    }

    /// Runs all items that the file does not have yet, in their order, and tells `progress` at the beginning and after
    /// each. More items may be appended to those of an earlier run.
    ///
    /// # Errors
    /// [`DriveError`]: before anything runs, if options, candidates or items cannot be run or the file belongs to
    /// something else; on the way, if a controller breaks its contract, a quality is not finite, or the file cannot be
    /// written. What was finished is in the file.
    pub fn run(
        &self,
        file: impl AsRef<Path>,
        items: &[Item],
        mut progress: impl FnMut(&DriveProgress),
    ) -> Result<Driven, DriveError> {
        self.check(items)?;
        let Self { model, candidates, measure, options } = self;
        let header = Header::new(model, candidates, measure, options)?;
        let (mut journal, mut done) = Journal::open(file.as_ref(), &header, items)?;
        let work = Work { model, candidates, measure, options };
        let (resumed, total) = (done.len(), items.len());
        progress(&DriveProgress { done: resumed, resumed, total });
        for item in &items[resumed..] {
            let measured = work.run(item)?;
            journal.append(&measured)?;
            done.push(measured);
            progress(&DriveProgress { done: done.len(), resumed, total });
        }
        Ok(Driven { items: done })
    }
}
