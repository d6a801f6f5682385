//! Turns the blocks of ggml tensors into integers with scales, and into `f32`.
#![allow(
    clippy::inline_always,
    reason = "only what is inlined into a function for a vector unit is compiled for that unit"
)]

use super::convert::{FloatType, to_f32_into};
use super::dequant_iq4::{iq4_nl, iq4_xs, iq4_xs_scales};
use super::dequant_k::{q2_k, q2_k_scales, q3_k, q3_k_scales, q4_k, q5_k, q6_k, q6_k_scales, scales_and_minima};
use super::dequant_legacy::{numbers, q4_0, q4_1, q5_0, q5_1, q8_0};
use super::error::FormatErrorKind;
use super::ggml_type::GgmlType;
use bytemuck::AnyBitPattern;

/// Converts whole blocks of `bytes` to as many numbers as `out` holds.
///
/// The results equal those of ggml's `dequantize_row_*` bit for bit. As rows are
/// whole blocks, any range of rows can be converted at once.
///
/// # Errors
///
/// [`FormatErrorKind::BlockLength`] when the length of `bytes` is not exactly that
/// of the blocks of `out.len()` numbers.
pub fn dequantize_into(ty: GgmlType, bytes: &[u8], out: &mut [f32]) -> Result<(), FormatErrorKind> {
    let blocks = out.len() / ty.block_size();
    let whole = out.len().is_multiple_of(ty.block_size());
    if !whole || blocks.checked_mul(ty.block_bytes()) != Some(bytes.len()) {
        return Err(FormatErrorKind::BlockLength { ty, elements: out.len(), found: bytes.len() });
    }
    match ty {
        GgmlType::F32 => to_f32_into(FloatType::F32, bytes, out),
        GgmlType::F16 => to_f32_into(FloatType::F16, bytes, out),
        GgmlType::Bf16 => to_f32_into(FloatType::Bf16, bytes, out),
        _ => dispatch(ty, Dequantise { bytes, out }),
    }
    Ok(())
}

/// A quantised block type, for code that is compiled for each of them.
///
/// The weights of a block are divided into runs of [`GgmlType::run`]. Weight `i` is `scale * weights[i] - minimum`, with
/// the scale and the minimum of its run.
///
/// The methods are inlined together with all that they call, so that a caller that is compiled for a vector unit gets loops
/// for that unit.
pub(crate) trait Layout {
    const TYPE: GgmlType;
    type Block: AnyBitPattern;
    /// The weights of a block, 32 by 32.
    type Weights: AsRef<[[i8; 32]]>;

    /// Unpacks the scales and minima of blocks, one per run. Minima of [symmetric](GgmlType::is_symmetric) types are left
    /// as they are.
    fn scales(blocks: &[Self::Block], scales: &mut [f32], minima: &mut [f32]);

    /// Unpacks the weights of a block.
    fn weights(block: &Self::Block) -> Self::Weights;

    /// Divides `bytes` into blocks, or returns none if they are not whole blocks.
    #[inline(always)]
    fn blocks(bytes: &[u8]) -> &[Self::Block] {
        bytemuck::try_cast_slice(bytes).unwrap_or_default()
    }
}

/// An operation on blocks of any quantised type.
pub(crate) trait WithLayout {
    fn call<L: Layout>(self);
}

macro_rules! layout {
    ($name:ident, $bytes:literal bytes, $size:literal weights, $weights:ident, $scales:ident) => {
        struct $name;

        impl Layout for $name {
            const TYPE: GgmlType = GgmlType::$name;
            type Block = [u8; $bytes];
            type Weights = [[i8; 32]; $size / 32];

            #[inline(always)]
            fn scales(blocks: &[[u8; $bytes]], scales: &mut [f32], minima: &mut [f32]) {
                layout!($scales, blocks, scales, minima);
            }

            #[inline(always)]
            fn weights(block: &[u8; $bytes]) -> Self::Weights {
                bytemuck::cast($weights(block))
            }
        }
    };
    (scale, $blocks:ident, $scales:ident, $minima:ident) => {{
        numbers($blocks, 0, $scales);
        _ = $minima;
    }};
    // The minimum is after the scale, and is added.
    (scale_and_minimum, $blocks:ident, $scales:ident, $minima:ident) => {{
        numbers($blocks, 0, $scales);
        numbers($blocks, 2, $minima);
        for minimum in $minima {
            *minimum = -*minimum;
        }
    }};
    ($unpack:ident, $blocks:ident, $scales:ident, $minima:ident) => {
        let runs = $scales.as_chunks_mut().0.iter_mut().zip($minima.as_chunks_mut().0);
        for (block, (scales, minima)) in $blocks.iter().zip(runs) {
            $unpack(block, scales, minima);
        }
    };
}

/// Makes a type for each block type, and the function that calls an operation for one of them.
macro_rules! layouts {
    ($($name:ident, $bytes:literal bytes, $size:literal weights, $weights:ident, $scales:ident;)*) => {
        $(layout!($name, $bytes bytes, $size weights, $weights, $scales);)*

        /// Calls `operation` for a type. Nothing is done for types that are not quantised.
        pub(crate) fn dispatch(ty: GgmlType, operation: impl WithLayout) {
            match ty {
                GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16 => {}
                $(GgmlType::$name => operation.call::<$name>(),)*
            }
        }
    };
}

layouts! {
    Q4_0, 18 bytes, 32 weights, q4_0, scale;
    Q4_1, 20 bytes, 32 weights, q4_1, scale_and_minimum;
    Q5_0, 22 bytes, 32 weights, q5_0, scale;
    Q5_1, 24 bytes, 32 weights, q5_1, scale_and_minimum;
    Q8_0, 34 bytes, 32 weights, q8_0, scale;
    Iq4Nl, 18 bytes, 32 weights, iq4_nl, scale;
    Iq4Xs, 136 bytes, 256 weights, iq4_xs, iq4_xs_scales;
    Q2K, 84 bytes, 256 weights, q2_k, q2_k_scales;
    Q3K, 110 bytes, 256 weights, q3_k, q3_k_scales;
    Q4K, 144 bytes, 256 weights, q4_k, scales_and_minima;
    Q5K, 176 bytes, 256 weights, q5_k, scales_and_minima;
    Q6K, 210 bytes, 256 weights, q6_k, q6_k_scales;
}

/// Converts whole blocks of a quantised type.
struct Dequantise<'a> {
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl WithLayout for Dequantise<'_> {
    fn call<L: Layout>(self) {
        let (size, run) = (L::TYPE.block_size(), L::TYPE.run());
        let (mut scales, mut minima) = ([0.0; MAX_RUNS], [0.0; MAX_RUNS]);
        for (out, block) in self.out.chunks_exact_mut(size).zip(L::blocks(self.bytes)) {
            L::scales(std::slice::from_ref(block), &mut scales[..size / run], &mut minima[..size / run]);
            let weights = L::weights(block);
            let runs = weights.as_ref().as_flattened().chunks_exact(run).zip(scales.iter().zip(&minima));
            for (out, (weights, (scale, minimum))) in out.chunks_exact_mut(run).zip(runs) {
                for (out, weight) in out.iter_mut().zip(weights) {
                    *out = scale * f32::from(*weight) - minimum;
                }
            }
        }
    }
}

/// The largest number of runs in a block.
const MAX_RUNS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::gguf::GgufFile;

    const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gguf/every_type.gguf");

    /// The values of all tensors of the fixture, in the order of their names, as little-endian `f32`.
    const EXPECTED: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gguf/every_type.f32"));

    #[test]
    fn every_type_equals_the_reference_bit_for_bit() {
        let file = GgufFile::open(FIXTURE).unwrap();
        let mut expected = EXPECTED;
        let mut seen = Vec::new();
        for (name, info) in file.tensors() {
            let (bytes, rest) = expected.split_at(4 * info.elements());
            expected = rest;
            let values = file.dequantize_tensor(name).unwrap();
            let (reference, _) = bytes.as_chunks::<4>();
            assert_eq!(values.len(), reference.len());
            for (index, (value, reference)) in values.iter().zip(reference).enumerate() {
                assert_eq!(
                    value.to_bits(),
                    u32::from_le_bytes(*reference),
                    "{name} at {index}: {value}, expected {}",
                    f32::from_le_bytes(*reference)
                );
            }
            seen.push(info.dtype);
        }
        assert!(expected.is_empty());
        assert!(GgmlType::all().all(|ty| seen.contains(&ty)));
    }

    #[test]
    fn runs_of_rows_are_parts_of_the_whole() {
        let file = GgufFile::open(FIXTURE).unwrap();
        for (name, info) in file.tensors() {
            let whole = file.dequantize_tensor(name).unwrap();
            assert!(info.rows() >= 2);
            let first = file.dequantize_rows(name, 0..1).unwrap();
            let others = file.dequantize_rows(name, 1..info.rows()).unwrap();
            assert_eq!(whole, [first, others].concat());
            assert!(file.dequantize_rows(name, 1..1).unwrap().is_empty());
            let error = file.dequantize_rows(name, 0..info.rows() + 1).unwrap_err();
            assert!(matches!(error.kind(), FormatErrorKind::PartOutOfRange { unit: "rows", .. }), "{error}");
        }
    }

    #[test]
    fn lengths_that_do_not_correspond_are_refused() {
        for ty in GgmlType::all() {
            let bytes = vec![0; 2 * ty.block_bytes()];
            let mut out = vec![0.0; 2 * ty.block_size()];
            dequantize_into(ty, &bytes, &mut out).unwrap();
            dequantize_into(ty, &[], &mut []).unwrap();
            for wrong in [&bytes[1..], &bytes[ty.block_bytes()..], &[]] {
                let error = dequantize_into(ty, wrong, &mut out).unwrap_err();
                assert!(matches!(error, FormatErrorKind::BlockLength { .. }), "{error}");
            }
            let error = dequantize_into(ty, &bytes, &mut out[1..]).unwrap_err();
            assert!(error.to_string().contains(ty.name()), "{error}");
        }
    }
}
