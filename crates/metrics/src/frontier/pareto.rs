//! Pareto fronts.

use super::Point;
use crate::statistics::{StatisticsError, check_values};
use serde::{Deserialize, Serialize};

/// The rule for the quality at a budget between two points of a front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Between {
    /// The quality of the cheaper point. Settings are not mixed.
    #[default]
    Steps,
    /// The quality on the line between the points: the mean if each sequence draws one of the two settings at random.
    /// The line joins points of the front's upper convex hull only.
    Lines,
}

/// A Pareto front: the points that no other point dominates, by ascending cost and quality.
///
/// ```
/// use dynlayer_metrics::frontier::{Between, Frontier, Point};
///
/// let points = [(6.0, 0.5), (12.0, 0.8), (12.0, 0.7), (24.0, 0.9), (20.0, 0.6)].map(|(c, q)| Point::new(c, q));
/// let frontier = Frontier::of(&points)?;
/// assert_eq!(frontier.indices(), [0, 1, 3]);
/// // Mean quality over budgets from 6 to 24 layers.
/// let area = frontier.area(6.0, 24.0, Between::Steps)?;
/// assert!((area / 18.0 - (6.0 * 0.5 + 12.0 * 0.8) / 18.0).abs() < 1e-12);
/// # Ok::<(), dynlayer_metrics::statistics::StatisticsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
#[non_exhaustive]
pub struct Frontier {
    points: Vec<Point>,
    indices: Vec<usize>,
}

/// A deserialised front that has not been checked.
#[derive(Deserialize)]
struct Unchecked {
    points: Vec<Point>,
    indices: Vec<usize>,
}

impl TryFrom<Unchecked> for Frontier {
    type Error = StatisticsError;

    /// Returns an error if the points are not a front, since all methods rely on their order.
    fn try_from(Unchecked { points, indices }: Unchecked) -> Result<Self, StatisticsError> {
        let (given, front) = (points.len(), Self::of(&points)?);
        if indices.len() != given {
            return Err(StatisticsError::Lengths { what: "points and indices", found: indices.len(), expected: given });
        }
        if front.points != points {
            let (what, found) = ("points that nothing dominates, by ascending cost", front.points.len());
            return Err(StatisticsError::TooFew { what, found, needed: given });
        }
        Ok(Self { points, indices })
    }
}

impl Frontier {
    /// Computes the front of some points. Of equal points only the first is kept.
    ///
    /// # Errors
    ///
    /// If there are no points, or a cost or quality is not finite.
    pub fn of(points: &[Point]) -> Result<Self, StatisticsError> {
        check_values("costs", &points.iter().map(|point| point.cost).collect::<Vec<_>>())?;
        check_values("qualities", &points.iter().map(|point| point.quality).collect::<Vec<_>>())?;
        let mut order: Vec<usize> = (0..points.len()).collect();
        // The sort is stable, so the first of equal points stays first. `+ 0.0` makes -0 and 0 equal.
        order.sort_by(|&a, &b| {
            let (a, b) = (&points[a], &points[b]);
            (a.cost + 0.0).total_cmp(&(b.cost + 0.0)).then((b.quality + 0.0).total_cmp(&(a.quality + 0.0)))
        });
        let mut indices: Vec<usize> = Vec::new();
        for index in order {
            if indices.last().is_none_or(|&last| points[index].quality > points[last].quality) {
                indices.push(index);
            }
        }
        Ok(Self { points: indices.iter().map(|&index| points[index]).collect(), indices })
    }

    /// The points on the front, by ascending cost.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The indices of [`Self::points()`] in the list that the front was made from, in the same order.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// Returns the best quality within a budget; `None` if the budget is below the cheapest point.
    pub fn quality_at(&self, budget: f64, between: Between) -> Option<f64> {
        let points = self.corners(between);
        let above = points.partition_point(|point| point.cost <= budget);
        let below = points.get(above.checked_sub(1)?)?;
        Some(match (between, points.get(above)) {
            (Between::Lines, Some(next)) => {
                below.quality + (budget - below.cost) / (next.cost - below.cost) * (next.quality - below.quality)
            }
            _ => below.quality,
        })
    }

    /// The area under the front between two budgets: the integral of [`Self::quality_at`]. Divided by the difference of
    /// the budgets it is the mean quality.
    ///
    /// Areas of different methods are comparable only between the same budgets.
    ///
    /// # Errors
    ///
    /// [`StatisticsError::Option`] if the budgets are not finite and ascending, or the first is below the cheapest
    /// point, where there is no quality.
    pub fn area(&self, from: f64, to: f64, between: Between) -> Result<f64, StatisticsError> {
        if !(to.is_finite() && to > from) {
            let expected = "a finite budget above the first";
            return Err(StatisticsError::Option { option: "the second budget", found: to, expected });
        }
        let Some(mut quality) = self.quality_at(from, between).filter(|_| from.is_finite()) else {
            let expected = "at least the cheapest point's cost";
            return Err(StatisticsError::Option { option: "the first budget", found: from, expected });
        };
        let (mut area, mut cost) = (0.0, from);
        let corners = self.corners(between);
        let inside = corners.iter().filter(|point| point.cost > from && point.cost < to);
        let last = Point::new(to, self.quality_at(to, between).unwrap_or(quality));
        for point in inside.chain([&last]) {
            area += (point.cost - cost)
                * match between {
                    Between::Steps => quality,
                    Between::Lines => f64::midpoint(quality, point.quality),
                };
            (cost, quality) = (point.cost, point.quality);
        }
        Ok(area)
    }

    /// The hypervolume: the area between the front and a reference point, which is the worst cost and quality
    /// considered (Zitzler and Thiele 1998, "Multiobjective optimization using evolutionary algorithms"). Points beyond
    /// the reference add nothing.
    ///
    /// # Errors
    ///
    /// [`StatisticsError::NotFinite`] if the reference is not finite.
    pub fn hypervolume(&self, reference: Point) -> Result<f64, StatisticsError> {
        check_values("the reference point", &[reference.cost, reference.quality])?;
        let mut volume = 0.0;
        let mut floor = reference.quality;
        for point in self.points.iter().filter(|point| point.cost < reference.cost && point.quality > reference.quality)
        {
            volume += (reference.cost - point.cost) * (point.quality - floor);
            floor = point.quality;
        }
        Ok(volume)
    }

    /// The points between which qualities are interpolated: all of them, or those on the upper convex hull.
    fn corners(&self, between: Between) -> Vec<Point> {
        if between == Between::Steps {
            return self.points.clone();
        }
        let mut hull: Vec<Point> = Vec::new();
        for &point in &self.points {
            while let [.., a, b] = hull[..] {
                // b stays if it is above the line from a to the point.
                let below =
                    (b.cost - a.cost) * (point.quality - a.quality) >= (point.cost - a.cost) * (b.quality - a.quality);
                if !below {
                    break;
                }
                hull.pop();
            }
            hull.push(point);
        }
        hull
    }
}

#[cfg(test)]
mod tests {
    use super::{Between, Frontier, Point};
    use proptest::prelude::*;

    fn points() -> impl Strategy<Value = Vec<Point>> {
        // A coarse grid, so that ties and equal points occur.
        let point = (0_u8..12, 0_u8..12).prop_map(|(cost, quality)| Point::new(f64::from(cost), f64::from(quality)));
        prop::collection::vec(point, 1..30)
    }

    /// The integral of the quality, as a sum over a fine grid of budgets.
    fn integral(frontier: &Frontier, from: f64, to: f64, between: Between) -> f64 {
        let n = 20_000;
        let at = |i: u32| from + (to - from) * (f64::from(i) + 0.5) / f64::from(n);
        (0..n).map(|i| frontier.quality_at(at(i), between).unwrap()).sum::<f64>() * (to - from) / f64::from(n)
    }

    proptest! {
        #[test]
        fn the_front_holds_the_points_that_nothing_dominates(points in points()) {
            let frontier = Frontier::of(&points).unwrap();
            for (index, point) in points.iter().enumerate() {
                let dominated = points.iter().any(|other| other.dominates(point));
                let repeated = points[..index].contains(point);
                prop_assert_eq!(frontier.indices().contains(&index), !dominated && !repeated, "{:?}", point);
            }
        }

        #[test]
        fn hypervolume_is_the_dominated_area(points in points()) {
            // Counts the unit squares within the reference whose corner a point dominates.
            let mut squares = 0;
            for cost in 0..10_u8 {
                for quality in 2..12_u8 {
                    let (cost, quality) = (f64::from(cost), f64::from(quality));
                    squares += u32::from(points.iter().any(|p| p.cost <= cost && p.quality > quality));
                }
            }
            let volume = Frontier::of(&points).unwrap().hypervolume(Point::new(10.0, 2.0)).unwrap();
            prop_assert_eq!(volume, f64::from(squares));
        }

        #[test]
        fn area_is_the_integral(points in points(), width in 1.0_f64..20.0) {
            let frontier = Frontier::of(&points).unwrap();
            let from = frontier.points()[0].cost + 0.25;
            for between in [Between::Steps, Between::Lines] {
                let area = frontier.area(from, from + width, between).unwrap();
                prop_assert!((area - integral(&frontier, from, from + width, between)).abs() < 0.05, "{between:?}");
            }
        }

        #[test]
        fn lines_are_above_steps_and_all_points(points in points()) {
            let frontier = Frontier::of(&points).unwrap();
            for point in &points {
                let line = frontier.quality_at(point.cost, Between::Lines).unwrap();
                prop_assert!(line >= frontier.quality_at(point.cost, Between::Steps).unwrap() - 1e-9);
                prop_assert!(line >= point.quality - 1e-9);
            }
        }
    }

    /// Scaling the quality scales area and volume; shifting cost and quality changes no volume.
    #[test]
    fn units_do_not_matter() {
        let points = [(6.0, 0.5), (12.0, 0.75), (20.0, 1.0)].map(|(cost, quality)| Point::new(cost, quality));
        let changed = |scale: f64, by: f64| {
            Frontier::of(&points.map(|p| Point::new(p.cost + by, p.quality * scale + by))).unwrap()
        };
        let (plain, scaled) = (changed(1.0, 0.0), changed(4.0, 0.0));
        for between in [Between::Steps, Between::Lines] {
            let area = |frontier: &Frontier| frontier.area(8.0, 24.0, between).unwrap();
            assert_eq!(area(&scaled), 4.0 * area(&plain), "{between:?}");
        }
        let volume = plain.hypervolume(Point::new(24.0, 0.25)).unwrap();
        assert_eq!(scaled.hypervolume(Point::new(24.0, 1.0)).unwrap(), 4.0 * volume);
        assert_eq!(changed(1.0, 8.0).hypervolume(Point::new(32.0, 8.25)).unwrap(), volume);
    }

    #[test]
    fn files_are_checked() {
        let frontier = Frontier::of(&[Point::new(2.0, 1.0), Point::new(3.0, 0.5), Point::new(4.0, 2.0)]).unwrap();
        let text = serde_json::to_string(&frontier).unwrap();
        assert_eq!(serde_json::from_str::<Frontier>(&text).unwrap(), frontier);
        for (points, indices) in [
            ("", "[]"),
            (r#"{"cost":2.0,"quality":1.0}"#, "[]"),
            (r#"{"cost":2.0,"quality":1.0},{"cost":1.0,"quality":0.5}"#, "[0,1]"),
            (r#"{"cost":2.0,"quality":1.0},{"cost":3.0,"quality":0.5}"#, "[0,1]"),
        ] {
            let text = format!(r#"{{"points":[{points}],"indices":{indices}}}"#);
            assert!(serde_json::from_str::<Frontier>(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn invalid_points_and_budgets_are_refused() {
        assert!(Frontier::of(&[]).is_err());
        assert!(Frontier::of(&[Point::new(f64::NAN, 1.0)]).is_err());
        assert!(Frontier::of(&[Point::new(1.0, f64::INFINITY)]).is_err());
        let frontier = Frontier::of(&[Point::new(2.0, 1.0)]).unwrap();
        assert_eq!(frontier.quality_at(1.9, Between::Steps), None);
        for (from, to) in [(1.0, 3.0), (2.0, 2.0), (3.0, 2.0), (f64::NAN, 3.0), (2.0, f64::INFINITY)] {
            assert!(frontier.area(from, to, Between::Steps).is_err(), "{from} {to}");
        }
        assert!(frontier.hypervolume(Point::new(f64::NAN, 0.0)).is_err());
    }
}
