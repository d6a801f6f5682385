//! Products of thin matrices.

use crate::weights::Weights;
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// A product `s B A` of two thin matrices, which is added to a matrix `W` (`LoRA`, Hu et al. 2021, arXiv 2106.09685,
/// section 4.1). A map then computes `x (W + s B A)ᵀ + b` as `x Wᵀ + s (x Aᵀ) Bᵀ + b`.
#[derive(Module, Debug)]
pub struct LowRank {
    /// The matrix `A`, `[rank, in]`.
    pub a: Weights<Tensor<2>>,
    /// The matrix `B`, `[out, rank]`.
    pub b: Weights<Tensor<2>>,
    #[module(skip)]
    pub(crate) scale: f32,
}

impl LowRank {
    pub(crate) fn new(a: Tensor<2>, b: Tensor<2>, scale: f32) -> Self {
        Self { a: Param::from_tensor(a).into(), b: Param::from_tensor(b).into(), scale }
    }

    /// The factor `s`: alpha / rank.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The rank.
    pub fn rank(&self) -> usize {
        self.a.dims()[0]
    }

    /// The numbers of outputs and inputs, `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        [self.b.dims()[0], self.a.dims()[1]]
    }

    /// Returns `s (x Aᵀ) Bᵀ`, `[rows, tokens, out]`, for `x: [rows, tokens, in]`.
    pub fn forward(&self, x: &Tensor<3>) -> Tensor<3> {
        let [rows, tokens, width] = x.dims();
        let flat = x.clone().reshape([rows * tokens, width]);
        let thin = flat.matmul(self.a.val().transpose()).mul_scalar(self.scale); // [rows * tokens, rank]
        thin.matmul(self.b.val().transpose()).reshape([rows, tokens, self.dims()[0]])
    }
}
