//! What a study found, as data and as a table.

use super::curves::{self, Setting};
use super::store::input_name;
use super::{Evaluation, Study, StudyError, StudyRun};
use crate::control::ControlFrom;
use crate::controllers::RouterInput;
use crate::training::DepthLoss;
use dynlayer_metrics::statistics::Interval;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What curves are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The quality of generated text.
    Quality,
    /// The log-likelihood of given text, in nats per token.
    Nll,
}

/// One input at one price: means over items and seeds, with intervals over both.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StudyPoint {
    /// What the routers saw.
    pub input: RouterInput,
    /// What depth cost them.
    pub depth: DepthLoss,
    /// Layers per token of generation.
    pub layers: Interval,
    /// Quality of what was generated.
    pub quality: Interval,
    /// Layers per token of the given texts.
    pub nll_layers: Interval,
    /// Negative log-likelihood of the given texts, in nats per token.
    pub nll: Interval,
}

/// One input against another at equal depth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Comparison {
    /// What the one saw.
    pub input: RouterInput,
    /// What the other saw.
    pub baseline: RouterInput,
    /// What is compared.
    pub measure: Measure,
    /// The depths that both reach, from and to, in layers per token; `None` if there are none in common.
    pub layers: Option<(f64, f64)>,
    /// How much better the one is than the other, on average over those depths: quality, or nats per token that the
    /// likelihood is higher.
    pub gain: Option<Interval>,
}

/// What an interval says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The interval is above 0.
    Better,
    /// It is below 0.
    Worse,
    /// It holds 0.
    NoDifference,
    /// There is no depth that both reach.
    NotComparable,
}

/// What a study found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StudyReport {
    /// How it was made.
    pub study: Study,
    /// Layers of the model.
    pub n_layers: usize,
    /// The model with all layers.
    pub full: Evaluation,
    /// Every router.
    pub runs: Vec<StudyRun>,
    /// Input by input, the routers' means.
    pub points: Vec<StudyPoint>,
    /// Every input against the constant, and hidden states against those of other tokens.
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
            let of = |depth: DepthLoss| runs.iter().filter(move |run| run.input == input && run.depth == depth);
            study.depths.iter().map(|depth| of(*depth).collect()).collect()
        };
        let mut points = Vec::new();
        for &input in &study.inputs {
            for (setting, &depth) in settings(input).iter().zip(&study.depths) {
                let interval = |measure, value: fn(dynlayer_metrics::frontier::Point) -> f64| {
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

    /// Hidden states against the constant, the question of the study, if both were among the inputs.
    pub fn hidden_against_constant(&self, measure: Measure) -> Option<&Comparison> {
        let asked =
            |c: &&Comparison| (c.input, c.baseline, c.measure) == (RouterInput::Hidden, RouterInput::Constant, measure);
        self.comparisons.iter().find(asked)
    }

    /// Where control began.
    pub fn control_from(&self) -> ControlFrom {
        self.study.training.control_from
    }
}

impl Comparison {
    /// What the interval says.
    pub fn verdict(&self) -> Verdict {
        match self.gain {
            None => Verdict::NotComparable,
            Some(gain) if gain.low > 0.0 => Verdict::Better,
            Some(gain) if gain.high < 0.0 => Verdict::Worse,
            Some(_) => Verdict::NoDifference,
        }
    }
}

/// A sentence: `hidden is better than constant at equal depth by 0.031 [0.012, 0.049] in quality (4.1 to 9.8 layers)`.
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
        };
        let unit = match self.measure {
            Measure::Quality => "in quality",
            Measure::Nll => "nats per token of likelihood",
        };
        let Interval { low, estimate, high } = gain;
        write!(f, "{input} {verdict} {baseline} at equal depth: {estimate:+.4} [{low:+.4}, {high:+.4}] {unit}")?;
        write!(f, " ({from:.1} to {to:.1} layers)")
    }
}

/// As Markdown: a row per input and price, then the comparisons.
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
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 items")]
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let (quality, nll) = (mean(&self.full.quality), mean(&self.full.nll));
        writeln!(f, "| none | full depth | {0} | {quality:.3} | {nll:.4} | {0} |", self.n_layers)?;
        for point in &self.points {
            writeln!(
                f,
                "| {} | {} | {:.2} [{:.2}, {:.2}] | {:.3} [{:.3}, {:.3}] | {:.4} [{:.4}, {:.4}] | {:.2} |",
                input_name(point.input),
                point.depth,
                point.layers.estimate,
                point.layers.low,
                point.layers.high,
                point.quality.estimate,
                point.quality.low,
                point.quality.high,
                point.nll.estimate,
                point.nll.low,
                point.nll.high,
                point.nll_layers.estimate,
            )?;
        }
        for comparison in &self.comparisons {
            write!(f, "\n- {comparison}")?;
        }
        Ok(())
    }
}
