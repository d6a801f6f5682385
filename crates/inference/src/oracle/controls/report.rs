//! The oracle and what stands beside it, as data and as a table.

use super::{Bootstrap, Interval, NullDepth};
use crate::oracle::Proof;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One way of choosing: what it reaches and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ControlRow {
    /// Mean cost of a sequence.
    pub mean_cost: f64,
    /// Mean quality of a sequence.
    pub quality: Interval,
    /// How much better that is than the best single candidate within the same cost; `None` if there is no such one. For
    /// the cross-fitted oracle that candidate is chosen on one half and judged on the other, too.
    pub gain: Option<Interval>,
    /// How much better that is than the best mix ([`Controls::best_mix`]) within the same cost: what telling sequences
    /// apart is worth, as a mix also spends all of the budget. For the oracle and the null oracle that includes the luck of
    /// choosing by the scores that they are judged by. `None` if no single candidate is within the cost; the cross-fitted
    /// oracle's mix is chosen on one half and judged on the other.
    pub over_mix: Option<Interval>,
}

/// The best single candidate for all sequences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StaticRow {
    /// Its name.
    pub candidate: String,
    /// What it reaches. Every resampling has its own best candidate, so where several are about as good the interval lies
    /// high, and gains over it low: the comparison errs against the oracle.
    pub row: ControlRow,
}

/// A real controller beside the oracle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ControllerRow {
    /// The controller's name.
    pub name: String,
    /// What it reaches; its gains are over the best single candidate and the best mix within the controller's own cost.
    pub row: ControlRow,
    /// How much more the oracle reaches for the controller's own mean cost; `None` if the evidence has no allocation
    /// that cheap.
    pub regret: Option<Interval>,
}

/// The oracle at one budget, with everything that must stand beside it.
///
/// It is made by [`ControlsRun::run`](super::ControlsRun::run); its text is a table in plain words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Controls {
    /// The mean cost that may be spent per sequence.
    pub budget: f64,
    /// How many sequences.
    pub sequences: usize,
    /// How many candidates.
    pub candidates: usize,
    /// How the intervals were computed.
    pub bootstrap: Bootstrap,
    /// The best allocation, which has seen every quality that it is scored by.
    pub oracle: ControlRow,
    /// Whether it is proven to be the best.
    pub proof: Proof,
    /// Chosen on one half of the score, scored on the other, both ways; the mean. `None` without halves.
    pub cross_fitted: Option<ControlRow>,
    /// Chosen by the likeness to the full model's output, scored by the reference. `None` without that column.
    pub label_free: Option<ControlRow>,
    /// The best single candidate within the budget; `None` if there is none.
    pub best_static: Option<StaticRow>,
    /// The best lottery between candidates, the same for every sequence, whose expected cost is within the budget: the
    /// concave envelope of the single candidates. `None` if none is within the budget. As for [`StaticRow::row`], every
    /// resampling has its own, so the interval lies high, and those of gains over it low: the comparison errs against
    /// all the others.
    pub best_mix: Option<ControlRow>,
    /// The oracle's own mix of candidates, dealt out to the sequences at random: the exact expectation.
    pub dealt: ControlRow,
    /// The best of as many random routes as there are candidates, at the depths around the budget.
    pub null_best: Option<ControlRow>,
    /// The mean of those random routes.
    pub null_mean: Option<ControlRow>,
    /// The random routes by depth.
    pub null_depths: Vec<NullDepth>,
    /// Real controllers.
    pub controllers: Vec<ControllerRow>,
}

impl fmt::Display for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bootstrap { resamples, level, seed } = self.bootstrap;
        writeln!(
            f,
            "{} sequences, {} candidates, mean budget {:.4}; in brackets {} % intervals from {resamples} resamplings of the \
             sequences (seed {seed})",
            self.sequences,
            self.candidates,
            self.budget,
            level * 100.0
        )?;
        writeln!(f, "{:62} {:27} {:27} {:27} cost", "", "quality", "over one for all", "over the best mix")?;
        row(f, "oracle (has seen the scores)", Some(&self.oracle))?;
        row(f, "cross-fitted oracle (chosen on one half, scored on the other)", self.cross_fitted.as_ref())?;
        row(f, "label-free oracle (chosen by the full model's output)", self.label_free.as_ref())?;
        row(f, "null oracle (the best of as many random routes)", self.null_best.as_ref())?;
        row(f, "random routes, their mean", self.null_mean.as_ref())?;
        row(f, "the oracle's candidates, dealt out at random", Some(&self.dealt))?;
        match &self.best_static {
            Some(best) => row(f, &format!("one candidate for all ({})", best.candidate), Some(&best.row))?,
            None => row(f, "one candidate for all", None)?,
        }
        row(f, "the best mix of candidates, dealt out at random", self.best_mix.as_ref())?;
        for ControllerRow { name, row: of, regret } in &self.controllers {
            row(f, &format!("controller {name}"), Some(of))?;
            match regret {
                Some(Interval { value, low, high }) => {
                    writeln!(f, "  {value:.4} [{low:.4}, {high:.4}] below the oracle at the same cost")?;
                }
                None => writeln!(f, "  cheaper than every allocation of the candidates, so no oracle to compare with")?,
            }
        }
        match self.proof {
            Proof::Optimal => writeln!(f, "No allocation within the budget is better than the oracle's: proven.")?,
            Proof::Gap { gap, .. } => {
                writeln!(f, "An allocation may be better than the oracle's, by at most {gap:.3e}: proven.")?;
            }
        }
        write!(
            f,
            "The oracle chooses by the scores that it is judged by, so a part of its gain is luck; the null and the \
             cross-fitted oracle tell how much."
        )
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, row: Option<&ControlRow>) -> fmt::Result {
    let Some(ControlRow { mean_cost, quality, gain, over_mix }) = row else {
        return writeln!(f, "{name:62} not measured");
    };
    let text = |Interval { value, low, high }: &Interval| format!("{value:.4} [{low:.4}, {high:.4}]");
    let compared = |gain: &Option<Interval>| gain.as_ref().map_or("none to compare with".to_owned(), text);
    writeln!(f, "{name:62} {:27} {:27} {:27} {mean_cost:.4}", text(quality), compared(gain), compared(over_mix))
}
