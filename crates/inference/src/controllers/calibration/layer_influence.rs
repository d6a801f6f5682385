//! The influence of each layer on the residual stream.

use super::{CalibrationError, states};
use crate::files;
use dynlayer_model::Llama;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::path::Path;

/// The block influence of each layer, and the ranking of the layers by it.
/// [`InfluenceSkip`](super::super::InfluenceSkip) follows this ranking.
///
/// Block influence is `1 - mean cos(x, y)` over calibration tokens at full depth, where `x` is the state that enters
/// the layer and `y` the state that leaves it (`ShortGPT`, Men et al. 2024, arXiv 2403.03853, equation 1). It is from 0
/// (the layer keeps the direction of every state) to 2. It is computed in `f64` on the host;
/// `dynlayer_metrics::hidden::BlockInfluence` computes the same from states on a device.
///
/// ```
/// use dynlayer_inference::controllers::LayerInfluence;
///
/// let influence = LayerInfluence::from_values(vec![0.9, 0.1, 0.3, 0.1, 0.8])?;
/// assert_eq!(influence.ranking(), [3, 1, 2, 4, 0], "least influential first; the later of two equal ones");
/// assert_eq!(influence.kept(3), [0, 2, 4]);
/// # Ok::<(), dynlayer_inference::controllers::CalibrationError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct LayerInfluence {
    influence: Vec<f64>,
    tokens: usize,
}

/// The JSON form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    block_influence: Vec<f64>,
    tokens: usize,
}

impl TryFrom<Raw> for LayerInfluence {
    type Error = CalibrationError;

    fn try_from(raw: Raw) -> Result<Self, CalibrationError> {
        Ok(Self { tokens: raw.tokens, ..Self::from_values(raw.block_influence)? })
    }
}

impl From<LayerInfluence> for Raw {
    fn from(influence: LayerInfluence) -> Self {
        Self { block_influence: influence.influence, tokens: influence.tokens }
    }
}

impl LayerInfluence {
    /// Measures a model on texts, given as token ids: one pass at full depth over each.
    ///
    /// # Errors
    /// If there is no text, one is empty, too long or holds unknown tokens, or the model computes something that is not
    /// a finite number.
    pub fn measure(model: &Llama, texts: &[Vec<u32>]) -> Result<Self, CalibrationError> {
        let mut sums = Vec::with_capacity(model.layers().len());
        let tokens = states::walk(model, texts, |states| sums.push(states.effects().sum::<f64>()))?;
        let influence = sums.into_iter().map(|sum| sum / tokens as f64).collect();
        Ok(Self { influence, tokens })
    }

    /// Makes a layer influence from given values, one per layer.
    ///
    /// # Errors
    /// [`CalibrationError::Value`] if a value is not from 0 to 2.
    pub fn from_values(influence: Vec<f64>) -> Result<Self, CalibrationError> {
        match influence.iter().find(|x| !(0.0..=2.0).contains(*x)) {
            Some(x) => {
                Err(CalibrationError::Value { what: "a block influence of", found: x.to_string(), expected: "0 to 2" })
            }
            None => Ok(Self { influence, tokens: 0 }),
        }
    }

    /// The influence of each layer, in order.
    pub fn values(&self) -> &[f64] {
        &self.influence
    }

    /// The number of tokens that the influence was measured on; 0 for given values.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The layers, the least influential first. Of two equally influential layers, the later one comes first.
    pub fn ranking(&self) -> Vec<usize> {
        let mut layers: Vec<usize> = (0..self.influence.len()).collect();
        layers.sort_by(|a, b| {
            self.influence[*a].total_cmp(&self.influence[*b]).then_with(|| Reverse(*a).cmp(&Reverse(*b)))
        });
        layers
    }

    /// The `budget` most influential layers, in ascending order of their indices. Of two equally influential layers,
    /// the earlier one is kept first.
    pub fn kept(&self, budget: usize) -> Vec<usize> {
        let ranking = self.ranking();
        let mut kept = ranking[ranking.len().saturating_sub(budget)..].to_vec();
        kept.sort_unstable();
        kept
    }

    /// Writes a JSON file atomically.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CalibrationError> {
        Ok(files::save_json(path.as_ref(), "a layer influence", self)?)
    }

    /// Reads a file that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If the file cannot be read, or does not hold a layer influence.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CalibrationError> {
        Ok(files::load_json(path.as_ref(), "a layer influence")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_kept_are_no_less_influential(values in prop::collection::vec(0u8..5, 0..20), budget in 0usize..25) {
            let values: Vec<f64> = values.into_iter().map(|x| f64::from(x) / 4.0).collect();
            let n = values.len();
            let kept = LayerInfluence::from_values(values.clone()).unwrap().kept(budget);
            prop_assert_eq!(kept.len(), budget.min(n));
            for dropped in (0..n).filter(|layer| !kept.contains(layer)) {
                for layer in &kept {
                    prop_assert!((values[*layer], dropped) > (values[dropped], *layer));
                }
            }
        }
    }

    #[test]
    fn impossible_values_are_refused() {
        for x in [f64::NAN, -0.1, 2.1, f64::INFINITY] {
            assert!(matches!(LayerInfluence::from_values(vec![x]), Err(CalibrationError::Value { .. })));
        }
        let wrong = serde_json::from_str::<LayerInfluence>(r#"{"block_influence": [0.5, 7], "tokens": 3}"#);
        assert!(wrong.unwrap_err().to_string().contains("a block influence of 7"));
    }
}
