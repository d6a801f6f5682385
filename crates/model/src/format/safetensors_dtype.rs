//! Element types of safetensors files.

use std::fmt;

use super::convert::FloatType;

/// Names of the element types that can be read, for messages.
pub(super) const SUPPORTED_DTYPES: &str = "F32, F16, BF16";

/// The element type of a tensor in a safetensors file (`Dtype` in the safetensors
/// library).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SafetensorsDtype {
    /// A float type that can be read.
    Float(FloatType),
    /// Any other type, by its name in the file. A file that contains such tensors
    /// can be opened; reading one of them is an error.
    Other(String),
}

impl SafetensorsDtype {
    /// Returns the type with this name in the file.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "F32" => Self::Float(FloatType::F32),
            "F16" => Self::Float(FloatType::F16),
            "BF16" => Self::Float(FloatType::Bf16),
            other => Self::Other(other.to_owned()),
        }
    }

    /// The type's name in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Float(FloatType::F32) => "F32",
            Self::Float(FloatType::F16) => "F16",
            Self::Float(FloatType::Bf16) => "BF16",
            Self::Other(name) => name,
        }
    }

    /// Returns the float type, if the type can be read.
    #[must_use]
    pub const fn float(&self) -> Option<FloatType> {
        match self {
            Self::Float(ty) => Some(*ty),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for SafetensorsDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
