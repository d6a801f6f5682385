//! What depth costs in training.

use super::{TrainingBatch, TrainingError, TrainingPass};
use crate::control::ControlFrom;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What is added to the cross-entropy for the layers that gates let run.
///
/// With `G` gated layers, `B` sequences, `N_b` controlled tokens of sequence `b` and the gates `g` of its controlled
/// tokens `t`,
///
/// ```text
/// open = 1/(G B) sum_l sum_b (sum_t g[l, b, t]) / N_b         from 0 to 1
/// ```
///
/// so that every sequence counts the same, however long. Sequences without a controlled token are left out.
///
/// ```
/// use dynlayer_inference::training::DepthLoss;
///
/// assert_eq!("0.3".parse(), Ok(DepthLoss::Price { alpha: 0.3 }));
/// assert_eq!("budget:7.5".parse(), Ok(DepthLoss::budget(7.5)));
/// assert_eq!(DepthLoss::budget(7.5).to_string(), "budget 7.5");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum DepthLoss {
    /// `alpha * open`: a layer costs the same however many run (arXiv 2410.20022). Which depth a price leads to depends
    /// on the model and the data.
    Price {
        /// In nats per label token, at least 0.
        alpha: f64,
    },
    /// `weight * ((layers - budget) / n_layers)^2`, where `layers` is the batch's mean of layers per controlled token,
    /// those without a gate included.
    ///
    /// The network loss of Verelst and Tuytelaars 2020 (arXiv 1912.03203, sparsity criterion): the square of what the
    /// whole batch spends less what it should. Tokens and sequences may then spend differently, which is the point of
    /// routing; a penalty for each of them (Rao et al. 2021, arXiv 2106.02034, ratio loss) would forbid that.
    Budget {
        /// Layers per controlled token.
        layers: f64,
        /// How much a deviation costs, in nats, at least 0.
        weight: f64,
    },
}

impl DepthLoss {
    /// A budget with a weight of 20: one layer of 12 too many then costs 0.14 nats, and a tenth of a layer almost nothing.
    pub fn budget(layers: f64) -> Self {
        Self::Budget { layers, weight: 20.0 }
    }

    /// The loss of a pass, `[1]`.
    ///
    /// # Errors
    /// If an option is out of its range, the budget cannot be met with the layers that have gates, or no gate of the pass
    /// counts ([`TrainingError::NoGates`]).
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
                let (least, most) = (float(n_layers - pass.gates.len()), float(n_layers));
                let ok = (least..=most).contains(&budget);
                TrainingError::check(
                    ok,
                    "the budget",
                    budget,
                    "from the number of layers without a gate to that of all",
                )?;
                let over = (layers_of(open, pass) - budget).div_scalar(most);
                Ok(over.square().mul_scalar(weight))
            }
        }
    }
}

/// Mean layers per controlled token of a pass, `[1]`: every sequence counts the same, and layers without a gate as run.
///
/// # Errors
/// [`TrainingError::NoGates`] if no gate of the pass counts.
pub fn gated_depth(pass: &TrainingPass, batch: &TrainingBatch, from: ControlFrom) -> Result<Tensor<1>, TrainingError> {
    Ok(layers_of(open(pass, batch, from)?, pass))
}

fn layers_of(open: Tensor<1>, pass: &TrainingPass) -> Tensor<1> {
    open.mul_scalar(float(pass.gates.len())).add_scalar(float(n_layers(pass) - pass.gates.len()))
}

/// The share of gates that are open, `[1]`.
fn open(pass: &TrainingPass, batch: &TrainingBatch, from: ControlFrom) -> Result<Tensor<1>, TrainingError> {
    let places = batch.controlled_places(from);
    let counted = places.iter().filter(|places| !places.is_empty()).count();
    let Some(first) = pass.gates.first().filter(|_| counted > 0) else { return Err(TrainingError::NoGates) };
    let width = batch.width();
    let share = float(pass.gates.len() * counted).recip();
    #[expect(clippy::cast_possible_truncation, reason = "a weight")]
    let weights: Vec<f32> = places
        .iter()
        .flat_map(|places| {
            let weight = share / float(places.len());
            (0..width).map(move |place| if places.contains(&place) { weight as f32 } else { 0.0 })
        })
        .collect();
    let weights = TensorData::new(weights, [places.len(), width]);
    let weights = Tensor::<2>::from_data(weights, &first.gate.device()); // [rows, width]
    let gates: Vec<Tensor<2>> = pass.gates.iter().map(|gate| gate.gate.clone()).collect();
    Ok((Tensor::stack::<3>(gates, 0) * weights.unsqueeze::<3>()).sum())
}

fn n_layers(pass: &TrainingPass) -> usize {
    pass.routes.first().map_or(0, |route| route.layers().len())
}

fn check(option: &'static str, value: f64) -> Result<(), TrainingError> {
    TrainingError::check(value.is_finite() && value >= 0.0, option, value, "a finite number, at least 0")
}

#[expect(clippy::cast_precision_loss, reason = "counts of layers and tokens")]
fn float(n: usize) -> f64 {
    n as f64
}

/// `alpha 0.3` or `budget 7.5`.
impl fmt::Display for DepthLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Price { alpha } => write!(f, "alpha {alpha}"),
            Self::Budget { layers, .. } => write!(f, "budget {layers}"),
        }
    }
}

/// An alpha, or `budget:LAYERS`.
impl FromStr for DepthLoss {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is neither an alpha nor budget:LAYERS"));
        match text.strip_prefix("budget:") {
            Some(layers) => Ok(Self::budget(number(layers)?)),
            None => Ok(Self::Price { alpha: number(text)? }),
        }
    }
}
