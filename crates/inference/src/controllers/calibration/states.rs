//! The residual states of texts at full depth, layer by layer.

use super::CalibrationError;
use crate::parameters::to_host;
use crate::tokens;
use burn::tensor::Tensor;
use dynlayer_model::{Frame, Llama};

/// The states before and after one layer for all tokens of all texts, a row of `width` numbers per token.
pub(super) struct States<'a> {
    pub(super) layer: usize,
    pub(super) width: usize,
    /// `[tokens, width]`.
    pub(super) entering: &'a [f32],
    /// `[tokens, width]`.
    pub(super) leaving: &'a [f32],
}

impl States<'_> {
    /// The effect of the layer on each token's state: 1 - cos(entering, leaving), from 0 to 2.
    pub(super) fn effects(&self) -> impl Iterator<Item = f64> {
        self.entering.chunks_exact(self.width).zip(self.leaving.chunks_exact(self.width)).map(|(a, b)| effect(a, b))
    }
}

/// 1 - cos(a, b), in f64: exactly 0 for equal vectors, and 1 where only one of them is zero.
fn effect(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let (aa, bb, ab) = (dot(a, a), dot(b, b), dot(a, b));
    match (aa > 0.0, bb > 0.0) {
        (false, false) => 0.0,
        // The root of the product, and not two roots, so that the cosine of equal vectors is exactly 1.
        (true, true) => (1.0 - ab / (aa * bb).sqrt()).clamp(0.0, 2.0),
        _ => 1.0,
    }
}

/// Runs every text at full depth, one layer of all texts after the other, and calls `visit` with each layer's states.
/// Returns the number of tokens.
pub(super) fn walk(
    model: &Llama,
    texts: &[Vec<u32>],
    mut visit: impl FnMut(&States<'_>),
) -> Result<usize, CalibrationError> {
    check(model, texts)?;
    let mut hidden: Vec<Tensor<3>> = texts.iter().map(|text| model.embed(model.tokens(&[text]))).collect();
    let frame = |text: &Vec<u32>| model.uncached_frame(&[(0..text.len()).collect()], &[0]);
    let frames: Vec<Frame> = texts.iter().map(frame).collect();
    let mut none = model.cache(0, 0);
    let mut entering = read(&hidden, 0, "entering")?;
    for (layer, block) in model.layers().iter().enumerate() {
        // One layer of all texts at a time, so that only the states of one layer are held.
        for (hidden, frame) in hidden.iter_mut().zip(&frames) {
            *hidden = block.forward(hidden.clone(), frame, none.layer_mut(layer));
        }
        let leaving = read(&hidden, layer, "leaving")?;
        visit(&States { layer, width: model.config().d_model, entering: &entering, leaving: &leaving });
        entering = leaving;
    }
    Ok(texts.iter().map(Vec::len).sum())
}

fn check(model: &Llama, texts: &[Vec<u32>]) -> Result<(), CalibrationError> {
    if texts.is_empty() {
        return Err(CalibrationError::NoText);
    }
    let checked = |(text, ids): (usize, &Vec<u32>)| {
        tokens::check(model, ids).map_err(|problem| CalibrationError::Text { text, problem })
    };
    texts.iter().enumerate().try_for_each(checked)
}

fn read(hidden: &[Tensor<3>], layer: usize, what: &'static str) -> Result<Vec<f32>, CalibrationError> {
    let mut states = Vec::new();
    for hidden in hidden {
        states.extend(to_host(hidden.clone(), || format!("the state {what} layer {layer}"))?);
    }
    if states.iter().all(|x| x.is_finite()) { Ok(states) } else { Err(CalibrationError::NotFinite { layer, what }) }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "small numbers in tests, compared exactly on purpose")]
mod tests {
    use super::*;

    #[test]
    fn effects_by_hand() {
        assert_eq!(effect(&[1.0, 0.0], &[0.0, 2.0]), 1.0);
        assert_eq!(effect(&[1.0, 1.0], &[-2.0, -2.0]), 2.0);
        assert_eq!(effect(&[0.0, 0.0], &[0.0, 0.0]), 0.0);
        assert_eq!(effect(&[0.0, 0.0], &[1.0, 0.0]), 1.0);
        let x: Vec<f32> = (0..100u8).map(|i| (0.37 * f32::from(i)).sin()).collect();
        assert_eq!(effect(&x, &x), 0.0);
        let half = effect(&[3.0, 0.0], &[3.0, 3.0]);
        assert!((half - (1.0 - 0.5f64.sqrt())).abs() < 1e-15);
    }
}
