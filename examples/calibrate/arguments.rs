//! The command line.

use clap::Parser;
use dynlayer::metrics::certificate::{Loss, Order, Rule};
use dynlayer_examples::evidence::EvidenceArguments;
use serde::de::DeserializeOwned;
use std::path::PathBuf;

/// Finds the cheapest controller whose loss is certified to be small.
#[derive(Parser, Debug)]
pub struct Arguments {
    #[command(flatten)]
    pub evidence: EvidenceArguments,
    /// The level: the mean loss of what is certified is at most this.
    #[arg(long, default_value_t = 0.05, value_parser = level)]
    pub alpha: f64,
    /// The probability, over the choice of the prompts, that something is certified whose loss is above the level.
    #[arg(long, default_value_t = 0.1, value_parser = level)]
    pub delta: f64,
    /// The loss of a prompt: quality-gap (the quality that is lost against full depth), quality (1 less the quality) or
    /// mismatch (1 unless the quality is 1).
    #[arg(long, default_value = "quality-gap", value_parser = named::<Loss>)]
    pub loss: Loss,
    /// The rule that tests the candidates together: fixed-sequence, bonferroni or holm.
    #[arg(long, default_value = "fixed-sequence", value_parser = named::<Rule>)]
    pub rule: Rule,
    /// The order of the candidates: cost (from the highest), table (as given), or pareto (chosen on one half of the prompts
    /// and tested on the other).
    #[arg(long, default_value = "cost", value_parser = named::<Order>)]
    pub order: Order,
    /// The folder for the certificate and for the file that an interrupted run continues from.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Print the certificate as JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Reads a value by the name that it has in JSON.
fn named<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Reads a number between 0 and 1.
fn level(text: &str) -> Result<f64, String> {
    let found: f64 = text.trim().parse().map_err(|error| format!("{error}"))?;
    if found > 0.0 && found < 1.0 { Ok(found) } else { Err("expected a number between 0 and 1".to_owned()) }
}
