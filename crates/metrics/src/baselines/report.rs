//! The oracle and its baselines, as data and as a table.

use super::NullDepth;
use crate::allocation::Proof;
use crate::statistics::{Bootstrap, Interval};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Quality and cost of one way of choosing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ComparisonRow {
    /// Mean cost per sequence.
    pub mean_cost: f64,
    /// Mean quality per sequence.
    pub quality: Interval,
    /// Quality minus that of the best single candidate within the same cost; `None` if no candidate is within it. For
    /// the cross-fitted oracle, this candidate is also chosen on one half and judged on the other.
    pub gain: Option<Interval>,
    /// Quality minus that of the best mix ([`Baselines::best_mix`]) within the same cost; `None` if no candidate is
    /// within it. A mix also spends all of the budget, so this is the value of choosing per sequence. For the oracle
    /// and the null oracle it includes the luck of choosing by the scores that they are judged by.
    pub over_mix: Option<Interval>,
}

/// The best single candidate for all sequences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StaticRow {
    /// The candidate's name.
    pub candidate: String,
    /// Its quality and cost. The best candidate is chosen anew for every resample. If several are about equally good,
    /// this shifts the interval up and gains over it down, so that the comparison errs against the oracle.
    pub row: ComparisonRow,
}

/// A real controller, compared with the oracle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ControllerRow {
    /// The controller's name.
    pub name: String,
    /// Its quality and cost, with gains over the best single candidate and the best mix within its own cost.
    pub row: ComparisonRow,
    /// Quality of the oracle at the controller's own mean cost, minus the controller's quality; `None` if no allocation
    /// of the candidates is that cheap.
    pub regret: Option<Interval>,
}

/// The oracle at one budget, with its baselines; made by [`Comparison::run`](super::Comparison::run).
///
/// `Display` writes a table, followed by an explanation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Baselines {
    /// The mean budget per sequence.
    pub budget: f64,
    /// Number of sequences.
    pub sequences: usize,
    /// Number of candidates.
    pub candidates: usize,
    /// Settings of the intervals.
    pub bootstrap: Bootstrap,
    /// The oracle: the best allocation, which has seen every quality that it is judged by.
    pub oracle: ComparisonRow,
    /// The proof that the oracle's allocation is the best.
    pub proof: Proof,
    /// Number of sequences that have halves. The cross-fitted oracle rests on these, and leaves the others out.
    #[serde(default)]
    pub with_halves: usize,
    /// The cross-fitted oracle: chosen on one half of the score and judged on the other, both ways, averaged. `None` if
    /// no sequence has halves, or if no allocation of those that have is within the budget.
    pub cross_fitted: Option<ComparisonRow>,
    /// The label-free oracle: chosen by the similarity to the full model's output, judged by the reference. `None`
    /// without that column.
    pub label_free: Option<ComparisonRow>,
    /// The best single candidate within the budget; `None` if there is none.
    pub best_static: Option<StaticRow>,
    /// The best mix of two candidates whose expected cost is within the budget: every sequence draws between them with
    /// the same probabilities. It is a point of the concave envelope of the single candidates. `None` if no candidate
    /// is within the budget. The mix is chosen anew for every resample, with the effect that [`StaticRow::row`]
    /// describes.
    pub best_mix: Option<ComparisonRow>,
    /// The oracle's choices, dealt to the sequences at random: the exact expectation over all ways to deal them.
    pub dealt: ComparisonRow,
    /// The null oracle: the best of as many random routes as there are candidates, at the depths around the budget.
    /// `None` without random routes within the budget.
    pub null_best: Option<ComparisonRow>,
    /// The mean of those random routes.
    pub null_mean: Option<ComparisonRow>,
    /// The random routes by depth.
    pub null_depths: Vec<NullDepth>,
    /// Real controllers.
    pub controllers: Vec<ControllerRow>,
}

impl fmt::Display for Baselines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bootstrap { resamples, confidence, seed } = self.bootstrap;
        writeln!(
            f,
            "{} sequences, {} candidates, mean budget {:.4}; in brackets {} % intervals from {resamples} resamples of the \
             sequences (seed {seed})",
            self.sequences,
            self.candidates,
            self.budget,
            confidence * 100.0
        )?;
        writeln!(f, "{:62} {:27} {:27} {:27} cost", "", "quality", "over one for all", "over the best mix")?;
        row(f, "oracle (has seen the scores)", Some(&self.oracle))?;
        row(f, "cross-fitted oracle (chosen on one half, scored on the other)", self.cross_fitted.as_ref())?;
        match (&self.cross_fitted, self.with_halves) {
            (Some(_), halved) if (1..self.sequences).contains(&halved) => {
                let (all, left_out) = (self.sequences, self.sequences - halved);
                writeln!(f, "  rests on {halved} of {all} sequences; the others ({left_out}) have no halves")?;
            }
            (None, 0) => writeln!(f, "  no sequence has halves")?,
            (None, halved) => {
                writeln!(f, "  no allocation of the {halved} sequences with halves is within the budget")?;
            }
            (Some(_), _) => {}
        }
        row(f, "label-free oracle (chosen by the full model's output)", self.label_free.as_ref())?;
        row(f, "null oracle (the best of as many random routes)", self.null_best.as_ref())?;
        row(f, "random routes, their mean", self.null_mean.as_ref())?;
        row(f, "the oracle's candidates, dealt out at random", Some(&self.dealt))?;
        match &self.best_static {
            Some(best) => row(f, &format!("one candidate for all ({})", best.candidate), Some(&best.row))?,
            None => row(f, "one candidate for all", None)?,
        }
        row(f, "the best mix of candidates, dealt out at random", self.best_mix.as_ref())?;
        for controller in &self.controllers {
            row(f, &format!("controller {}", controller.name), Some(&controller.row))?;
            match controller.regret {
                Some(regret) => writeln!(f, "  {regret} below the oracle at the same cost")?,
                None => writeln!(f, "  cheaper than every allocation of the candidates, so no oracle to compare with")?,
            }
        }
        match self.proof {
            Proof::Optimal => writeln!(f, "No allocation within the budget is better than the oracle's: proven.")?,
            Proof::Gap { gap, .. } => {
                writeln!(f, "An allocation may be better than the oracle's, by at most {gap:.3e}: proven.")?;
            }
        }
        write!(f, "The oracle chooses by the scores that it is judged by, so a part of its gain is luck; ")?;
        match (&self.null_best, &self.cross_fitted) {
            (None, None) => write!(f, "how much is unknown without a null or a cross-fitted oracle."),
            _ => write!(f, "the null and the cross-fitted oracle tell how much."),
        }
    }
}

/// Writes a line of the table.
fn row(f: &mut fmt::Formatter<'_>, name: &str, row: Option<&ComparisonRow>) -> fmt::Result {
    let Some(ComparisonRow { mean_cost, quality, gain, over_mix }) = row else {
        return writeln!(f, "{name:62} not measured");
    };
    let quality = quality.to_string();
    let compared = |gain: &Option<Interval>| gain.map_or("none to compare with".to_owned(), |gain| gain.to_string());
    writeln!(f, "{name:62} {quality:27} {:27} {:27} {mean_cost:.4}", compared(gain), compared(over_mix))
}
