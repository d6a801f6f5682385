//! The choice between running a sublayer for all rows and gathering the rows that run it.

use crate::control::PartialSkips;
use burn::tensor::Device;

/// A model of a device's speed. It decides if running fewer rows saves more time than it costs to take these rows out
/// of the batch and to put them back.
///
/// In the model, a product of `n` tokens with `w` weights takes `t0(w) + 2 n w / flops_per_second`. The first term,
/// mainly reading the weights from memory, is the same for any number of tokens, so `m` tokens fewer save
/// `2 m w / flops_per_second`. On a CPU the two terms add up (measured, `docs/performance.md`). On a device that
/// overlaps them, as in a roofline (Williams, Waterman and Patterson 2009), a smaller batch saves less, but there the
/// second term is small too.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceCost {
    /// The number of floating-point operations per second; a multiply-add counts as two.
    pub(super) flops_per_second: f64,
    /// The time for taking rows out of the batch and putting them back, in seconds.
    pub(super) gather_seconds: f64,
}

impl DeviceCost {
    /// The cost on two cores of a server CPU with AVX-512, measured on flex (`docs/performance.md`).
    const CPU: Self = Self { flops_per_second: 50e9, gather_seconds: 30e-6 };
    /// The cost on a data-centre GPU: the time is measured on one (`docs/gpu.md`), the speed is a third of its data sheet's for
    /// products in `f32` without matrix units.
    const GPU: Self = Self { flops_per_second: 20e12, gather_seconds: 86e-6 };

    /// Returns the cost for a device of this kind.
    fn of(device: &Device) -> Self {
        if dynlayer_model::is_gpu(device) { Self::GPU } else { Self::CPU }
    }

    /// Returns `true` if it is faster to take out `some` of `all` tokens, run them, and put them back.
    fn gathers(&self, some: f64, all: f64, weights: f64) -> bool {
        2.0 * (all - some) * weights / self.flops_per_second > self.gather_seconds
    }
}

/// Chooses between running a sublayer for all rows and gathering the rows that run it, on one device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chooser {
    pub(super) skips: PartialSkips,
    pub(super) device: DeviceCost,
}

impl Chooser {
    pub(crate) fn new(skips: PartialSkips, device: &Device) -> Self {
        Self { skips, device: DeviceCost::of(device) }
    }

    /// Returns `true` if `some` of `all` rows, with `tokens` tokens each, should be gathered for a sublayer with
    /// `weights` weights.
    pub(super) fn gathers(&self, some: usize, all: usize, tokens: usize, weights: f64) -> bool {
        let tokens_of = |rows: usize| (rows * tokens) as f64;
        match self.skips {
            PartialSkips::RunAll => false,
            PartialSkips::Gather => true,
            PartialSkips::Modelled => self.device.gathers(tokens_of(some), tokens_of(all), weights),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_where_the_rows_saved_take_longer_than_the_copies() {
        let device = DeviceCost { flops_per_second: 1e10, gather_seconds: 1e-5 };
        let chooser = Chooser { skips: PartialSkips::Modelled, device };
        // Each row left out saves 2 * 10^4 / 10^10 seconds, so five rows just pay for the copies, and six are a gain.
        assert!(!chooser.gathers(2, 7, 1, 1e4));
        assert!(chooser.gathers(2, 8, 1, 1e4));
        assert!(chooser.gathers(7, 8, 6, 1e4)); // rows of six tokens
        assert!(!chooser.gathers(7, 8, 1, 1e4));
        assert!(!Chooser { device: DeviceCost::GPU, ..chooser }.gathers(1, 8, 1, 1e6), "the GPU's cost");
    }
}
