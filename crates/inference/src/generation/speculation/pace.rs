//! The number of tokens to draft, from what rounds have cost and brought.
//!
//! A round that drafts `k` tokens brings one token and those of the drafted ones that are accepted, in the time of `k`
//! drafts and of one full pass over `k + 1` tokens. By the renewal-reward theorem, tokens per second are highest if a token
//! is drafted exactly where its expected gain is above its price: the further time, times the best rate that is known.
//! Huang, Guo and Wang 2024 show that such a threshold is optimal. At the first token, the same
//! comparison decides between drafting and a plain pass.

use super::acceptance::Acceptance;
use super::times::Times;
use super::{DraftLength, Speculation};
use crate::report::SpeculationEstimate;

/// The part of the time that rounds may have lost in all against plain passes.
const LOSS: f64 = 0.01;
/// The numbers of plain passes after which drafting is tried again: the first one, and the largest one.
const RETRY: [u64; 2] = [16, 512];
/// The number of rounds after which a plain pass is measured again.
const MEASURE: u64 = 64;

/// Decides how many tokens the rounds of a session draft.
#[derive(Clone, Debug)]
pub(in crate::generation) struct Pace {
    speculation: Speculation,
    times: Times,
    acceptance: Acceptance,
    /// The part of a token in a full pass that drafting it has saved, because its first layers are shared.
    shared: f64,
    /// The number of plain passes since the last round that drafted.
    plain: u64,
    /// The number of plain passes after which drafting is tried again.
    retry: u64,
    /// The number of rounds that drafted since the last plain pass.
    rounds: u64,
    /// The time of all rounds, in seconds.
    seconds: f64,
    /// The time that rounds have lost against plain passes, less what later ones have won, in seconds.
    lost: f64,
}

/// A round in progress.
#[derive(Clone, Debug)]
pub(in crate::generation) struct Round {
    /// The largest number of tokens that every row can take.
    most: usize,
    /// The drafts so far, and for each the rows' largest probabilities.
    likeliest: Vec<Vec<f64>>,
    /// The estimated probability that all drafted tokens of a row are accepted; 0 once a draft has ended the sequence.
    survival: Vec<f64>,
    /// The time of the drafts, in seconds.
    drafting: f64,
}

/// The outcome of a round for one row.
#[derive(Clone, Copy, Debug)]
pub(in crate::generation) struct Outcome {
    /// The number of tokens that came out.
    pub(in crate::generation) tokens: usize,
    /// The number of drafted tokens that were checked.
    pub(in crate::generation) checked: usize,
    /// The number of drafted tokens that were accepted.
    pub(in crate::generation) accepted: usize,
}

impl Round {
    pub(in crate::generation) fn new(rows: usize, most: usize) -> Self {
        Self { most, likeliest: Vec::new(), survival: vec![1.0; rows], drafting: 0.0 }
    }

    /// The number of rows, as a factor.
    fn rows(&self) -> f64 {
        self.survival.len() as f64
    }
}

impl Pace {
    pub(in crate::generation) fn new(speculation: Speculation) -> Self {
        Self {
            speculation,
            times: Times::default(),
            acceptance: Acceptance::default(),
            shared: 0.0,
            plain: 0,
            retry: 0,
            rounds: 0,
            seconds: 0.0,
            lost: 0.0,
        }
    }

    /// The settings.
    pub(in crate::generation) fn speculation(&self) -> Speculation {
        self.speculation
    }

    /// Returns `true` if a round should draft one more token.
    pub(in crate::generation) fn drafts(&self, round: &Round) -> bool {
        let length = round.likeliest.len();
        if length >= round.most.min(self.speculation.length.most()) {
            return false;
        }
        if let DraftLength::Fixed(_) = self.speculation.length {
            return true;
        }
        let rows = round.rows();
        if length == 0 {
            let pays = self.best(rows).0 > 0 && self.lost <= LOSS * self.seconds;
            return self.times.known() && if pays { self.rounds < MEASURE } else { self.may_retry(rows) };
        }
        let gain = round.survival.iter().sum::<f64>() * self.acceptance.at(length);
        let (_, rate) = self.best(rows);
        gain > rate * (self.draft(rows) + self.check(rows, length + 1) - self.check(rows, length))
    }

    /// Adds a draft to a round: its time, and for each row the probability of the likeliest token, and `true` if the
    /// drafted token ends the sequence.
    pub(in crate::generation) fn drafted(&mut self, round: &mut Round, seconds: f64, rows: &[(f64, bool)]) {
        let place = round.likeliest.len();
        self.times.draft(round.rows(), seconds);
        round.drafting += seconds;
        round.likeliest.push(rows.iter().map(|(likeliest, _)| *likeliest).collect());
        for (survival, (likeliest, ends)) in round.survival.iter_mut().zip(rows) {
            *survival *= if *ends { 0.0 } else { self.acceptance.of(place, *likeliest) };
        }
    }

    /// Adds the end of a round: what came out of each row, the part of a full pass that each draft has saved, and the time
    /// of checking.
    ///
    /// Returns the time that plain passes would have taken for the same tokens, and the speed-up that was expected.
    pub(in crate::generation) fn end(
        &mut self,
        round: &Round,
        rows: &[Outcome],
        shared: f64,
        seconds: f64,
    ) -> (f64, f64) {
        let (drafts, of) = (round.likeliest.len(), round.rows());
        let expected = self.speed_up(of, drafts);
        self.seconds += round.drafting + seconds;
        self.times.full(of * (drafts as f64 * (1.0 - shared) + 1.0), seconds);
        let tokens: usize = rows.iter().map(|row| row.tokens).sum();
        let plain = self.times.seconds(of) * tokens as f64 / of;
        if drafts == 0 {
            (self.plain, self.rounds) = (self.plain + 1, 0);
            return (plain, 1.0);
        }
        self.shared = if self.rounds + self.retry == 0 { shared } else { 0.9 * self.shared + 0.1 * shared };
        for (at, row) in rows.iter().enumerate() {
            // A draft that ends the sequence brings nothing, whether it is accepted or not. It tells nothing of the others.
            let ended = row.accepted == row.tokens;
            for place in 0..row.checked - usize::from(ended) {
                self.acceptance.add(place, round.likeliest[place][at], place < row.accepted);
            }
        }
        self.lost = (self.lost + round.drafting + seconds - plain).max(0.0);
        let (first, largest) = (RETRY[0], RETRY[1]);
        self.retry = if self.best(of).0 > 0 { first } else { (2 * self.retry).clamp(first, largest) };
        (self.plain, self.rounds) = (0, self.rounds + 1);
        (plain, expected)
    }

    /// The estimates for this many rows.
    pub(in crate::generation) fn estimate(&self, rows: usize) -> SpeculationEstimate {
        let rows = rows as f64;
        let (length, _) = self.best(rows);
        SpeculationEstimate {
            draft_cost: self.times.draft_ratio(),
            acceptance: self.acceptance.at(0),
            length,
            speed_up: self.speed_up(rows, length.max(1)),
        }
    }

    /// The most promising number of drafts, and the tokens per second that it promises.
    fn best(&self, rows: f64) -> (usize, f64) {
        let mut best = (0, 0.0);
        for (drafts, rate) in self.rates(rows).take(self.speculation.length.most() + 1).enumerate() {
            if rate > best.1 {
                best = (drafts, rate);
            }
        }
        best
    }

    /// The expected tokens per second of rounds with 0, 1, 2 and so on drafts.
    fn rates(&self, rows: f64) -> impl Iterator<Item = f64> + '_ {
        let (draft, mut survival, mut tokens) = (self.draft(rows), 1.0, 1.0);
        (0..).map(move |drafts| {
            if drafts > 0 {
                survival *= self.acceptance.at(drafts - 1);
                tokens += survival;
            }
            rows * tokens / (drafts as f64 * draft + self.check(rows, drafts))
        })
    }

    /// The expected speed-up of rounds with this number of drafts against plain passes.
    fn speed_up(&self, rows: f64, drafts: usize) -> f64 {
        let mut rates = self.rates(rows);
        let (plain, rate) = (rates.next(), if drafts == 0 { None } else { rates.nth(drafts - 1) });
        rate.zip(plain.filter(|_| self.times.known())).map_or(1.0, |(rate, plain)| rate / plain)
    }

    /// The expected time of a draft.
    fn draft(&self, rows: f64) -> f64 {
        self.times.draft_ratio() * self.times.seconds(rows)
    }

    /// The expected time of checking this number of drafts.
    fn check(&self, rows: f64, drafts: usize) -> f64 {
        self.times.seconds(rows * (drafts as f64 * (1.0 - self.shared) + 1.0))
    }

    /// Returns `true` if it is time to find out again if drafting pays, and if that is cheap enough.
    fn may_retry(&self, rows: f64) -> bool {
        let plain = self.times.seconds(rows);
        let expected = self.draft(rows) + self.check(rows, 1) - (1.0 + self.acceptance.at(0)) * plain;
        self.plain >= self.retry && self.lost + expected.max(0.0) <= LOSS * self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    /// A machine with these times of a draft and of a further token in a full pass, as parts of a plain pass, and this
    /// acceptance.
    struct Machine {
        draft: f64,
        further: f64,
        acceptance: f64,
    }

    /// Plays rounds of one row until this many tokens came out. Returns the time in plain passes, and the lengths.
    fn play(pace: &mut Pace, machine: &Machine, tokens: usize, rng: &mut StdRng) -> (f64, Vec<usize>) {
        let (mut out, mut time, mut lengths) = (0, 0.0, Vec::new());
        while out < tokens {
            let mut round = Round::new(1, 64);
            while pace.drafts(&round) {
                pace.drafted(&mut round, machine.draft, &[(0.5, false)]);
            }
            let length = round.likeliest.len();
            let accepted = (0..length).take_while(|_| rng.random::<f64>() < machine.acceptance).count();
            let check = 1.0 + machine.further * length as f64;
            let outcome = Outcome { tokens: accepted + 1, checked: length.min(accepted + 1), accepted };
            pace.end(&round, &[outcome], 0.0, check);
            let seconds = machine.draft * length as f64 + check;
            (out, time) = (out + accepted + 1, time + seconds);
            lengths.push(length);
        }
        (time / out as f64, lengths)
    }

    fn pace() -> Pace {
        Pace::new(Speculation::default())
    }

    #[test]
    fn the_best_length_is_found() {
        let mut rng = StdRng::seed_from_u64(1);
        for (draft, further, acceptance) in [(0.3, 0.2, 0.95), (0.2, 0.1, 0.8), (0.4, 0.3, 0.9), (0.1, 0.4, 0.6)] {
            let machine = Machine { draft, further, acceptance };
            let mut pace = pace();
            play(&mut pace, &machine, 500, &mut rng);
            let (time, lengths) = play(&mut pace, &machine, 4000, &mut rng);
            let cost = |length: i32| {
                let tokens = (0..=length).map(|place| acceptance.powi(place)).sum::<f64>();
                (f64::from(length) * (draft + further) + 1.0) / tokens
            };
            let best = (0..16).map(cost).fold(f64::INFINITY, f64::min);
            // Plain passes in between and the spread of the estimates cost a little.
            assert!(time < 1.05 * best, "{acceptance}: {time} for {best}, {lengths:?}");
        }
    }

    #[test]
    fn drafting_that_does_not_pay_is_switched_off_and_costs_at_most_its_share() {
        let mut rng = StdRng::seed_from_u64(2);
        for (draft, acceptance) in [(0.74, 0.58), (1.0, 0.0), (0.9, 0.9), (0.3, 0.1)] {
            let machine = Machine { draft, further: 0.35, acceptance };
            let mut pace = pace();
            for tokens in [100, 1000, 4000] {
                let (time, _) = play(&mut pace, &machine, tokens, &mut rng);
                assert!(time < 1.0 + LOSS + 0.002, "{draft}, {acceptance}: {time}");
            }
            let estimate = pace.estimate(1);
            assert!(estimate.length == 0 && estimate.speed_up < 1.0, "{estimate:?}");
        }
    }

    #[test]
    fn drafting_is_switched_on_again_when_it_pays() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut pace = pace();
        play(&mut pace, &Machine { draft: 0.3, further: 0.2, acceptance: 0.1 }, 1000, &mut rng);
        assert_eq!(pace.best(1.0).0, 0);
        let good = Machine { draft: 0.3, further: 0.2, acceptance: 0.98 };
        play(&mut pace, &good, 8000, &mut rng);
        let (time, _) = play(&mut pace, &good, 1000, &mut rng);
        assert!(time < 0.7, "{time}");
    }

    #[test]
    fn a_fixed_length_is_kept_and_a_row_that_has_ended_gains_nothing() {
        let mut pace = Pace::new(Speculation { length: DraftLength::Fixed(3), ..Speculation::default() });
        let mut round = Round::new(2, 64);
        while pace.drafts(&round) {
            pace.drafted(&mut round, 1.0, &[(0.5, true), (0.5, false)]);
        }
        assert_eq!(round.likeliest.len(), 3);
        assert!(round.survival[0] == 0.0 && round.survival[1] > 0.0);
        assert!(!pace.drafts(&Round::new(1, 0)), "no room");
    }
}
