//! The times of passes, as they are measured.

use super::decay;
use std::collections::BTreeMap;

/// The number of passes after which a measured time counts half: the speed of a machine changes with its load.
const HALF_LIFE: f64 = 64.0;
/// The time of a further token in a check, as a part of a plain pass's, as far as it is not measured.
const FURTHER_TOKEN: f64 = 0.25;
/// The time of a draft, as a part of a plain pass's, until it is measured.
const DRAFT: f64 = 0.5;
/// A pass that took more than this many times the expected time was disturbed, and counts as this many.
pub(super) const DISTURBED: f64 = 3.0;

/// Times of plain passes, and in proportion to them those of drafts and checks.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    /// Seconds of plain passes, by their number of rows.
    plain: BTreeMap<usize, Mean>,
    /// The time of a draft divided by that of a plain pass.
    draft: Mean,
    check: Line,
}

/// A mean in which later values count more.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        let keep = decay(HALF_LIFE);
        (self.sum, self.weight) = (self.sum * keep + value, self.weight * keep + 1.0);
    }

    fn get(self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

/// The time of a check by its further tokens, divided by that of a plain pass: a line through what was measured, and two
/// points that are assumed.
#[derive(Clone, Copy, Debug)]
struct Line {
    weight: f64,
    /// Weighted sums of tokens, times, squared tokens, and products.
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Default for Line {
    fn default() -> Self {
        let y = 1.0 + FURTHER_TOKEN;
        Self { weight: 2.0, x: 1.0, y: 1.0 + y, xx: 1.0, xy: y }
    }
}

impl Line {
    fn add(&mut self, x: f64, y: f64) {
        let (keep, assumed) = (decay(HALF_LIFE), Self::default());
        let fade = |sum: &mut f64, assumed: f64, value: f64| *sum = assumed + (*sum - assumed) * keep + value;
        fade(&mut self.weight, assumed.weight, 1.0);
        fade(&mut self.x, assumed.x, x);
        fade(&mut self.y, assumed.y, y);
        fade(&mut self.xx, assumed.xx, x * x);
        fade(&mut self.xy, assumed.xy, x * y);
    }

    fn at(&self, x: f64) -> f64 {
        let (mean_x, mean_y) = (self.x / self.weight, self.y / self.weight);
        let slope = (self.xy - self.x * mean_y) / (self.xx - self.x * mean_x);
        mean_y + slope.max(0.0) * (x - mean_x)
    }
}

impl Times {
    /// Adds a plain pass.
    pub(super) fn add_plain(&mut self, rows: usize, seconds: f64) {
        let expected = self.plain.get(&rows).and_then(|mean| mean.get());
        let seconds = expected.map_or(seconds, |expected| seconds.min(DISTURBED * expected));
        self.plain.entry(rows).or_default().add(seconds);
    }

    /// Adds a draft.
    pub(super) fn add_draft(&mut self, rows: usize, seconds: f64) {
        if let Some(plain) = self.plain(rows) {
            self.draft.add((seconds / plain).min(DISTURBED * self.draft()));
        }
    }

    /// Adds a check of further tokens: as many for each row as it cost, where a part of a pass is a part of a token.
    pub(super) fn add_check(&mut self, rows: usize, further: f64, seconds: f64) {
        if let Some(plain) = self.plain(rows) {
            self.check.add(further, (seconds / plain).min(DISTURBED * self.check(further)));
        }
    }

    /// The time of a plain pass in seconds; `None` until one was measured. If none of so many rows was, it is that of the
    /// nearest number of rows.
    pub(super) fn plain(&self, rows: usize) -> Option<f64> {
        let nearest = self.plain.iter().min_by_key(|(measured, _)| measured.abs_diff(rows));
        nearest.and_then(|(_, mean)| mean.get()).filter(|seconds| *seconds > 0.0)
    }

    /// The time of a draft, as a part of a plain pass's.
    pub(super) fn draft(&self) -> f64 {
        self.draft.get().unwrap_or(DRAFT)
    }

    /// The time of a check of further tokens, as a part of a plain pass's.
    pub(super) fn check(&self, further: f64) -> f64 {
        self.check.at(further)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found() {
        let mut times = Times::default();
        assert_eq!(times.plain(1), None);
        times.add_check(1, 3.0, 5.0);
        times.add_draft(1, 5.0);
        assert!((times.check(2.0) - 1.5).abs() < 1e-9 && (times.draft() - 0.5).abs() < 1e-9, "assumed");
        times.add_plain(1, 10.0);
        times.add_plain(8, 30.0);
        assert_eq!([times.plain(1), times.plain(3), times.plain(20)], [Some(10.0), Some(10.0), Some(30.0)]);
        for further in [1.0, 2.0, 4.0, 3.0, 1.5, 5.0].iter().cycle().take(300) {
            times.add_check(1, *further, 14.0 + 1.0 * further);
            times.add_draft(1, 4.0);
        }
        assert!((times.check(1.0) - 1.5).abs() < 0.03, "{}", times.check(1.0));
        assert!((times.check(6.0) - 2.0).abs() < 0.03, "{}", times.check(6.0));
        assert!((times.draft() - 0.4).abs() < 0.01, "{}", times.draft());
        let before = (times.plain(1), times.check(3.0), times.draft());
        times.add_plain(8, 30_000.0);
        times.add_check(1, 3.0, 100_000.0);
        times.add_draft(1, 100_000.0);
        let after = (times.plain(1), times.check(3.0), times.draft());
        assert!(times.plain(8).is_some_and(|plain| plain < 61.0) && after.0 == before.0, "{after:?}");
        assert!(after.1 < 1.05 * before.1 && after.2 < 1.05 * before.2, "{after:?} after {before:?}");
    }
}
