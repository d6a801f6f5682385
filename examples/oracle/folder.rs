//! The folder of a run: nothing of another run is replaced in it unless that is asked for.

use crate::run::RUN;
use dynlayer::inference::oracle::OracleError;
use dynlayer_examples::output;
use std::error::Error;
use std::fs;
use std::path::Path;

/// The files that a run writes when it is finished.
const RESULTS: [&str; 11] = [
    "evidence.jsonl",
    "null.jsonl",
    "frontier.csv",
    "frontier.svg",
    "frontier.png",
    "curves.csv",
    "candidates.csv",
    "allocation.csv",
    "controls.json",
    "router.json",
    "summary.txt",
];

/// Creates the folder, and tries whether every file can be written in it. Refuses results of another run, which are
/// there without the file that a run continues from, unless they may be overwritten.
pub fn check(folder: &Path, overwrite: bool) -> Result<(), Box<dyn Error>> {
    output::check_folder(folder)?;
    for name in RESULTS.iter().chain([&RUN]) {
        output::check(&folder.join(name))?;
    }
    let run = folder.join(RUN);
    if fs::metadata(&run).is_ok_and(|found| !found.is_file()) {
        return Err(format!("{}: expected a regular file, from which a run can continue", run.display()).into());
    }
    match RESULTS.iter().map(|name| folder.join(name)).find(|file| file.is_file()) {
        Some(file) if !continues(folder) && !overwrite => Err(format!(
            "{}: belongs to another run, as there is no {RUN} to continue from; name another folder for --out, or add \
             --overwrite to replace the files of that run",
            file.display()
        )
        .into()),
        _ => Ok(()),
    }
}

/// Returns true if the folder has a file that a run may continue from.
pub fn continues(folder: &Path) -> bool {
    fs::metadata(folder.join(RUN)).is_ok_and(|run| run.len() > 0)
}

/// Returns true for the error that the folder holds another run, which `--overwrite` replaces.
pub fn is_other_run(error: &OracleError) -> bool {
    use OracleError::{OtherItem, OtherRun, Syntax, Version};
    matches!(error, OtherRun { .. } | OtherItem { .. } | Syntax { .. } | Version { .. })
}

/// Removes the results of a run that is not continued, and empties the file that it would continue from. So a new run
/// that is stopped early does not leave its own beginning beside the results of another run.
pub fn clear(folder: &Path) -> Result<(), Box<dyn Error>> {
    let run = folder.join(RUN);
    let failed = |error: &dyn std::fmt::Display| format!("{}: cannot be emptied: {error}", run.display());
    if run.exists() {
        let file = fs::OpenOptions::new().write(true).open(&run).map_err(|error| failed(&error))?;
        // Not while another program is writing it.
        file.try_lock().map_err(|error| failed(&error))?;
        file.set_len(0).map_err(|error| failed(&error))?;
    }
    RESULTS.iter().try_for_each(|name| remove(&folder.join(name)))
}

/// Removes a file, if it is one: links, pipes and devices stay, and are written to.
pub fn remove(file: &Path) -> Result<(), Box<dyn Error>> {
    if fs::symlink_metadata(file).is_ok_and(|found| found.is_file()) {
        fs::remove_file(file).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}
