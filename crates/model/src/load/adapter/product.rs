//! The product of two matrices, added to a third.

/// Adds `scale * left * right` to `values`, all row-major: `[rows, columns]`, `[rows, rank]` and `[rank, columns]`.
///
/// Where the product is zero, a value keeps its bits.
pub(super) fn add_product(values: &mut [f32], left: &[f32], right: &[f32], rank: usize, scale: f32) {
    let Some(columns) = right.len().checked_div(rank).filter(|columns| *columns > 0) else { return };
    let mut sum = vec![0.0; columns];
    for (row, factors) in values.chunks_exact_mut(columns).zip(left.chunks_exact(rank)) {
        sum.fill(0.0);
        for (factor, along) in factors.iter().zip(right.chunks_exact(columns)) {
            for (sum, x) in sum.iter_mut().zip(along) {
                *sum += factor * x;
            }
        }
        for (value, sum) in row.iter_mut().zip(&sum) {
            let change = scale * sum;
            // -0.0 + 0.0 is 0.0, so an adapter of zeros would not leave every bit of the model as it was.
            if change != 0.0 {
                *value += change;
            }
        }
    }
}

/// Transposes a row-major matrix `[rows, columns]`.
pub(super) fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "small whole numbers and bits")]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_added() {
        let mut values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        add_product(&mut values, &[1.0, 2.0, 0.0, -1.0], &[1.0, 10.0, 100.0, 0.5, 0.25, 0.0], 2, 2.0);
        assert_eq!(values, [1.0 + 4.0, 2.0 + 21.0, 3.0 + 200.0, 4.0 - 1.0, 5.0 - 0.5, 6.0]);
    }

    #[test]
    fn a_product_of_zero_changes_no_bit() {
        let values = [-0.0, 0.0, 1e-40, -3.5_f32];
        let mut changed = values;
        add_product(&mut changed, &[0.0, -0.0], &[1.0, -1.0], 1, 4.0);
        assert_eq!(changed.map(f32::to_bits), values.map(f32::to_bits));
    }

    #[test]
    fn transposed() {
        assert_eq!(transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert!(transpose(&[], 3).is_empty());
    }
}
