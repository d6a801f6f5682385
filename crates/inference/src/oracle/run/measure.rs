//! Measures of quality.

use super::Item;
use std::fmt;

/// A measure of quality; higher is better.
///
/// ```
/// use dynlayer_inference::oracle::Measure;
/// use dynlayer_metrics::text::{Rouge, RougeVariant};
///
/// let rouge_l = Measure::output("rouge-l", |output| {
///     Rouge::plain().score_variant(RougeVariant::RougeL, output.reference, output.text).f1
/// });
/// assert_eq!(rouge_l.name(), "rouge-l");
/// ```
pub enum Measure<'a> {
    /// Quality of the greedy output, computed by a function of the caller. [`Measure::output`] makes this variant.
    Output {
        /// The name under which a run's file records the function.
        name: String,
        /// The function; its result must be finite.
        quality: Box<dyn Fn(&ScoringInput<'_>) -> f64 + 'a>,
    },
    /// Mean log-probability of the reference's tokens, in nats per token. Nothing is generated.
    Likelihood,
    /// Share of the tokens of the full model's greedy output to which the candidate, too, gives the highest
    /// probability, each after the same preceding tokens. Needs no reference.
    Agreement,
}

/// A function that scores an output.
pub(super) type QualityFn<'a> = dyn Fn(&ScoringInput<'_>) -> f64 + 'a;

/// An output, with the reference that it is scored against.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ScoringInput<'a> {
    /// The item.
    pub item: &'a Item,
    /// The generated text, without special tokens; empty without a tokenizer.
    pub text: &'a str,
    /// The generated tokens, a stop token included.
    pub tokens: &'a [u32],
    /// The item's reference or, for the label-free quality, the full model's output.
    pub reference: &'a str,
    /// The reference as tokens.
    pub reference_tokens: &'a [u32],
}

impl<'a> Measure<'a> {
    /// Creates a measure of the greedy output's quality from a function, whose result must be finite. A run's file
    /// records only the function's name.
    pub fn output(name: impl Into<String>, quality: impl Fn(&ScoringInput<'_>) -> f64 + 'a) -> Self {
        Self::Output { name: name.into(), quality: Box::new(quality) }
    }

    /// The name under which a run's file records the measure.
    pub fn name(&self) -> &str {
        match self {
            Self::Output { name, .. } => name,
            Self::Likelihood => "likelihood",
            Self::Agreement => "agreement",
        }
    }
}

impl fmt::Debug for Measure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Measure({})", self.name())
    }
}
