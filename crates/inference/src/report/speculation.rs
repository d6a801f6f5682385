//! The report of speculation.

use super::PhaseReport;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Rounds of [speculation](crate::Speculation): what was drafted and accepted, and the times. `Display` says in a sentence
/// what drafting gains, or why it is off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpeculationReport {
    /// The number of rounds by the number of tokens that they drafted, from 0. A round without a draft is a plain pass.
    pub lengths: Vec<u64>,
    /// The number of drafted tokens, of all rows.
    pub drafted: u64,
    /// The number of drafted tokens that were judged: those of each row up to and including the first rejected one.
    pub checked: u64,
    /// The number of drafted tokens that were accepted.
    pub accepted: u64,
    /// The number of tokens that came out of rounds that drafted.
    pub tokens: u64,
    /// The draft passes.
    pub drafts: PhaseReport,
    /// Wall time of the passes that checked drafts, in seconds.
    pub checking_seconds: f64,
    /// Wall time of plain passes, in seconds.
    pub plain_seconds: f64,
    /// The time that plain passes would have taken for the tokens that came out of rounds that drafted, in seconds, by the
    /// measured times of plain passes.
    pub replaced_seconds: f64,
    /// For each round that drafted, its time times the speed-up that was expected of it; the sum, in seconds.
    pub expected: f64,
    /// The estimates at the end of the run.
    pub estimate: SpeculationEstimate,
}

/// Estimates of what drafting costs and brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SpeculationEstimate {
    /// The time of a draft, as a part of a plain pass's.
    pub draft_cost: f64,
    /// The probability that the first drafted token of a round is accepted.
    pub acceptance: f64,
    /// The most promising number of drafts in a round; 0 if drafting does not pay.
    pub length: usize,
    /// The speed-up of rounds of this length against plain passes; if the length is 0, that of rounds of one draft.
    pub speed_up: f64,
}

impl SpeculationReport {
    /// The number of rounds that drafted.
    pub fn rounds(&self) -> u64 {
        self.lengths.iter().skip(1).sum()
    }

    /// The number of plain passes.
    pub fn plain_passes(&self) -> u64 {
        self.lengths.first().copied().unwrap_or(0)
    }

    /// The share of checked tokens that were accepted; `None` if none was checked.
    pub fn acceptance(&self) -> Option<f64> {
        (self.checked > 0).then(|| self.accepted as f64 / self.checked as f64)
    }

    /// The number of tokens that came out of a round that drafted, for each of its sequences; `None` without such a round.
    pub fn tokens_per_round(&self) -> Option<f64> {
        let drafts = (0..).zip(&self.lengths).map(|(length, rounds)| length * rounds).sum::<u64>() as f64;
        // The drafted tokens are those of all rows.
        (drafts > 0.0).then(|| self.tokens as f64 / self.rounds() as f64 * drafts / self.drafted as f64)
    }

    /// The speed-up of the rounds that drafted against plain passes for the same tokens; `None` without such a round.
    pub fn speed_up(&self) -> Option<f64> {
        let seconds = self.drafts.seconds + self.checking_seconds;
        (self.rounds() > 0).then(|| self.replaced_seconds / seconds)
    }

    /// The speed-up that was expected of these rounds, by what was known before them; `None` without such a round.
    pub fn expected_speed_up(&self) -> Option<f64> {
        let seconds = self.drafts.seconds + self.checking_seconds;
        (self.rounds() > 0).then(|| self.expected / seconds)
    }

    /// The speed-up of all decoding, plain passes included, against plain passes alone; `None` without a pass.
    pub fn total_speed_up(&self) -> Option<f64> {
        let seconds = self.drafts.seconds + self.checking_seconds + self.plain_seconds;
        (seconds > 0.0).then(|| (self.replaced_seconds + self.plain_seconds) / seconds)
    }

    /// Adds a plain pass.
    pub(crate) fn add_plain(&mut self, seconds: f64) {
        if self.lengths.is_empty() {
            self.lengths.push(0);
        }
        self.lengths[0] += 1;
        self.plain_seconds += seconds;
    }

    /// Adds the rounds of a later run or a later round, whose estimates stand for both.
    pub(crate) fn add(&mut self, other: &Self) {
        self.estimate = other.estimate;
        self.lengths.resize(self.lengths.len().max(other.lengths.len()), 0);
        self.lengths.iter_mut().zip(&other.lengths).for_each(|(to, from)| *to += from);
        self.drafted += other.drafted;
        self.checked += other.checked;
        self.accepted += other.accepted;
        self.tokens += other.tokens;
        self.drafts += &other.drafts;
        self.checking_seconds += other.checking_seconds;
        self.plain_seconds += other.plain_seconds;
        self.replaced_seconds += other.replaced_seconds;
        self.expected += other.expected;
    }
}

impl fmt::Display for SpeculationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(measured), Some(expected)) = (self.speed_up(), self.expected_speed_up()) else {
            return write!(f, "no draft in {} passes: too few for a try, or no room", self.plain_passes());
        };
        let SpeculationEstimate { draft_cost, acceptance, length, speed_up } = self.estimate;
        let rounds = self.rounds();
        write!(f, "{} tokens drafted in {rounds} rounds, {} accepted", self.drafted, self.accepted)?;
        write!(f, ", {:.2} tokens per round", self.tokens_per_round().unwrap_or_default())?;
        write!(f, ": {measured:.2} times")?;
        write!(f, " as fast as plain passes (expected {expected:.2})")?;
        if let Some(total) = self.total_speed_up().filter(|_| self.plain_passes() > 0) {
            write!(f, ", {total:.2} times with {} plain passes", self.plain_passes())?;
        }
        if length == 0 {
            write!(f, "; off at the end: a draft takes {draft_cost:.2} of a plain pass, and an estimated ")?;
            write!(f, "{:.0} % of first drafts are accepted, so decoding would be ", 100.0 * acceptance)?;
            write!(f, "{speed_up:.2} times as fast")?;
        }
        Ok(())
    }
}
