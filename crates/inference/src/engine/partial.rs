//! Layers that some rows run and some skip.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// What is done where some rows of a batch run a sublayer and some skip it. All give the same results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PartialSkips {
    /// Whichever of the two a [`DeviceCost`] says is faster, that of the model's device by default.
    #[default]
    Modelled,
    /// As `Modelled`, with this cost.
    ModelledBy(DeviceCost),
    /// The sublayer runs for all rows, and the skippers keep their state.
    RunAll,
    /// The rows that run are taken out, run, and put back.
    Gather,
}

/// How fast a device works through rows, to decide whether a smaller batch saves more than taking it out and putting it
/// back costs.
///
/// A product of `n` tokens with `w` weights is taken to last `t0(w) + 2 n w / flops_per_second`. The first term, above all
/// the weights' way from memory, is paid for any row, so that `n - m` rows fewer save `2 (n - m) w / flops_per_second`.
/// Measured on a processor both terms add up (`docs/performance.md`); where a device overlaps them, as in a roofline
/// (Williams, Waterman and Patterson 2009), a small batch saves less, but there the second term is small too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceCost {
    /// Floating-point operations in a second, two per multiply-add.
    pub flops_per_second: f64,
    /// What taking rows out and putting them back costs, in seconds.
    pub gather_seconds: f64,
}

impl DeviceCost {
    /// Two cores of a server processor with AVX-512, measured on flex (`docs/performance.md`).
    pub const CPU: Self = Self { flops_per_second: 50e9, gather_seconds: 30e-6 };
    /// A data-centre GPU by its data sheet, at 5 microseconds for each of some eight launches; not measured.
    pub const GPU: Self = Self { flops_per_second: 100e12, gather_seconds: 40e-6 };

    /// That of a kind of device.
    pub fn of(device: &Device) -> Self {
        if dynlayer_model::is_gpu(device) { Self::GPU } else { Self::CPU }
    }

    /// Whether running `some` of `all` tokens alone is faster, taking out and putting back included.
    fn gathers(&self, some: f64, all: f64, weights: f64) -> bool {
        2.0 * (all - some) * weights / self.flops_per_second > self.gather_seconds
    }
}

/// The choice, for one model on one device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chooser {
    pub(crate) skips: PartialSkips,
    pub(crate) device: DeviceCost,
}

impl Chooser {
    /// Whether to gather, for a sublayer of `weights` weights that `some` of `all` rows run, with `tokens` tokens each.
    #[expect(clippy::cast_precision_loss, reason = "rows and tokens are far below 2^52")]
    pub(super) fn gathers(&self, some: usize, all: usize, tokens: usize, weights: f64) -> bool {
        let device = match self.skips {
            PartialSkips::RunAll => return false,
            PartialSkips::Gather => return true,
            PartialSkips::Modelled => self.device,
            PartialSkips::ModelledBy(device) => device,
        };
        let of = |rows: usize| (rows * tokens) as f64;
        device.gathers(of(some), of(all), weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_where_the_rows_saved_take_longer_than_the_copies() {
        let device = DeviceCost { flops_per_second: 1e10, gather_seconds: 1e-5 };
        let chooser = Chooser { skips: PartialSkips::ModelledBy(device), device: DeviceCost::GPU };
        // A row saved is worth 2 * 10^4 / 10^10 seconds, so five pay for the copies and a sixth is a gain.
        assert!(!chooser.gathers(2, 7, 1, 1e4));
        assert!(chooser.gathers(2, 8, 1, 1e4));
        assert!(chooser.gathers(7, 8, 6, 1e4)); // rows of six tokens
        assert!(!chooser.gathers(7, 8, 1, 1e4));
        assert!(!Chooser { skips: PartialSkips::Modelled, ..chooser }.gathers(1, 8, 1, 1e6), "the GPU's cost");
    }
}
