//! The cost of depth in training.

use super::{TrainingBatch, TrainingError, TrainingPass};
use crate::control::ControlFrom;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A loss for the layers that gates let run, which is added to the cross-entropy.
///
/// It is computed from `open`, the share of gates that are open. With `G` gated layers `l`, `B` sequences `b`, and
/// gates `g` for the `N_b` controlled tokens `t` of sequence `b`, it is
///
/// ```text
/// open = 1/(G B) sum_l sum_b (sum_t g[l, b, t]) / N_b         from 0 to 1
/// ```
///
/// Long and short sequences thus count the same. Sequences without a controlled token are left out.
///
/// The text form is `alpha 0.3`, `budget 7.5` or `budget 7.5 weight 5`. For command lines, a number alone is read as an
/// alpha, and a colon as a space.
///
/// ```
/// use dynlayer_inference::training::DepthLoss;
///
/// assert_eq!("0.3".parse::<DepthLoss>()?, DepthLoss::Price { alpha: 0.3 });
/// assert_eq!("budget:7.5".parse::<DepthLoss>()?, DepthLoss::budget(7.5));
/// assert_eq!(DepthLoss::budget(7.5).to_string(), "budget 7.5");
/// # Ok::<(), dynlayer_inference::training::TrainingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum DepthLoss {
    /// `alpha * open`: every layer has the same price (arXiv 2410.20022). The depth that a price leads to
    /// depends on the model and the data.
    Price {
        /// The price of running all gated layers, in nats per label token, at least 0.
        alpha: f64,
    },
    /// `weight * ((depth - layers) / n_layers)^2`, where `depth` is the batch's mean number of layers per controlled
    /// token, layers without a gate included ([`gated_depth`]).
    ///
    /// This is the network loss of Verelst and Tuytelaars 2020 (arXiv 1912.03203, sparsity criterion). It constrains
    /// the mean of the batch, so tokens and sequences may run different numbers of layers, which is the point of
    /// routing. A penalty for each token or sequence (Rao et al. 2021, arXiv 2106.02034, ratio loss) would forbid that.
    Budget {
        /// The mean number of layers per controlled token to be reached.
        layers: f64,
        /// The cost of a deviation by all layers, in nats, at least 0.
        weight: f64,
    },
}

/// The weight of a budget that is given as a number of layers alone.
const DEFAULT_WEIGHT: f64 = 20.0;

impl DepthLoss {
    /// A budget with a weight of 20: one layer of 12 too many then costs 0.14 nats, and a tenth of a layer almost
    /// nothing.
    pub fn budget(layers: f64) -> Self {
        Self::Budget { layers, weight: DEFAULT_WEIGHT }
    }

    /// The loss of a pass, `[1]`.
    ///
    /// # Errors
    /// If an option is out of its range, the budget cannot be met with the layers that have gates, or the pass
    /// has no gate at a controlled token ([`TrainingError::NoGates`]).
    pub fn loss(
        &self,
        pass: &TrainingPass,
        batch: &TrainingBatch,
        from: ControlFrom,
    ) -> Result<Tensor<1>, TrainingError> {
        let open = open(pass, batch, from)?;
        match *self {
            Self::Price { alpha } => {
                check("alpha", alpha)?;
                Ok(open.mul_scalar(alpha))
            }
            Self::Budget { layers: budget, weight } => {
                check("the weight of the budget", weight)?;
                let n_layers = n_layers(pass);
                let (least, most) = ((n_layers - pass.gates.len()) as f64, n_layers as f64);
                let expected = "from the number of layers without a gate to the number of all layers";
                TrainingError::check((least..=most).contains(&budget), "the budget", budget, expected)?;
                let over = (layers_of(open, pass) - budget).div_scalar(most);
                Ok(over.square().mul_scalar(weight))
            }
        }
    }
}

/// The mean number of layers per controlled token of a pass, `[1]`. Every sequence counts the same, and a layer without
/// a gate counts as run.
///
/// # Errors
/// [`TrainingError::NoGates`] if the pass has no gate at a controlled token.
pub fn gated_depth(pass: &TrainingPass, batch: &TrainingBatch, from: ControlFrom) -> Result<Tensor<1>, TrainingError> {
    Ok(layers_of(open(pass, batch, from)?, pass))
}

fn layers_of(open: Tensor<1>, pass: &TrainingPass) -> Tensor<1> {
    let gated = pass.gates.len();
    open.mul_scalar(gated as f64).add_scalar((n_layers(pass) - gated) as f64)
}

/// The share of gates that are open, `[1]`.
fn open(pass: &TrainingPass, batch: &TrainingBatch, from: ControlFrom) -> Result<Tensor<1>, TrainingError> {
    let places = batch.controlled_places(from);
    let counted = places.iter().filter(|places| !places.is_empty()).count();
    let Some((_, first)) = pass.gates.first().filter(|_| counted > 0) else { return Err(TrainingError::NoGates) };
    let width = batch.width();
    let share = ((pass.gates.len() * counted) as f64).recip();
    #[expect(clippy::cast_possible_truncation, reason = "weights of at most 1")]
    let weights: Vec<f32> = places
        .iter()
        .flat_map(|places| {
            let weight = share / places.len() as f64;
            (0..width).map(move |place| if places.contains(&place) { weight as f32 } else { 0.0 })
        })
        .collect();
    let weights = TensorData::new(weights, [places.len(), width]);
    let weights = Tensor::<2>::from_data(weights, &first.device()); // [rows, width]
    let gates: Vec<Tensor<2>> = pass.gates.iter().map(|(_, gate)| gate.clone()).collect();
    Ok((Tensor::stack::<3>(gates, 0) * weights.unsqueeze::<3>()).sum())
}

fn n_layers(pass: &TrainingPass) -> usize {
    pass.routes.first().map_or(0, |route| route.layers().len())
}

fn check(option: &'static str, value: f64) -> Result<(), TrainingError> {
    TrainingError::check(value.is_finite() && value >= 0.0, option, value, "a finite number, at least 0")
}

impl fmt::Display for DepthLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Price { alpha } => write!(f, "alpha {alpha}"),
            Self::Budget { layers, weight: DEFAULT_WEIGHT } => write!(f, "budget {layers}"),
            Self::Budget { layers, weight } => write!(f, "budget {layers} weight {weight}"),
        }
    }
}

impl FromStr for DepthLoss {
    type Err = TrainingError;

    /// # Errors
    /// [`TrainingError::Option`] for a text of another form.
    fn from_str(text: &str) -> Result<Self, TrainingError> {
        let words: Vec<&str> = text.split([' ', ':']).filter(|word| !word.is_empty()).collect();
        let number = |word: &str| word.parse::<f64>().ok();
        let loss = match words.as_slice() {
            [alpha] | ["alpha", alpha] => number(alpha).map(|alpha| Self::Price { alpha }),
            ["budget", layers] => number(layers).map(Self::budget),
            ["budget", layers, "weight", weight] => {
                number(layers).zip(number(weight)).map(|(layers, weight)| Self::Budget { layers, weight })
            }
            _ => None,
        };
        loss.ok_or_else(|| TrainingError::Option {
            option: "the depth loss",
            found: format!("{text:?}"),
            expected: "ALPHA, budget:LAYERS or budget:LAYERS:weight:NATS",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_depth_loss_comes_back(a in 0.0..1e9f64, b in 0.0..1e3f64) {
            for loss in [DepthLoss::Price { alpha: a }, DepthLoss::budget(a), DepthLoss::Budget { layers: b, weight: a }] {
                prop_assert_eq!(loss.to_string().parse::<DepthLoss>().unwrap(), loss, "{}", loss);
                prop_assert_eq!(loss.to_string().replace(' ', ":").parse::<DepthLoss>().unwrap(), loss);
            }
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "alpha", "budget", "budget:x", "7.5 layers", "alpha:1:2", "budget:4:weight"] {
            let error = text.parse::<DepthLoss>().unwrap_err();
            assert!(matches!(error, TrainingError::Option { option: "the depth loss", .. }), "{text}: {error}");
        }
    }
}
