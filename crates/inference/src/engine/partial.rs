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

/// A roofline of the device: how long a product of `n` tokens with `w` weights takes, to decide whether a smaller batch
/// saves more than taking it out and putting it back costs.
///
/// `time(n) = max(w * bytes_per_weight / bytes_per_second, 2 n w / flops_per_second)` (Williams, Waterman and Patterson
/// 2009): below the ridge the weights' way from memory is what counts, and fewer rows save nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceCost {
    /// Bytes of weights that come from memory in a second.
    pub bytes_per_second: f64,
    /// Floating-point operations in a second, two per multiply-add.
    pub flops_per_second: f64,
    /// What taking rows out and putting them back costs, in seconds.
    pub gather_seconds: f64,
}

impl DeviceCost {
    /// Two cores of a server processor with AVX-512, measured on flex (`docs/performance.md`).
    pub const CPU: Self = Self { bytes_per_second: 23e9, flops_per_second: 60e9, gather_seconds: 4e-6 };
    /// A data-centre GPU by its data sheet, at 5 microseconds for each of some eight launches; not measured.
    pub const GPU: Self = Self { bytes_per_second: 3e12, flops_per_second: 100e12, gather_seconds: 40e-6 };

    /// That of a kind of device.
    pub fn of(device: &Device) -> Self {
        if dynlayer_model::is_gpu(device) { Self::GPU } else { Self::CPU }
    }

    /// Seconds that `tokens` tokens take with `weights` weights of `bytes` bytes in total.
    fn seconds(&self, tokens: f64, weights: f64, bytes: f64) -> f64 {
        (bytes / self.bytes_per_second).max(2.0 * tokens * weights / self.flops_per_second)
    }

    /// Whether running `some` of `all` tokens alone is faster, taking out and putting back included.
    fn gathers(&self, some: f64, all: f64, weights: f64, bytes: f64) -> bool {
        let saved = self.seconds(all, weights, bytes) - self.seconds(some, weights, bytes);
        saved > self.gather_seconds
    }
}

/// The choice, for one model on one device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chooser {
    pub(crate) skips: PartialSkips,
    pub(crate) device: DeviceCost,
    pub(crate) bytes_per_weight: f64,
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
        device.gathers(of(some), of(all), weights, weights * self.bytes_per_weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_where_compute_binds_and_not_where_memory_does() {
        let device = DeviceCost { bytes_per_second: 1e9, flops_per_second: 1e10, gather_seconds: 1e-5 };
        let chooser =
            Chooser { skips: PartialSkips::ModelledBy(device), device: DeviceCost::GPU, bytes_per_weight: 2.0 };
        // The ridge lies at 2 bytes * 1e10 / 1e9 / 2 flops = 10 tokens.
        assert!(!chooser.gathers(1, 8, 1, 1e6));
        assert!(chooser.gathers(1, 20, 1, 1e6));
        assert!(chooser.gathers(1, 2, 64, 1e6));
        // A saving smaller than what it costs.
        assert!(!chooser.gathers(19, 20, 1, 1e3));
    }
}
