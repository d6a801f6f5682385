//! The element types of weights, and of keys and values.

use burn::tensor::DType;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The type in which the weight matrices are kept while the model runs. Norms, biases and the residual stream are
/// always `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WeightDtype {
    /// Four bytes per weight.
    #[default]
    F32,
    /// Two bytes per weight. This halves the memory traffic, which limits the speed of decoding on a CPU.
    F16,
    /// The type in which the file has each matrix: quantised blocks of a GGUF file, `f16` and `f32` as they are, and
    /// bf16 widened to `f32`. Blocks take the least memory and traffic; a device that has no kernels for them gets
    /// `f32`.
    Stored,
    /// Quantised blocks of 8 bits, a little over one byte per weight, in which every matrix is quantised when it is
    /// loaded. A matrix whose rows are not a multiple of 32 wide is kept in `f16`.
    Q8,
}

/// The error of parsing a [`WeightDtype`] or a [`KvDtype`].
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
    #[error("unknown weight type {0:?}; supported are f32, f16, stored and q8")]
    Unknown(String),
    /// The text is not the name of a type of keys and values.
    #[error("unknown type of keys and values {0:?}; supported are f32 and f16")]
    UnknownKv(String),
}

/// The type in which keys and values are kept in the cache. Everything is computed in `f32`.
///
/// ```
/// use dynlayer_model::KvDtype;
///
/// assert_eq!("f16".parse(), Ok(KvDtype::F16));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KvDtype {
    /// Four bytes per number.
    #[default]
    F32,
    /// Two bytes per number: half the memory, and faster where a long context is read. Keys and values are rounded when
    /// they are written, to 11 bits; one beyond 65,504 becomes infinite.
    F16,
}

impl KvDtype {
    /// The size of a number in bytes.
    pub fn bytes(self) -> usize {
        self.burn().size()
    }

    /// The same type in burn.
    pub(crate) fn burn(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
        }
    }
}

impl FromStr for KvDtype {
    type Err = DtypeError;

    fn from_str(text: &str) -> Result<Self, DtypeError> {
        match text {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            other => Err(DtypeError::UnknownKv(other.to_owned())),
        }
    }
}

impl fmt::Display for KvDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        })
    }
}

impl WeightDtype {
    /// The same type in burn, if all matrices have one that burn knows.
    pub(crate) fn burn(self) -> Option<DType> {
        match self {
            Self::F32 => Some(DType::F32),
            Self::F16 => Some(DType::F16),
            Self::Stored | Self::Q8 => None,
        }
    }
}

impl FromStr for WeightDtype {
    type Err = DtypeError;

    fn from_str(text: &str) -> Result<Self, DtypeError> {
        match text {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "stored" => Ok(Self::Stored),
            "q8" => Ok(Self::Q8),
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
            Self::Stored => "stored",
            Self::Q8 => "q8",
        })
    }
}
