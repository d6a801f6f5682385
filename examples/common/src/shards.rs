//! Runs that many processes measure together.

use crate::arguments::trimmed;
use clap::Args;
use dynlayer::inference::oracle::{Shard, ShardError};
use std::error::Error;
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

/// The name of a shard's file.
pub fn file_name(shard: Shard) -> String {
    format!("run.{}.jsonl", shard.to_string().replace('/', "-of-"))
}

/// The files of all shards in a folder, in the order of their names.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let is_shard = |name: &str| {
        let part = name.strip_prefix("run.").and_then(|name| name.strip_suffix(".jsonl"));
        part.is_some_and(|part| part.replacen("-of-", "/", 1).parse::<Shard>().is_ok())
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_str().is_some_and(is_shard) {
            files.push(entry.path());
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(format!("{}: no file of a shard, such as run.0-of-8.jsonl, to merge", folder.display()).into());
    }
    Ok(files)
}
