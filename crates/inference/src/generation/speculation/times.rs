//! The times of passes, as they are measured.

use super::decay;

/// The number of passes after which a measured time counts half: the speed of a machine changes with its load.
const HALF_LIFE: f64 = 64.0;
/// The time of a further token in a pass, as a part of the first one's, until it is measured.
const FURTHER_TOKEN: f64 = 0.25;
/// The time of a draft, as a part of a plain pass's, until it is measured.
const DRAFT: f64 = 0.5;
/// A pass that took more than this many times the expected time was disturbed, and counts as this many.
const DISTURBED: f64 = 3.0;

/// Times of passes at full depth, which are fitted by `a + b * tokens`, and of drafts in proportion to them.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    weight: f64,
    /// Weighted sums of tokens, seconds, squared tokens, and their product.
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    /// The fitted line: the time without a token, and that of each token.
    line: [f64; 2],
    /// The time of a draft divided by that of a plain pass: the weighted sum, and the weight.
    draft: [f64; 2],
}

impl Times {
    /// Returns `true` once a pass at full depth has been measured.
    pub(super) fn known(&self) -> bool {
        self.weight > 0.0
    }

    /// Adds a pass at full depth. `tokens` are as many as it cost: a part of a pass is a part of a token.
    pub(super) fn full(&mut self, tokens: f64, seconds: f64) {
        let seconds = if self.known() { seconds.min(DISTURBED * self.seconds(tokens)) } else { seconds };
        let keep = decay(HALF_LIFE);
        for sum in [&mut self.weight, &mut self.x, &mut self.y, &mut self.xx, &mut self.xy] {
            *sum *= keep;
        }
        self.weight += 1.0;
        self.x += tokens;
        self.y += seconds;
        self.xx += tokens * tokens;
        self.xy += tokens * seconds;
        let (x, y) = (self.x / self.weight, self.y / self.weight);
        let (spread, product) = (self.xx - self.weight * x * x, self.xy - self.weight * x * y);
        // The slope is assumed until passes of other numbers of tokens were measured, as if one had been, a token apart.
        let assumed = y / (x + (1.0 / FURTHER_TOKEN - 1.0));
        let slope = ((product.max(0.0) + assumed) / (spread.max(0.0) + 1.0)).clamp(0.0, y / x.max(1.0));
        self.line = [y - slope * x, slope];
    }

    /// Adds a draft of this many rows.
    pub(super) fn draft(&mut self, rows: f64, seconds: f64) {
        let plain = self.seconds(rows);
        if plain > 0.0 {
            let ratio = (seconds / plain).min(DISTURBED * self.draft_ratio());
            self.draft = self.draft.map(|sum| sum * decay(HALF_LIFE));
            self.draft[0] += ratio;
            self.draft[1] += 1.0;
        }
    }

    /// The expected time of a pass at full depth; 0 until one was measured.
    pub(super) fn seconds(&self, tokens: f64) -> f64 {
        self.line[0] + self.line[1] * tokens
    }

    /// The expected time of a draft, as a part of a plain pass's.
    pub(super) fn draft_ratio(&self) -> f64 {
        if self.draft[1] > 0.0 { self.draft[0] / self.draft[1] } else { DRAFT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found() {
        let mut times = Times::default();
        assert!(!times.known());
        times.full(1.0, 10.0);
        assert!((times.seconds(1.0) - 10.0).abs() < 1e-9);
        assert!((times.seconds(2.0) - 12.5).abs() < 1e-9, "assumed: {}", times.seconds(2.0));
        for tokens in [1.0, 2.0, 4.0, 3.0, 1.0, 5.0].iter().cycle().take(300) {
            times.full(*tokens, 8.0 + 2.0 * tokens);
        }
        assert!((times.seconds(1.0) - 10.0).abs() < 0.1, "{}", times.seconds(1.0));
        assert!((times.seconds(6.0) - 20.0).abs() < 0.2, "{}", times.seconds(6.0));
        times.full(1.0, 10_000.0);
        assert!(times.seconds(1.0) < 11.0, "a disturbed pass");
        for _ in 0..20 {
            times.draft(1.0, 4.0);
        }
        assert!((times.draft_ratio() - 0.4).abs() < 0.03, "{}", times.draft_ratio());
    }
}
