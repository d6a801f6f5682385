//! The element type of weights.

use burn::tensor::DType;
use std::fmt;
use std::str::FromStr;

/// The element type of the weight matrices while the model runs. Norms, biases and the residual stream are always
/// `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WeightDtype {
    /// Four bytes per weight.
    #[default]
    F32,
    /// Two bytes per weight. This halves the memory traffic, which limits the speed of decoding on a CPU.
    F16,
}

/// The error of parsing a [`WeightDtype`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DtypeError {
    /// The text is `bf16`.
    #[error(
        "weights cannot be kept in bf16: processors have no fast product of bf16 and f32, and converting at every use \
         is over ten times slower than f16; load the bf16 checkpoint as f32 or f16"
    )]
    Bf16,
    /// The text is not the name of a type.
    #[error("unknown weight type {0:?}; supported are f32 and f16")]
    Unknown(String),
}

impl WeightDtype {
    /// The number of bytes per weight.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// The same type in burn.
    pub(crate) fn burn(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
        }
    }
}

impl FromStr for WeightDtype {
    type Err = DtypeError;

    fn from_str(text: &str) -> Result<Self, DtypeError> {
        match text {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Err(DtypeError::Bf16),
            other => Err(DtypeError::Unknown(other.to_owned())),
        }
    }
}

impl fmt::Display for WeightDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        })
    }
}
