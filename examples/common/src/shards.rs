//! Runs that many processes measure together.

use crate::arguments::trimmed;
use clap::Args;
use dynlayer::inference::oracle::{Shard, ShardError};
use std::error::Error;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The options that divide a run among processes.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct ShardArguments {
    /// The part that this process measures, into files of its own in the folder of --out: the shard with index I, from 0, of
    /// N. By default the part that the variables of a Slurm array or of an indexed Kubernetes job name, and without these
    /// everything. `all` measures everything whatever the variables say.
    #[arg(long, value_name = "I/N|all", value_parser = trimmed::<Part>, conflicts_with = "merge")]
    shard: Option<Part>,
    /// Merge the files of all parts in the folder of --out, and go on as if one process had measured everything.
    #[arg(long)]
    pub merge: bool,
}

/// The value of `--shard`.
#[derive(Clone, Copy, Debug)]
enum Part {
    All,
    Shard(Shard),
}

impl FromStr for Part {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::Shard) }
    }
}

impl ShardArguments {
    /// The part that this process measures; `None` for everything.
    pub fn shard(&self) -> Result<Option<Shard>, ShardError> {
        match self.shard {
            Some(Part::Shard(shard)) => Ok(Some(shard)),
            Some(Part::All) => Ok(None),
            None if self.merge => Ok(None),
            None => Shard::from_variables(|name| std::env::var(name).ok()),
        }
    }
}

/// The name of the file of a shard's prompts.
pub fn file_name(shard: Shard) -> String {
    format!("run.{}.jsonl", name(shard))
}

fn name(shard: Shard) -> String {
    shard.to_string().replace('/', "-of-")
}

/// The files of the prompts of all shards in a folder, in the order of their names.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    Ok(shards(folder)?.into_iter().map(|shard| folder.join(file_name(shard))).collect())
}

/// The shards that have a file of prompts in a folder.
fn shards(folder: &Path) -> Result<Vec<Shard>, Box<dyn Error>> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let shard = |name: &str| -> Option<Shard> {
        let part = name.strip_prefix("run.")?.strip_suffix(".jsonl")?;
        part.replacen("-of-", "/", 1).parse().ok()
    };
    let mut shards = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        shards.extend(entry.map_err(failed)?.file_name().to_str().and_then(shard));
    }
    shards.sort_by_key(ToString::to_string);
    if shards.is_empty() {
        return Err(format!("{}: no file of a shard, such as run.0-of-8.jsonl, to merge", folder.display()).into());
    }
    Ok(shards)
}

/// Begins a shard that does more than its prompts. Returns the file of these.
pub fn begin(folder: &Path, shard: Shard) -> Result<PathBuf, Box<dyn Error>> {
    let mark = mark(folder, shard);
    match std::fs::remove_file(&mark) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("{}: {error}", mark.display()).into()),
        _ => Ok(folder.join(file_name(shard))),
    }
}

/// Marks such a shard as finished.
pub fn finish(folder: &Path, shard: Shard) -> Result<(), Box<dyn Error>> {
    let mark = mark(folder, shard);
    std::fs::write(&mark, "").map_err(|error| format!("{}: {error}", mark.display()).into())
}

/// The files of the prompts of all shards in a folder, if all these are marked as finished.
pub fn finished(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    match shards(folder)?.into_iter().find(|shard| !mark(folder, *shard).exists()) {
        Some(shard) => Err(format!("shard {shard} is not finished: run it again, and merge then").into()),
        None => files(folder),
    }
}

fn mark(folder: &Path, shard: Shard) -> PathBuf {
    folder.join(format!("finished.{}", name(shard)))
}

/// Returns the command line of an undivided run that does what the parts of a run with this command line do.
pub fn undivided(command: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    let mut arguments = command.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--merge" => {}
            "--shard" => drop(arguments.next()),
            other if other.starts_with("--shard=") => {}
            other => left.push(other.to_owned()),
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_merged_when_all_are_marked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(finished(path).unwrap_err().to_string().contains("no file of a shard"));
        let [first, second] = ["0/2", "1/2"].map(|text| text.parse::<Shard>().unwrap());
        for shard in [first, second] {
            std::fs::write(begin(path, shard).unwrap(), "").unwrap();
        }
        finish(path, first).unwrap();
        assert!(finished(path).unwrap_err().to_string().contains("shard 1/2 is not finished"));
        finish(path, second).unwrap();
        assert_eq!(finished(path).unwrap(), files(path).unwrap());
        assert_eq!(files(path).unwrap(), ["run.0-of-2.jsonl", "run.1-of-2.jsonl"].map(|name| path.join(name)));
        // A shard that is started again is unfinished.
        begin(path, first).unwrap();
        assert!(finished(path).is_err());
    }

    #[test]
    fn command_lines_of_parts_are_those_of_the_whole() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for text in ["--out a --merge --limit 3", "--shard 1/3 --out a --limit 3", "--out a --shard=all --limit 3"] {
            assert_eq!(undivided(&words(text)), words("--out a --limit 3"));
        }
    }
}
