//! The command line.

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use dynlayer_examples::evidence::{Cost, EvidenceArguments};
use dynlayer_examples::shards::ShardArguments;
use std::path::PathBuf;

/// Measures quality and cost of the best choice of layers for each prompt, and of baselines to compare them with.
#[derive(Parser, Debug)]
pub struct Arguments {
    #[command(flatten)]
    pub evidence: EvidenceArguments,
    /// The unit of cost.
    #[arg(long, value_enum, default_value_t = Cost::Layers)]
    pub cost: Cost,
    /// The folder to write all files to. An interrupted run continues from its file `run.jsonl` when it is started
    /// again with the same options.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace the files that another run has left in the folder of --out; without it they are an error. A run that can
    /// be continued is continued, not replaced.
    #[arg(long)]
    pub overwrite: bool,
    #[command(flatten)]
    pub shards: ShardArguments,
    /// The number of depths at which random routes are run, each with as many routes as there are candidates; 0 for
    /// none. Only used with `--cost layers`.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub null: usize,
    /// The temperature of the two sampled outputs that the cross-fitted oracle needs; 0 for none. Only used with
    /// `--metric rouge-l` and `exact`; the other metrics have halves without sampling.
    #[arg(long, value_name = "T", default_value_t = 0.7, value_parser = temperature)]
    pub halves: f32,
    /// The layer whose input states the prompt predictor reads; by default the layer after the first sixth of the
    /// layers.
    #[arg(long, value_name = "LAYER")]
    pub predictor_layer: Option<usize>,
    /// Print one JSON object instead of the summary.
    #[arg(long)]
    pub json: bool,
}

fn temperature(text: &str) -> Result<f32, String> {
    let found: f32 = text.trim().parse().map_err(|error| format!("{error}"))?;
    if found.is_finite() && found >= 0.0 { Ok(found) } else { Err("expected a number of at least 0".to_owned()) }
}

impl Arguments {
    /// Reads the command line, or ends the program with its error or its help. Also returns what the options were read
    /// from, for [`without_effect`](Self::without_effect).
    pub fn read() -> (Self, ArgMatches) {
        let matches = Self::command().get_matches();
        let arguments = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        (arguments, matches)
    }

    /// Returns a sentence for each option that was given and changes nothing. `calibrated` is true if a candidate needs
    /// a calibration.
    pub fn without_effect(&self, matches: &ArgMatches, calibrated: bool) -> Vec<String> {
        let cases = [
            (
                "halves",
                !self.evidence.metric.reads_outputs() && self.halves > 0.0,
                "is only used with --metric rouge-l or exact",
            ),
            ("null", self.cost != Cost::Layers && self.null > 0, "is only used with --cost layers"),
            ("lanes", self.cost == Cost::Milliseconds, "is not used with --cost milliseconds: each lane runs alone"),
            ("calibration", !calibrated, "is not used: no candidate is calibrated"),
            ("skip_long", self.evidence.data.is_none(), "is only used with --data"),
        ];
        let given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        let unused = cases.into_iter().filter(|&(name, unused, _)| unused && given(name));
        unused.map(|(name, _, why)| format!("--{} {why}", name.replace('_', "-"))).collect()
    }
}
