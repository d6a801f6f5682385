//! Measuring candidates on prompts: the options and the steps that the examples `oracle` and `calibrate` share.

mod arguments;
mod candidates;
mod items;

pub use arguments::{Cost, EvidenceArguments, Metric};
pub use candidates::{null_depths_between, parse_list, specs};
pub use items::{items, read, warnings};

use crate::progress_bar;
use dynlayer::inference::oracle::{Item, OracleError, OracleResults, OracleRun};
use std::path::Path;

/// Runs the items that the file of the run does not have yet, with a progress bar on standard error unless `quiet`.
pub fn measure(run: &OracleRun<'_>, file: &Path, items: &[Item], quiet: bool) -> Result<OracleResults, OracleError> {
    let bar = progress_bar(quiet, "prompts {bar:40} {pos} of {len}, {elapsed} so far, {eta} left");
    let results = run.run(file, items, |progress| {
        bar.set_length(progress.total as u64);
        if progress.done == progress.resumed {
            // The time left is estimated without the items that an earlier run finished.
            bar.set_position(progress.done as u64);
            bar.reset_eta();
        }
        bar.set_position(progress.done as u64);
    })?;
    bar.finish_and_clear();
    Ok(results)
}
