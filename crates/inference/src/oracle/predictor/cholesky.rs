//! Cholesky factorisation, for symmetric positive definite systems.

/// The lower triangular factor `L` of `A = L Lᵀ`, row by row.
pub(super) struct Cholesky {
    n: usize,
    l: Vec<f64>,
}

impl Cholesky {
    /// Factors a symmetric matrix of `n` rows, reading its lower triangle; `None` if it is not positive definite.
    pub(super) fn new(n: usize, matrix: &[f64]) -> Option<Self> {
        let mut l = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let (above, here) = l.split_at(i * n);
                let row = if i == j { here } else { &above[j * n..] };
                let dot: f64 = here[..j].iter().zip(&row[..j]).map(|(a, b)| a * b).sum();
                let left = matrix[i * n + j] - dot;
                l[i * n + j] = if i == j { (left > 0.0).then(|| left.sqrt())? } else { left / l[j * n + j] };
            }
        }
        Some(Self { n, l })
    }

    /// The solution of `A x = b`.
    pub(super) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let Self { n, l } = self;
        let mut x = self.forward(b);
        for i in (0..*n).rev() {
            let sum: f64 = (i + 1..*n).map(|k| l[k * n + i] * x[k]).sum();
            x[i] = (x[i] - sum) / l[i * n + i];
        }
        x
    }

    /// The diagonal of the inverse.
    pub(super) fn inverse_diagonal(&self) -> Vec<f64> {
        let unit = |i| (0..self.n).map(|k| f64::from(u8::from(k == i))).collect::<Vec<_>>();
        (0..self.n).map(|i| self.forward(&unit(i)).iter().map(|x| x * x).sum()).collect()
    }

    /// The solution of `L x = b`.
    fn forward(&self, b: &[f64]) -> Vec<f64> {
        let Self { n, l } = self;
        let mut x: Vec<f64> = Vec::with_capacity(*n);
        for i in 0..*n {
            let dot: f64 = l[i * n..].iter().zip(&x).map(|(a, b)| a * b).sum();
            x.push((b[i] - dot) / l[i * n + i]);
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_positive_definite_matrices_are_factored() {
        assert!(Cholesky::new(2, &[1.0, 0.0, 2.0, 1.0]).is_none());
        assert!(Cholesky::new(0, &[]).is_some());
    }

    proptest! {
        #[test]
        fn solves(values in prop::collection::vec(-1.0f64..1.0, 36), b in prop::collection::vec(-1.0f64..1.0, 6)) {
            // M Mᵀ + I, which is positive definite.
            let a: Vec<f64> = (0..36).map(|at| {
                let (i, j) = (at / 6, at % 6);
                (0..6).map(|k| values[i * 6 + k] * values[j * 6 + k]).sum::<f64>() + f64::from(u8::from(i == j))
            }).collect();
            let factor = Cholesky::new(6, &a).unwrap();
            let times = |x: &[f64]| -> Vec<f64> { a.chunks(6).map(|row| row.iter().zip(x).map(|(a, x)| a * x).sum()).collect() };
            for (found, expected) in times(&factor.solve(&b)).iter().zip(&b) {
                prop_assert!((found - expected).abs() < 1e-10);
            }
            for (i, found) in factor.inverse_diagonal().iter().enumerate() {
                let unit: Vec<f64> = (0..6).map(|k| f64::from(u8::from(k == i))).collect();
                prop_assert!((found - factor.solve(&unit)[i]).abs() < 1e-10);
            }
        }
    }
}
