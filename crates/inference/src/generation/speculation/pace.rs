//! The number of tokens to draft, from what rounds have cost and brought.
//!
//! A round that drafts `k` tokens brings one token and those of the drafted ones that are accepted, in the time of `k`
//! drafts and of one full pass over `k + 1` tokens. By the renewal-reward theorem, tokens per second are highest if a token
//! is drafted exactly where its expected gain is above its price: the further time, times the best rate that is known.
//! Huang, Guo and Wang 2024 show that such a threshold is optimal. At the first token, the same
//! comparison decides between drafting and a plain pass.

use super::acceptance::Acceptance;
use super::times::{DISTURBED, Times};
use super::{DraftLength, Speculation};
use crate::report::SpeculationEstimate;

/// The part of the time that rounds may have lost against plain passes before another one drafts. With one more round, that
/// is the most that they can lose.
const LOSS: f64 = 0.01;
/// The numbers of plain passes after which drafting is tried again: the first one, and the largest one.
const RETRY: [u64; 2] = [16, 512];
/// The number of rounds after which a plain pass is measured again.
const MEASURE: u64 = 64;
/// The number of rounds over which the share of those that a draft has ended is averaged.
const ENDED: f64 = 32.0;

/// Decides how many tokens the rounds of a session draft.
#[derive(Clone, Debug)]
pub(in crate::generation) struct Pace {
    speculation: Speculation,
    times: Times,
    acceptance: Acceptance,
    /// The part of a token in a check that drafting it has saved, because its first layers are shared.
    saved: f64,
    /// The share of rows and rounds in which a draft ended the sequence, so that no token came after it.
    ended: f64,
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
    /// The most promising number of drafts, and the tokens that it promises for each row in the time of a plain pass. Plain
    /// passes do not change it.
    best: (usize, f64),
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

/// The result of a round for one row.
#[derive(Clone, Copy, Debug)]
pub(in crate::generation) struct RowResult {
    /// The number of tokens that came out.
    pub(in crate::generation) tokens: usize,
    /// The number of drafted tokens that were checked.
    pub(in crate::generation) checked: usize,
    /// The number of drafted tokens that were accepted.
    pub(in crate::generation) accepted: usize,
    /// `true` if the last accepted token ended the sequence.
    pub(in crate::generation) ended: bool,
}

impl Round {
    pub(in crate::generation) fn new(rows: usize, most: usize) -> Self {
        Self { most, likeliest: Vec::new(), survival: vec![1.0; rows], drafting: 0.0 }
    }

    fn rows(&self) -> usize {
        self.survival.len()
    }
}

impl Pace {
    pub(in crate::generation) fn new(speculation: Speculation) -> Self {
        let mut pace = Self {
            speculation,
            times: Times::default(),
            acceptance: Acceptance::default(),
            saved: 0.0,
            ended: 0.0,
            plain: 0,
            retry: 0,
            rounds: 0,
            seconds: 0.0,
            lost: 0.0,
            best: (0, 1.0),
        };
        pace.find_best();
        pace
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
        let Some(plain) = self.times.plain(rows) else { return false };
        if length == 0 {
            let pays = self.best.0 > 0 && self.lost <= LOSS * self.seconds;
            return if pays { self.rounds < MEASURE } else { self.may_retry(plain) };
        }
        let gain = round.survival.iter().sum::<f64>() / rows as f64 * self.acceptance.at(length);
        let (_, rate) = self.best;
        gain > rate * (self.times.draft() + self.check(length + 1) - self.check(length))
    }

    /// Adds a draft to a round: its time, and for each row the probability of the likeliest token, and `true` if the
    /// drafted token ends the sequence.
    pub(in crate::generation) fn drafted(&mut self, round: &mut Round, seconds: f64, rows: &[(f64, bool)]) {
        let place = round.likeliest.len();
        self.times.add_draft(round.rows(), seconds);
        round.drafting += seconds;
        round.likeliest.push(rows.iter().map(|(likeliest, _)| *likeliest).collect());
        for (survival, (likeliest, ends)) in round.survival.iter_mut().zip(rows) {
            *survival *= if *ends { 0.0 } else { self.acceptance.of(place, *likeliest) };
        }
        self.find_best();
    }

    /// Adds the time of a draft from which no token could be chosen.
    pub(in crate::generation) fn failed(&mut self, seconds: f64) {
        self.seconds += seconds;
        self.lost += seconds;
        self.wait();
    }

    /// Makes the next try come later than the one before.
    fn wait(&mut self) {
        let (first, largest) = (RETRY[0], RETRY[1]);
        (self.plain, self.retry) = (0, (2 * self.retry).clamp(first, largest));
    }

    /// Adds a round without drafts, over so many rows.
    pub(in crate::generation) fn plain(&mut self, rows: usize, seconds: f64) {
        self.seconds += seconds;
        self.times.add_plain(rows, seconds);
        (self.plain, self.rounds) = (self.plain + 1, 0);
    }

    /// Adds the end of a round that drafted: what came out of each row, the part of a token in the check that each draft
    /// has saved, and the time of checking.
    ///
    /// Returns the time that plain passes would have taken for the same tokens, and the speed-up that was expected.
    pub(in crate::generation) fn end(
        &mut self,
        round: &Round,
        rows: &[RowResult],
        saved: f64,
        seconds: f64,
    ) -> (f64, f64) {
        let (drafts, of) = (round.likeliest.len(), round.rows());
        self.seconds += round.drafting + seconds;
        let expected = self.speed_up(drafts);
        self.times.add_check(of, drafts as f64 * (1.0 - saved), seconds);
        self.saved = if self.rounds + self.retry == 0 { saved } else { 0.9 * self.saved + 0.1 * saved };
        for (at, row) in rows.iter().enumerate() {
            // A draft that ends the sequence brings nothing, whether it is accepted or not. It tells nothing of the others.
            self.ended += (f64::from(u8::from(row.ended)) - self.ended) / (ENDED * of as f64);
            for place in 0..row.checked - usize::from(row.ended) {
                self.acceptance.add(place, round.likeliest[place][at], place < row.accepted);
            }
        }
        let plain = self.times.plain(of);
        let tokens: usize = rows.iter().map(|row| row.tokens).sum();
        // Without a plain pass, as with a fixed length, it is guessed from the check.
        let pass = plain.unwrap_or_else(|| seconds / self.check(drafts));
        let replaced = pass * tokens as f64 / of as f64;
        // A round that was disturbed, as by another process, says nothing of what the next ones lose.
        let most = DISTURBED * pass * (drafts as f64 * self.times.draft() + self.check(drafts));
        self.lost = (self.lost + (round.drafting + seconds).min(most) - replaced).max(0.0);
        self.wait();
        self.find_best();
        if self.best.0 > 0 {
            self.retry = RETRY[0];
        }
        self.rounds += 1;
        (replaced, expected)
    }

    /// The estimates of what drafting costs and brings.
    pub(in crate::generation) fn estimate(&self) -> SpeculationEstimate {
        let length = match self.speculation.length {
            DraftLength::Auto { .. } => self.best.0,
            DraftLength::Fixed(length) => length,
        };
        SpeculationEstimate {
            draft_cost: self.times.draft(),
            acceptance: self.acceptance.at(0),
            length,
            speed_up: self.speed_up(length.max(1)),
        }
    }

    /// Finds the most promising number of drafts anew.
    fn find_best(&mut self) {
        let mut best = (0, 1.0);
        for (drafts, rate) in self.rates().enumerate().take(self.speculation.length.most() + 1).skip(1) {
            if rate > best.1 {
                best = (drafts, rate);
            }
        }
        self.best = best;
    }

    /// The expected tokens of each row in the time of a plain pass, in rounds with 0, 1, 2 and so on drafts.
    fn rates(&self) -> impl Iterator<Item = f64> + '_ {
        let (draft, mut survival, mut tokens) = (self.times.draft(), 1.0, 1.0 - self.ended);
        (0..).map(move |drafts| {
            if drafts == 0 {
                return 1.0;
            }
            survival *= self.acceptance.at(drafts - 1);
            tokens += survival;
            tokens / (drafts as f64 * draft + self.check(drafts))
        })
    }

    /// The expected speed-up of rounds with this number of drafts against plain passes.
    fn speed_up(&self, drafts: usize) -> f64 {
        self.rates().nth(drafts).unwrap_or(1.0)
    }

    /// The expected time of checking this number of drafts, as a part of a plain pass's.
    fn check(&self, drafts: usize) -> f64 {
        self.times.check(drafts as f64 * (1.0 - self.saved))
    }

    /// Returns `true` if it is time to find out again if drafting pays, and if a try is cheap enough, where a plain pass
    /// takes `plain` seconds.
    fn may_retry(&self, plain: f64) -> bool {
        let expected = self.times.draft() + self.check(1) - 1.0 - self.acceptance.at(0);
        self.plain >= self.retry && self.lost + plain * expected.max(0.0) <= LOSS * self.seconds
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
        /// The time that a check takes beside its tokens and the plain pass.
        base: f64,
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
            let base = if length > 0 { machine.base } else { 0.0 };
            let check = 1.0 + base + machine.further * length as f64;
            let checked = length.min(accepted + 1);
            if length == 0 {
                pace.plain(1, check);
            } else {
                pace.end(&round, &[RowResult { tokens: accepted + 1, checked, accepted, ended: false }], 0.0, check);
            }
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
        for (draft, further, acceptance) in [(0.3, 0.2, 0.95), (0.2, 0.1, 0.8), (0.4, 0.3, 0.9), (0.1, 0.3, 0.75)] {
            let machine = Machine { draft, further, acceptance, base: 0.0 };
            let mut pace = pace();
            play(&mut pace, &machine, 1000, &mut rng);
            let (time, lengths) = play(&mut pace, &machine, 4000, &mut rng);
            let cost = |length: i32| {
                let tokens = (0..=length).map(|place| acceptance.powi(place)).sum::<f64>();
                (f64::from(length) * (draft + further) + 1.0) / tokens
            };
            let best = (0..16).map(cost).fold(f64::INFINITY, f64::min);
            // Plain passes in between and the spread of the estimates cost a little.
            assert!(time < 1.05 * best, "{acceptance}: {time} for {best}, drafts of {}", lengths.iter().max().unwrap());
        }
    }

    #[test]
    fn drafting_that_does_not_pay_is_switched_off_and_costs_at_most_its_share() {
        let mut rng = StdRng::seed_from_u64(2);
        for (draft, acceptance) in [(0.74, 0.58), (1.0, 0.0), (0.9, 0.9), (0.3, 0.1)] {
            let machine = Machine { draft, further: 0.35, acceptance, base: 0.0 };
            let mut pace = pace();
            let mut lost = 0.0;
            let mut all = 0.0;
            for tokens in [10, 40, 50, 100, 800, 4000] {
                let (time, _) = play(&mut pace, &machine, tokens, &mut rng);
                lost += (time - 1.0) * tokens as f64;
                all += tokens as f64;
                // At any time, the losses are the allowed ones and those of one round.
                assert!(lost < 1.03 * LOSS * all + draft + 0.35, "{draft}, {acceptance}: {lost} of {all}");
            }
            let estimate = pace.estimate();
            assert!(estimate.length == 0 && estimate.speed_up < 1.0, "{estimate:?}");
        }
    }

    /// Sequences whose tokens are all drafted right, and that end with the token after `length` others.
    #[test]
    fn drafts_that_end_a_sequence_are_expected_to_bring_nothing() {
        for (length, pays) in [(8, true), (3, true), (1, false)] {
            let mut pace = pace();
            let (draft, further) = (0.3, 0.1);
            let (mut time, mut expected) = (0.0, 0.0);
            for sequence in 0..2000 {
                let mut left = length;
                while left > 0 {
                    let mut round = Round::new(1, 64);
                    let ends = |round: &Round| round.likeliest.len() + 1 == left;
                    while pace.drafts(&round) {
                        let ends = ends(&round);
                        pace.drafted(&mut round, draft, &[(0.5, ends)]);
                    }
                    let drafts = round.likeliest.len();
                    let tokens = left.min(drafts + 1);
                    let (checked, ended) = (drafts.min(tokens), drafts >= left);
                    let outcome = RowResult { tokens, checked, accepted: checked, ended };
                    let check = 1.0 + further * drafts as f64;
                    let (_, speed_up) = if drafts == 0 {
                        pace.plain(1, check);
                        (check, 1.0)
                    } else {
                        pace.end(&round, &[outcome], 0.0, check)
                    };
                    left -= tokens;
                    if sequence >= 1000 {
                        let seconds = draft * drafts as f64 + check;
                        time += seconds;
                        expected += seconds * speed_up;
                    }
                }
            }
            let measured = 1000.0 * length as f64 / time;
            assert!((measured > 1.2) == pays && measured > 0.98, "{length}: {measured}");
            assert!((expected / time / measured - 1.0).abs() < 0.1, "{length}: {} for {measured}", expected / time);
        }
    }

    #[test]
    fn drafting_is_switched_on_again_when_it_pays() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut pace = pace();
        play(&mut pace, &Machine { draft: 0.3, further: 0.2, acceptance: 0.1, base: 0.0 }, 1000, &mut rng);
        assert_eq!(pace.best.0, 0);
        let good = Machine { draft: 0.3, further: 0.2, acceptance: 0.98, base: 0.0 };
        play(&mut pace, &good, 8000, &mut rng);
        let (time, _) = play(&mut pace, &good, 1000, &mut rng);
        assert!(time < 0.7, "{time}");
    }

    #[test]
    fn a_stall_does_not_switch_drafting_off() {
        let mut rng = StdRng::seed_from_u64(4);
        let mut pace = pace();
        let good = Machine { draft: 0.3, further: 0.1, acceptance: 0.9, base: 0.0 };
        play(&mut pace, &good, 500, &mut rng);
        let mut round = Round::new(1, 64);
        pace.drafted(&mut round, 3000.0, &[(0.5, false)]);
        pace.end(&round, &[RowResult { tokens: 1, checked: 1, accepted: 0, ended: false }], 0.0, 3000.0);
        let (time, _) = play(&mut pace, &good, 200, &mut rng);
        assert!(time < 0.75, "{time}");
    }

    /// A check that costs more than a plain pass before its first further token, as if it used other kernels.
    #[test]
    fn long_drafts_are_found_where_a_check_has_a_price_of_its_own() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut pace = pace();
        let machine = Machine { draft: 0.2, further: 0.1, acceptance: 0.97, base: 0.6 };
        play(&mut pace, &machine, 4000, &mut rng);
        let (time, lengths) = play(&mut pace, &machine, 1000, &mut rng);
        assert!(time < 0.7, "{time}, drafts of up to {}", lengths.iter().max().unwrap());
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
