//! How good an output is.

use super::Item;
use std::fmt;

/// What quality is. Higher is better.
///
/// ```
/// use dynlayer_inference::oracle::Measure;
/// use dynlayer_metrics::text::{Rouge, RougeVariant};
///
/// let rouge_l = Measure::output("rouge-l", |judged| {
///     Rouge::plain().score_variant(RougeVariant::RougeL, judged.reference, judged.text).f1
/// });
/// assert_eq!(rouge_l.name(), "rouge-l");
/// ```
pub enum Measure<'a> {
    /// Of what is generated, greedily, by a function of one's own.
    Output(OutputMeasure<'a>),
    /// Of the reference's tokens: their mean log-probability, in nats per token. Nothing is generated.
    Likelihood,
    /// Of the full model's own greedy output: the part of its tokens that are the likeliest ones for the candidate too,
    /// each after the full model's tokens before it. Needs no reference.
    Agreement,
}

/// A function from output to quality, with the name under which a run remembers it.
pub struct OutputMeasure<'a> {
    name: String,
    quality: Box<dyn Fn(&Judged<'_>) -> f64 + 'a>,
}

/// An output, and what it is judged by.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Judged<'a> {
    /// The item.
    pub item: &'a Item,
    /// What was generated, without special tokens; empty without a tokenizer.
    pub text: &'a str,
    /// What was generated, a stop token included.
    pub tokens: &'a [u32],
    /// What it should have been: the item's reference or, for the label-free quality, the full model's output.
    pub reference: &'a str,
    /// The same as tokens.
    pub reference_tokens: &'a [u32],
}

impl<'a> Measure<'a> {
    /// Quality of what is generated. The result must be finite.
    pub fn output(name: impl Into<String>, quality: impl Fn(&Judged<'_>) -> f64 + 'a) -> Self {
        Self::Output(OutputMeasure { name: name.into(), quality: Box::new(quality) })
    }

    /// The name under which a run remembers it.
    pub fn name(&self) -> &str {
        match self {
            Self::Output(measure) => &measure.name,
            Self::Likelihood => "likelihood",
            Self::Agreement => "agreement",
        }
    }
}

impl OutputMeasure<'_> {
    pub(super) fn quality(&self, judged: &Judged<'_>) -> f64 {
        (self.quality)(judged)
    }
}

impl fmt::Debug for Measure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Measure({})", self.name())
    }
}
