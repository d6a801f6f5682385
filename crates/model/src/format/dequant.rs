//! Turns the blocks of ggml tensors into integers with scales, and into `f32`.
#![allow(
    clippy::inline_always,
    reason = "only what is inlined into a function for a vector unit is compiled for that unit"
)]

use super::convert::{FloatType, to_f32_into};
use super::dequant_iq4::{iq4_nl, iq4_xs};
use super::dequant_k::{q2_k, q3_k, q4_k, q5_k, q6_k};
#[cfg(feature = "flex")]
pub(crate) use super::dequant_legacy::scale;
use super::dequant_legacy::{q4_0, q4_1, q5_0, q5_1, q8_0};
use super::error::FormatErrorKind;
use super::ggml_type::GgmlType;

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
        _ => dequantize_blocks(ty, bytes, out),
    }
    Ok(())
}

/// Converts whole blocks of a quantised type.
fn dequantize_blocks(ty: GgmlType, bytes: &[u8], out: &mut [f32]) {
    let mut quants = [0; MAX_BLOCK];
    let mut runs = [[0.0; MAX_RUNS]; 2];
    let [scales, minima] = &mut runs;
    let (size, run) = (ty.block_size(), ty.run());
    for (out, block) in out.chunks_exact_mut(size).zip(bytes.chunks_exact(ty.block_bytes())) {
        let runs = size / run;
        unpack(ty, block, &mut quants[..size], &mut scales[..runs], &mut minima[..runs]);
        let runs = quants.chunks_exact(run).zip(scales.iter().zip(minima.iter()));
        for (out, (quants, (scale, minimum))) in out.chunks_exact_mut(run).zip(runs) {
            for (out, quant) in out.iter_mut().zip(quants) {
                *out = scale * f32::from(*quant) - minimum;
            }
        }
    }
}

/// The largest number of weights in a block.
const MAX_BLOCK: usize = 256;
/// The largest number of runs in a block.
const MAX_RUNS: usize = 16;

/// Unpacks whole blocks of a quantised type into integers.
///
/// The weights of a block are divided into runs of [`GgmlType::run`], and weight `i` is `scale * quants[i] - minimum`, with
/// the scale and the minimum of its run. Minima of [symmetric](GgmlType::is_symmetric) types are left as they are, and are 0.
///
/// It is inlined together with all that it calls, so that a caller that is compiled for a vector unit gets loops for that
/// unit.
///
/// Blocks for which there is no room in the outputs are left out, as are all blocks of types that are not quantised.
#[inline(always)]
pub(crate) fn unpack(ty: GgmlType, bytes: &[u8], quants: &mut [i8], scales: &mut [f32], minima: &mut [f32]) {
    /// Calls the function for every block. It is a macro, since a function that is passed to another one is not always
    /// inlined.
    macro_rules! each_block {
        ($convert:ident) => {{
            let blocks = bytes.as_chunks().0.iter().zip(quants.as_chunks_mut().0);
            let runs = scales.as_chunks_mut().0.iter_mut().zip(minima.as_chunks_mut().0);
            for ((block, quants), (scales, minima)) in blocks.zip(runs) {
                $convert(block, quants, scales, minima);
            }
        }};
    }
    match ty {
        GgmlType::F32 | GgmlType::F16 | GgmlType::Bf16 => {}
        GgmlType::Q4_0 => each_block!(q4_0),
        GgmlType::Q4_1 => each_block!(q4_1),
        GgmlType::Q5_0 => each_block!(q5_0),
        GgmlType::Q5_1 => each_block!(q5_1),
        GgmlType::Q8_0 => each_block!(q8_0),
        GgmlType::Q2K => each_block!(q2_k),
        GgmlType::Q3K => each_block!(q3_k),
        GgmlType::Q4K => each_block!(q4_k),
        GgmlType::Q5K => each_block!(q5_k),
        GgmlType::Q6K => each_block!(q6_k),
        GgmlType::Iq4Nl => each_block!(iq4_nl),
        GgmlType::Iq4Xs => each_block!(iq4_xs),
    }
}

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
