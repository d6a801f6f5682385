//! Rotary frequencies.

use crate::config::{LlamaConfig, RopeScaling};
use crate::ops;
use burn::tensor::{Device, Tensor, TensorData};
use std::sync::{Arc, OnceLock};

/// The rotary frequencies: the angle per position of each pair of head dimensions.
///
/// Cosines and sines are computed on the host for the positions of each pass. A table of all positions would take tens
/// of megabytes for a long-context model, while 64 cosines take a microsecond.
#[derive(Debug, Clone)]
pub struct Rope {
    frequencies: Vec<f32>,
}

/// The rotations of some tokens' queries and keys.
#[derive(Debug, Clone)]
pub struct Rotation {
    device: Device,
    rows: usize,
    tokens: usize,
    /// The cosines and the sines, `[rows, tokens, head_dim / 2]` each.
    host: Arc<[Vec<f32>; 2]>,
    /// The cosines and the sines on the device, `[rows, 1, tokens, head_dim / 2]` each.
    on_device: OnceLock<[Tensor<4>; 2]>,
}

impl Rope {
    /// Computes the frequencies `theta^(-2i / head_dim)` for `i` in `0..head_dim / 2` (Su et al. 2021, equation 15),
    /// scaled as the configuration says.
    ///
    /// They are computed in `f32`, in the order of Hugging Face's `modeling_rope_utils`, and equal its frequencies bit
    /// for bit on platforms whose `powf` gives the same results.
    pub fn new(config: &LlamaConfig) -> Self {
        let plain = (0..config.head_dim / 2).map(|i| inverse_power(config.rope.theta, 2 * i, config.head_dim));
        let frequencies = match &config.rope.scaling {
            RopeScaling::None => plain.collect(),
            RopeScaling::Linear { factor } => plain.map(|f| f / narrow(*factor)).collect(),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
                let (factor, low, high) = (narrow(*factor), narrow(*low_freq_factor), narrow(*high_freq_factor));
                plain.map(|f| llama3(f, factor, low, high, count(*original_max_positions))).collect()
            }
            RopeScaling::PerFrequency { divisors } => plain.zip(divisors).map(|(f, divisor)| f / divisor).collect(),
        };
        Self { frequencies }
    }

    /// Returns the rotations of tokens at `positions[row][token]`.
    ///
    /// # Panics
    /// If the rows differ in length.
    pub fn at(&self, positions: &[Vec<usize>], device: &Device) -> Rotation {
        let tokens = positions.first().map_or(0, Vec::len);
        assert!(positions.iter().all(|row| row.len() == tokens), "rows of different lengths");
        let angles = positions.iter().flatten().flat_map(|p| self.frequencies.iter().map(move |f| count(*p) * f));
        let (sin, cos): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
        Rotation::new([cos, sin], [positions.len(), tokens], device)
    }
}

impl Rotation {
    fn new(host: [Vec<f32>; 2], [rows, tokens]: [usize; 2], device: &Device) -> Self {
        Self { device: device.clone(), rows, tokens, host: Arc::new(host), on_device: OnceLock::new() }
    }

    /// The device of the tensors that it makes.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Rotates heads, `[rows, heads, tokens, head_dim]`.
    pub(crate) fn apply(&self, heads: Tensor<4>) -> Tensor<4> {
        let [cos, sin] = self.on_device.get_or_init(|| {
            let half = self.half();
            let table = |values: &Vec<f32>| {
                let data = TensorData::new(values.clone(), [self.rows, 1, self.tokens, half]);
                Tensor::from_data(data, &self.device)
            };
            self.host.each_ref().map(table)
        });
        ops::rotate(heads, cos, sin)
    }

    /// The cosines and the sines of one token of all rows, `[head_dim / 2]` each.
    pub(super) fn of(&self, token: usize) -> (&[f32], &[f32]) {
        let half = self.half();
        let [cos, sin] = &*self.host;
        (&cos[token * half..(token + 1) * half], &sin[token * half..(token + 1) * half])
    }

    /// The number of pairs of a head.
    fn half(&self) -> usize {
        self.host[0].len() / (self.rows * self.tokens).max(1)
    }

    /// Returns the rotations of some rows.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let size = self.tokens * self.half();
        let some =
            |table: &Vec<f32>| rows.iter().flat_map(|row| &table[row * size..(row + 1) * size]).copied().collect();
        Self::new(self.host.each_ref().map(some), [rows.len(), self.tokens], &self.device)
    }
}

/// Applies the piecewise scaling of Llama 3.1 to a frequency: it is divided by `factor` if its wavelength is above
/// `original / low`, kept if its wavelength is below `original / high`, and interpolated in between.
fn llama3(frequency: f32, factor: f32, low: f32, high: f32, original: f32) -> f32 {
    let wavelength = 2.0 * std::f32::consts::PI / frequency;
    if wavelength < original / high {
        frequency
    } else if wavelength > original / low {
        frequency / factor
    } else {
        let smooth = (original / wavelength - low) / (high - low);
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}

fn inverse_power(theta: f64, numerator: usize, denominator: usize) -> f32 {
    1.0 / narrow(theta).powf(count(numerator) / count(denominator))
}

#[expect(clippy::cast_possible_truncation, reason = "the reference computes in f32")]
fn narrow(x: f64) -> f32 {
    x as f32
}

#[expect(clippy::cast_precision_loss, reason = "positions and widths are far below 2^24")]
fn count(n: usize) -> f32 {
    n as f32
}
