//! The result of a study, as data and as a table.

use super::curves::{self, Setting};
use super::store::input_name;
use super::{Evaluation, Study, StudyError, StudyRun};
use dynlayer::inference::ControlFrom;
use dynlayer::inference::controllers::RouterInput;
use dynlayer::inference::training::DepthLoss;
use dynlayer::metrics::frontier::Point;
use dynlayer::metrics::statistics::Interval;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A measure whose curve against depth is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The quality of generated text.
    Quality,
    /// The log-likelihood of given text, in nats per token.
    Nll,
}

/// The results of one input at one cost of depth: means over items and seeds, with intervals over both.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StudyPoint {
    /// The input of the routers.
    pub input: RouterInput,
    /// The cost of depth in their training.
    pub depth: DepthLoss,
    /// The layers per token in generation.
    pub layers: Interval,
    /// The quality of the generated texts.
    pub quality: Interval,
    /// The layers per token of the given texts.
    pub nll_layers: Interval,
    /// The negative log-likelihood of the given texts, in nats per token.
    pub nll: Interval,
}

/// The comparison of one input with another at equal depth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Comparison {
    /// The input.
    pub input: RouterInput,
    /// The input that it is compared with.
    pub baseline: RouterInput,
    /// The measure.
    pub measure: Measure,
    /// The range of depths that both reach, in layers per token; `None` if there is none.
    pub layers: Option<(f64, f64)>,
    /// The mean advantage of the input over those depths, in quality or in nats per token of log-likelihood.
    pub gain: Option<Interval>,
}

/// The conclusion from an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The interval is above 0.
    Better,
    /// The interval is below 0.
    Worse,
    /// The interval contains 0.
    NoDifference,
    /// The interval is not known, as there is only one item.
    Unknown,
    /// There is no depth that both inputs reach.
    NotComparable,
}

/// The result of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StudyReport {
    /// The settings of the study.
    pub study: Study,
    /// The number of layers of the model.
    pub n_layers: usize,
    /// The results of the model with all layers.
    pub full: Evaluation,
    /// The results of every router.
    pub runs: Vec<StudyRun>,
    /// The means of the routers, input by input.
    pub points: Vec<StudyPoint>,
    /// The comparisons of every input with the constant, and of hidden states with those of other tokens.
    pub comparisons: Vec<Comparison>,
}

impl StudyReport {
    pub(super) fn new(
        study: &Study,
        n_layers: usize,
        full: Evaluation,
        runs: Vec<StudyRun>,
    ) -> Result<Self, StudyError> {
        let (items, seeds) = (full.quality.len(), study.seeds.len());
        let settings = |input: RouterInput| -> Vec<Setting<'_>> {
            let setting =
                |depth: &DepthLoss| runs.iter().filter(|run| run.input == input && run.depth == *depth).collect();
            study.depths.iter().map(setting).collect()
        };
        let mut points = Vec::new();
        for &input in &study.inputs {
            for (setting, &depth) in settings(input).iter().zip(&study.depths) {
                let interval = |measure, value: fn(Point) -> f64| {
                    curves::bootstrap(&study.bootstrap, items, seeds, |drawn| {
                        value(curves::point(setting, measure, drawn))
                    })
                };
                points.push(StudyPoint {
                    input,
                    depth,
                    layers: interval(Measure::Quality, |point| point.cost)?,
                    quality: interval(Measure::Quality, |point| point.quality)?,
                    nll_layers: interval(Measure::Nll, |point| point.cost)?,
                    nll: interval(Measure::Nll, |point| -point.quality)?,
                });
            }
        }
        let has = |input| study.inputs.contains(&input);
        let against_constant = study.inputs.iter().filter(|input| **input != RouterInput::Constant);
        let pairs =
            against_constant.map(|input| (*input, RouterInput::Constant)).filter(|_| has(RouterInput::Constant));
        let shuffled = (RouterInput::Hidden, RouterInput::ShuffledHidden);
        let pairs = pairs.chain([shuffled].into_iter().filter(|(a, b)| has(*a) && has(*b)));
        let mut comparisons = Vec::new();
        for (input, baseline) in pairs {
            let (first, second) = (settings(input), settings(baseline));
            for measure in [Measure::Quality, Measure::Nll] {
                let layers = curves::common(&first, &second, measure);
                let gain = layers.map(|range| {
                    curves::bootstrap(&study.bootstrap, items, seeds, |drawn| {
                        curves::gain([&first, &second], &full, measure, range, drawn)
                    })
                });
                comparisons.push(Comparison { input, baseline, measure, layers, gain: gain.transpose()? });
            }
        }
        Ok(Self { study: study.clone(), n_layers, full, points, comparisons, runs })
    }

    /// Returns the study's main comparison, hidden states against the constant, if both were among the inputs.
    pub fn hidden_against_constant(&self, measure: Measure) -> Option<&Comparison> {
        let wanted = (RouterInput::Hidden, RouterInput::Constant, measure);
        self.comparisons.iter().find(|c| (c.input, c.baseline, c.measure) == wanted)
    }

    /// Returns the first token that routers decide about.
    pub fn control_from(&self) -> ControlFrom {
        self.study.training.control_from
    }
}

impl Comparison {
    /// Returns the conclusion from the interval of the gain.
    pub fn verdict(&self) -> Verdict {
        match self.gain {
            None => Verdict::NotComparable,
            Some(gain) if !gain.is_known() => Verdict::Unknown,
            Some(gain) if gain.low > 0.0 => Verdict::Better,
            Some(gain) if gain.high < 0.0 => Verdict::Worse,
            Some(_) => Verdict::NoDifference,
        }
    }
}

/// Writes one sentence, such as `hidden is better than constant at equal depth: +0.0310 [+0.0120, +0.0490] in quality
/// (4.1 to 9.8 layers)`.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (input, baseline) = (input_name(self.input), input_name(self.baseline));
        let (Some(gain), Some((from, to))) = (self.gain, self.layers) else {
            return write!(f, "{input} and {baseline} reach no depth in common");
        };
        let verdict = match self.verdict() {
            Verdict::Better => "is better than",
            Verdict::Worse => "is worse than",
            Verdict::NoDifference | Verdict::NotComparable => "does not differ from",
            Verdict::Unknown => "cannot be told from",
        };
        let unit = match self.measure {
            Measure::Quality => "in quality",
            Measure::Nll => "nats per token of likelihood",
        };
        write!(f, "{input} {verdict} {baseline} at equal depth: {} {unit}", signed(gain))?;
        write!(f, " ({from:.1} to {to:.1} layers)")
    }
}

/// Returns an interval as text in which every number has its sign.
pub fn signed(gain: Interval) -> String {
    let Interval { low, estimate, high } = gain;
    if gain.is_known() {
        format!("{estimate:+.4} [{low:+.4}, {high:+.4}]")
    } else {
        format!("{estimate:+.4} [unknown: one item]")
    }
}

/// Writes Markdown: a table with a row per input and price, then the comparisons.
impl fmt::Display for StudyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (items, seeds) = (self.full.quality.len(), self.study.seeds.len());
        writeln!(
            f,
            "{items} items, {seeds} seeds, control from {}; {:.0} % intervals over items and seeds\n",
            self.control_from(),
            100.0 * self.study.bootstrap.confidence
        )?;
        writeln!(f, "| input | trained with | layers per token | quality | NLL (nats) | at layers |")?;
        writeln!(f, "|---|---|---:|---:|---:|---:|")?;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let (quality, nll) = (mean(&self.full.quality), mean(&self.full.nll));
        writeln!(f, "| none | full depth | {0} | {quality:.3} | {nll:.4} | {0} |", self.n_layers)?;
        for point in &self.points {
            writeln!(
                f,
                "| {} | {} | {:.2} | {:.3} | {:.4} | {:.2} |",
                input_name(point.input),
                point.depth,
                point.layers,
                point.quality,
                point.nll,
                point.nll_layers.estimate,
            )?;
        }
        for comparison in &self.comparisons {
            write!(f, "\n- {comparison}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_item_gives_no_verdict() {
        let gain = Interval { low: f64::NEG_INFINITY, estimate: 0.25, high: f64::INFINITY };
        let comparison = Comparison {
            input: RouterInput::Hidden,
            baseline: RouterInput::Constant,
            measure: Measure::Quality,
            layers: Some((2.0, 4.0)),
            gain: Some(gain),
        };
        assert_eq!(comparison.verdict(), Verdict::Unknown);
        let text = comparison.to_string();
        assert!(text.contains("cannot be told from constant at equal depth: +0.2500 [unknown: one item]"), "{text}");
    }
}
