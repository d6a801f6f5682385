//! The unit in which costs are whole numbers.

/// Largest distance of a cost from a multiple of the unit, relative to the cost.
const TOLERANCE: f64 = 1e-9;
/// Largest number of units in a cost for the unit to be accepted. With more, costs without a common unit would often
/// seem to have one (by Dirichlet's theorem any ratio is within 1/k^2 of a ratio of whole numbers up to k).
const MOST_UNITS: f64 = 1e4;
/// Base-2 logarithm of the number of units in the most expensive allocation if the costs have no common unit.
const BITS: f64 = 60.0;

/// Returns the unit that all costs are multiples of, within a relative 1e-9. If there is none, returns a power of two
/// so small that rounding to it is exact, or changes the cost of the most expensive allocation of `n` sequences by at
/// most `n` parts in 2^60.
///
/// `largest_total` is the sum over sequences of the largest cost.
pub(super) fn unit_of(costs: &[f64], largest_total: f64) -> f64 {
    common_unit(costs).unwrap_or_else(|| {
        let exponent = largest_total.log2().ceil() - BITS;
        exponent.max(-1000.0).exp2()
    })
}

fn common_unit(costs: &[f64]) -> Option<f64> {
    let largest = costs.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return Some(1.0);
    }
    let (mut unit, zero) = (largest, largest * TOLERANCE);
    for cost in costs {
        if !is_multiple(*cost, unit) {
            unit = divisor(unit, *cost, zero);
            if largest / unit > MOST_UNITS {
                return None;
            }
        }
    }
    // Removes the rounding errors that Euclid's algorithm has summed up.
    let unit = largest / (largest / unit).round();
    costs.iter().all(|cost| is_multiple(*cost, unit)).then_some(unit)
}

fn is_multiple(cost: f64, unit: f64) -> bool {
    (cost - (cost / unit).round() * unit).abs() <= TOLERANCE * cost
}

/// Greatest common divisor by Euclid's algorithm, for numbers with rounding errors. Remainders up to `zero` count as 0.
fn divisor(a: f64, b: f64, zero: f64) -> f64 {
    let (mut a, mut b) = (a.max(b), a.min(b));
    while b > zero {
        let rest = a % b;
        (a, b) = (b, if b - rest <= zero { 0.0 } else { rest });
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_found() {
        for (costs, unit) in [
            (vec![1.0, 24.0, 7.0], 1.0),
            (vec![0.0, 2.5, 3.0], 0.5),
            (vec![0.3, 0.1, 0.7], 0.1),
            (vec![6e9, 10e9], 2e9),
            (vec![1.0 / 3.0, 2.0 / 3.0, 3.0], 1.0 / 3.0),
            (vec![0.0], 1.0),
        ] {
            let found = unit_of(&costs, costs.iter().sum());
            assert!((found / unit - 1.0).abs() < 1e-12, "{costs:?}: {found}");
        }
    }

    #[test]
    fn without_a_unit_it_is_a_small_power_of_two() {
        let costs = [1.234_567_890_123, std::f64::consts::PI, std::f64::consts::E];
        let unit = unit_of(&costs, 100.0);
        assert_eq!(unit, 2f64.powi(7 - 60));
        for cost in costs {
            assert_eq!((cost / unit).round() * unit, cost, "the rounding is exact");
        }
    }
}
