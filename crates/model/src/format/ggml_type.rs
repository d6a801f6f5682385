//! The element types of ggml tensors (`enum ggml_type` in `ggml.h`).

use std::fmt;

/// A ggml element type that this crate can dequantise.
///
/// The numbers are those of `enum ggml_type` in `ggml.h`, the block layouts those
/// of `ggml-common.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GgmlType {
    /// `GGML_TYPE_F32`: IEEE binary32.
    F32,
    /// `GGML_TYPE_F16`: IEEE binary16.
    F16,
    /// `GGML_TYPE_Q4_0`, `block_q4_0`: 4 bits, one scale.
    Q4_0,
    /// `GGML_TYPE_Q4_1`, `block_q4_1`: 4 bits, scale and minimum.
    Q4_1,
    /// `GGML_TYPE_Q5_0`, `block_q5_0`: 5 bits, one scale.
    Q5_0,
    /// `GGML_TYPE_Q5_1`, `block_q5_1`: 5 bits, scale and minimum.
    Q5_1,
    /// `GGML_TYPE_Q8_0`, `block_q8_0`: 8 bits, one scale.
    Q8_0,
    /// `GGML_TYPE_Q2_K`, `block_q2_K`: 2 bits, 4-bit scales and minima.
    Q2K,
    /// `GGML_TYPE_Q3_K`, `block_q3_K`: 3 bits, 6-bit scales.
    Q3K,
    /// `GGML_TYPE_Q4_K`, `block_q4_K`: 4 bits, 6-bit scales and minima.
    Q4K,
    /// `GGML_TYPE_Q5_K`, `block_q5_K`: 5 bits, 6-bit scales and minima.
    Q5K,
    /// `GGML_TYPE_Q6_K`, `block_q6_K`: 6 bits, 8-bit scales.
    Q6K,
    /// `GGML_TYPE_IQ4_NL`, `block_iq4_nl`: 4 bits that choose from a table of values, one scale.
    Iq4Nl,
    /// `GGML_TYPE_IQ4_XS`, `block_iq4_xs`: the same, with 6-bit scales.
    Iq4Xs,
    /// `GGML_TYPE_BF16`: the upper half of an IEEE binary32.
    Bf16,
}

/// A supported type, its number and name in ggml, and the elements and bytes of a block.
type Row = (GgmlType, u32, &'static str, usize, usize);

/// Every supported type, in the order of the enum.
const SUPPORTED: [Row; 15] = [
    (GgmlType::F32, 0, "F32", 1, 4),
    (GgmlType::F16, 1, "F16", 1, 2),
    (GgmlType::Q4_0, 2, "Q4_0", 32, 18),
    (GgmlType::Q4_1, 3, "Q4_1", 32, 20),
    (GgmlType::Q5_0, 6, "Q5_0", 32, 22),
    (GgmlType::Q5_1, 7, "Q5_1", 32, 24),
    (GgmlType::Q8_0, 8, "Q8_0", 32, 34),
    (GgmlType::Q2K, 10, "Q2_K", 256, 84),
    (GgmlType::Q3K, 11, "Q3_K", 256, 110),
    (GgmlType::Q4K, 12, "Q4_K", 256, 144),
    (GgmlType::Q5K, 13, "Q5_K", 256, 176),
    (GgmlType::Q6K, 14, "Q6_K", 256, 210),
    (GgmlType::Iq4Nl, 20, "IQ4_NL", 32, 18),
    (GgmlType::Iq4Xs, 23, "IQ4_XS", 256, 136),
    (GgmlType::Bf16, 30, "BF16", 1, 2),
];

/// The numbers and names of the types that exist in ggml but are not supported
/// here. The numbers 4, 5, 31 to 33 and 36 to 38 were removed from ggml, but
/// files that use them still exist.
const UNSUPPORTED: [(u32, &str); 27] = [
    (4, "Q4_2"),
    (5, "Q4_3"),
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (36, "IQ4_NL_4_4"),
    (37, "IQ4_NL_4_8"),
    (38, "IQ4_NL_8_8"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
];

impl GgmlType {
    /// Iterates over all supported types, in the order of their ggml numbers.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        SUPPORTED.iter().map(|row| row.0)
    }

    /// Returns the type with this number in `enum ggml_type`, if it is supported.
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        Self::all().find(|ty| ty.id() == id)
    }

    /// Returns the name of a type that ggml defines but this crate does not support.
    #[must_use]
    pub fn unsupported_name(id: u32) -> Option<&'static str> {
        UNSUPPORTED.iter().find_map(|(number, name)| (*number == id).then_some(*name))
    }

    /// The type's number in `enum ggml_type`.
    #[must_use]
    pub const fn id(self) -> u32 {
        SUPPORTED[self as usize].1
    }

    /// The type's name as ggml spells it after `GGML_TYPE_`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        SUPPORTED[self as usize].2
    }

    /// The number of elements in a block: 1, 32 (`QK4_0` and similar constants of ggml) or 256 (`QK_K`).
    #[must_use]
    pub const fn block_size(self) -> usize {
        SUPPORTED[self as usize].3
    }

    /// The number of consecutive weights of a block that share a scale and a minimum; 1 for types that are not quantised.
    #[must_use]
    pub const fn run(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q2K | Self::Q3K | Self::Q6K => 16,
            _ => 32,
        }
    }

    /// The number of bytes of a row of `width` weights, which is whole blocks.
    #[must_use]
    pub const fn row_bytes(self, width: usize) -> usize {
        width / self.block_size() * self.block_bytes()
    }

    /// Returns `true` if the weights are in blocks of more than one.
    #[must_use]
    pub const fn is_quantised(self) -> bool {
        self.block_size() > 1
    }

    /// Returns `true` if the weights are multiples of their scale, without a minimum.
    #[must_use]
    pub const fn is_symmetric(self) -> bool {
        !matches!(self, Self::Q4_1 | Self::Q5_1 | Self::Q2K | Self::Q4K | Self::Q5K)
    }

    /// The number of bytes in a block, ggml's `type_size`.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        SUPPORTED[self as usize].4
    }
}

impl fmt::Display for GgmlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        assert!(GgmlType::all().enumerate().all(|(index, ty)| ty as usize == index));
    }

    #[test]
    fn every_number_below_42_is_named_exactly_once() {
        for id in 0..42 {
            let supported = GgmlType::from_id(id).is_some();
            let unsupported = GgmlType::unsupported_name(id).is_some();
            assert!(supported != unsupported, "number {id}");
        }
        assert_eq!(GgmlType::from_id(42), None);
        assert_eq!(GgmlType::unsupported_name(42), None);
    }
}
