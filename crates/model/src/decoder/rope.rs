//! Rotary frequencies.

use crate::config::{LlamaConfig, RopeScaling};
use crate::ops;
use burn::tensor::{Device, Tensor, TensorData};
use std::sync::Arc;

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
    /// The cosines, `[rows, 1, tokens, head_dim / 2]`.
    pub(crate) cos: Tensor<4>,
    /// The sines, `[rows, 1, tokens, head_dim / 2]`.
    pub(crate) sin: Tensor<4>,
    /// The same for whole heads, for GPUs.
    whole: Option<ops::Whole>,
    /// The cosines and the sines on the host, `[rows, tokens, head_dim / 2]` each.
    host: Arc<[Vec<f32>; 2]>,
    tokens: usize,
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
        let shape = [positions.len(), 1, tokens, self.frequencies.len()];
        let angles = positions.iter().flatten().flat_map(|p| self.frequencies.iter().map(move |f| count(*p) * f));
        let (sin, cos): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
        let table = |values: &Vec<f32>| Tensor::from_data(TensorData::new(values.clone(), shape), device);
        Rotation { cos: table(&cos), sin: table(&sin), whole: None, host: Arc::new([cos, sin]), tokens }
    }
}

impl Rotation {
    /// Rotates heads, `[rows, heads, tokens, head_dim]`.
    pub(crate) fn apply(&self, heads: Tensor<4>) -> Tensor<4> {
        match &self.whole {
            Some(whole) => ops::rotate_whole(heads, whole),
            None => ops::rotate(heads, &self.cos, &self.sin),
        }
    }

    /// Prepares the rotations for a GPU.
    pub(super) fn for_gpu(self) -> Self {
        Self { whole: Some(ops::Whole::new(&self.cos, &self.sin)), ..self }
    }

    /// The cosines and the sines of one token of all rows, `[head_dim / 2]` each.
    pub(super) fn of(&self, token: usize) -> (&[f32], &[f32]) {
        let half = self.cos.dims()[3];
        let [cos, sin] = &*self.host;
        (&cos[token * half..(token + 1) * half], &sin[token * half..(token + 1) * half])
    }

    /// Returns the rotations of some rows.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let index = ops::row_index(rows, &self.cos.device());
        let some = |table: &Tensor<4>| table.clone().select(0, index.clone());
        let size = self.tokens * self.cos.dims()[3];
        let host =
            |table: &Vec<f32>| rows.iter().flat_map(|row| &table[row * size..(row + 1) * size]).copied().collect();
        let [cos, sin] = &*self.host;
        Self {
            cos: some(&self.cos),
            sin: some(&self.sin),
            whole: self.whole.as_ref().map(|whole| whole.select(&index)),
            host: Arc::new([host(cos), host(sin)]),
            tokens: self.tokens,
        }
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
