//! The share of drafted tokens that are accepted, as it is measured.

use super::decay;

/// The number of drafted tokens after which an accepted one counts half.
const HALF_LIFE: f64 = 256.0;
/// The weight of what is assumed before anything is measured, in drafted tokens.
const ASSUMED: f64 = 2.0;
/// The number of classes of a draft's largest probability.
const BINS: usize = 10;
/// The places in a draft that are told apart: the first, the second, and all after them.
const PLACES: usize = 3;

/// Estimates of the probability that a drafted token is accepted after those before it, by its place in the draft and by
/// the probability of the drafter's likeliest token.
#[derive(Clone, Debug, Default)]
pub(super) struct Acceptance {
    places: [Rate; PLACES],
    bins: [[Rate; BINS]; PLACES],
}

/// Accepted and drafted tokens.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    accepted: f64,
    drafted: f64,
}

impl Rate {
    /// The share, where `assumed` counts as much as two drafted tokens.
    fn share(self, assumed: f64) -> f64 {
        (self.accepted + ASSUMED * assumed) / (self.drafted + ASSUMED)
    }

    fn add(&mut self, accepted: bool) {
        self.accepted += f64::from(u8::from(accepted));
        self.drafted += 1.0;
    }
}

impl Acceptance {
    /// The estimate for a place whose draft has not run yet. Until much is known of a place, it is as the one before.
    pub(super) fn at(&self, place: usize) -> f64 {
        self.places.iter().take(place + 1).fold(0.5, |assumed, rate| rate.share(assumed))
    }

    /// The estimate for a draft that has run, whose likeliest token had this probability.
    pub(super) fn of(&self, place: usize, likeliest: f64) -> f64 {
        self.bins[place.min(PLACES - 1)][bin(likeliest)].share(self.at(place))
    }

    /// Adds a drafted token that was checked.
    pub(super) fn add(&mut self, place: usize, likeliest: f64, accepted: bool) {
        let keep = decay(HALF_LIFE);
        for rate in self.places.iter_mut().chain(self.bins.iter_mut().flatten()) {
            rate.accepted *= keep;
            rate.drafted *= keep;
        }
        let place = place.min(PLACES - 1);
        self.places[place].add(accepted);
        self.bins[place][bin(likeliest)].add(accepted);
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a probability times 10")]
fn bin(probability: f64) -> usize {
    ((probability.clamp(0.0, 1.0) * BINS as f64) as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_learned_by_place_and_probability() {
        let mut acceptance = Acceptance::default();
        assert!((acceptance.at(0) - 0.5).abs() < 1e-12 && (acceptance.of(5, 0.3) - 0.5).abs() < 1e-12);
        for i in 0..400 {
            acceptance.add(0, 0.95, true);
            acceptance.add(0, 0.35, i % 4 == 0);
        }
        assert!(acceptance.of(0, 0.99) > 0.97 && (acceptance.of(0, 0.31) - 0.25).abs() < 0.03);
        assert!((acceptance.at(0) - 0.625).abs() < 0.03, "{}", acceptance.at(0));
        assert!((acceptance.at(1) - acceptance.at(0)).abs() < 1e-9, "nothing is known of the second place");
        for _ in 0..2000 {
            acceptance.add(0, 0.95, false);
        }
        assert!(acceptance.at(0) < 0.02 && acceptance.of(0, 0.95) < 0.02, "what was is forgotten");
        assert_eq!([bin(-1.0), bin(0.0), bin(0.1), bin(1.0), bin(2.0)], [0, 0, 1, 9, 9]);
    }
}
