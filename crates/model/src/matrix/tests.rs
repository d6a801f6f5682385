//! Tests that blocks stand for the weights of the file, in whatever way they are read.

use super::*;
use crate::digest::Digest;
use crate::format::GgufFile;
use crate::parameters::quantised_weight;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gguf/every_type.gguf");

fn bits(tensor: Tensor<2>) -> Vec<u32> {
    tensor.into_data().try_into_vec_as::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// Blocks of two rows of two blocks.
fn blocks(ty: GgmlType) -> Blocks {
    let shape = [2, 2 * ty.block_size()];
    let bytes = (0..4 * ty.block_bytes()).map(|i| u8::try_from(i * 37 % 51).unwrap()).collect();
    Blocks::new(ty, shape, bytes, &Device::flex()).unwrap()
}

#[test]
fn every_type_equals_the_readers_values_bit_for_bit() {
    let (file, device) = (GgufFile::open(FIXTURE).unwrap(), Device::flex());
    for (name, info) in file.tensors() {
        let (rows, width) = (info.rows(), info.row_len());
        let bytes = file.read_tensor_bytes(name).unwrap();
        let blocks = Blocks::new(info.dtype, [rows, width], bytes.clone(), &device).unwrap();
        assert_eq!((blocks.ty(), blocks.dims()), (info.dtype, [rows, width]));
        assert_eq!(blocks.bytes().dtype(), DType::U8);
        assert_eq!(blocks.bytes().into_data().as_bytes(), bytes);

        let expected: Vec<u32> = file.dequantize_tensor(name).unwrap().into_iter().map(f32::to_bits).collect();
        let matrix = Matrix::Quantised(blocks);
        assert_eq!((matrix.dims(), matrix.bytes()), ([rows, width], bytes.len()));
        assert_eq!(Module::num_params(&matrix), rows * width);
        assert_eq!(bits(matrix.tensor()), expected, "{name}");

        let last = rows - 1;
        let ids = [last, 0, last].map(|row| i64::try_from(row).unwrap());
        let selected = matrix.select(Tensor::from_data(TensorData::new(ids.to_vec(), [3]), &device));
        assert_eq!(selected.dims(), [3, width]);
        let row = |row: usize| expected[row * width..(row + 1) * width].to_vec();
        assert_eq!(bits(selected), [row(last), row(0), row(last)].concat(), "{name}");
    }
}

#[test]
fn quantised_rows_are_close() {
    let values: Vec<f32> = (0..192_u16).map(|i| f32::from(i * 91 % 128) / 64.0 - 1.0).collect();
    let blocks = Blocks::quantise(&values, [3, 64], &Device::flex()).unwrap();
    assert_eq!((blocks.ty(), blocks.bytes().dims()), (GgmlType::Q8_0, [3 * 2 * 34]));
    let found = blocks.tensor().into_data().try_into_vec_as::<f32>().unwrap();
    for (x, y) in values.iter().zip(found) {
        assert!((x - y).abs() < 0.005, "{x} became {y}");
    }
    assert!(Blocks::quantise(&values, [4, 48], &Device::flex()).is_err(), "rows of one and a half blocks");
    assert!(Blocks::quantise(&values[1..], [3, 64], &Device::flex()).is_err());
}

#[test]
fn bytes_that_do_not_fit_the_shape_are_refused() {
    for (shape, n) in [([2, 64], 4 * 34 - 1), ([2, 64], 5 * 34), ([4, 16], 2 * 34), ([2, 64], 0), ([usize::MAX, 64], 1)]
    {
        let error = Blocks::new(GgmlType::Q8_0, shape, vec![0; n], &Device::flex()).unwrap_err();
        assert!(matches!(error, FormatErrorKind::BlockLength { found, .. } if found == n), "{error}");
        assert!(Matrix::of_blocks(GgmlType::Q8_0, shape, vec![0; n], &Device::flex()).is_err());
    }
}

#[test]
fn a_tensor_is_itself() {
    let tensor = Tensor::<2>::from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::flex());
    let matrix = Matrix::from(Param::from_tensor(tensor.cast(DType::F16)));
    assert_eq!((matrix.dims(), matrix.bytes(), Module::num_params(&matrix)), ([2, 3], 12, 6));
    let selected = matrix.select(Tensor::from_data(TensorData::new(vec![1_i64], [1]), &matrix.device()));
    assert_eq!(selected.dtype(), DType::F16);
    assert_eq!(bits(selected.cast(DType::F32)), [4.0_f32, 5.0, 6.0].map(f32::to_bits));
    assert_eq!(quantised_weight(&matrix), None);
}

#[test]
fn blocks_are_part_of_a_module() {
    let matrix = Matrix::Quantised(blocks(GgmlType::Q4K));
    let expected = bits(matrix.tensor());
    assert_eq!(matrix.devices(), [Device::flex()]);
    let moved = matrix.clone().valid().to_device(&Device::flex()).fork(&Device::flex()).materialize().no_grad();
    assert_eq!(bits(moved.tensor()), expected);
    assert_eq!(quantised_weight(&matrix), Some(String::new()), "the matrix has no name by itself");
    assert_eq!(quantised_weight(&Vec::from([matrix.clone()])), Some("0".to_owned()));
    let content = matrix.content(Content::new(burn::module::DisplaySettings::default()));
    assert!(content.is_some());
}

#[test]
fn type_shape_and_bytes_count_for_the_digest() {
    let digest = |blocks: Blocks| Digest::of_weights(&Matrix::Quantised(blocks)).unwrap();
    let first = blocks(GgmlType::Q4_0);
    let bytes = first.bytes().into_data().as_bytes().to_vec();
    let made = |ty, shape, bytes: &[u8]| digest(Blocks::new(ty, shape, bytes.to_vec(), &Device::flex()).unwrap());
    assert_eq!(digest(first), made(GgmlType::Q4_0, [2, 64], &bytes));
    let mut changed = bytes.clone();
    changed[7] ^= 1;
    let digests = [
        made(GgmlType::Q4_0, [2, 64], &bytes),
        made(GgmlType::Iq4Nl, [2, 64], &bytes), // of the same size
        made(GgmlType::Q4_0, [4, 32], &bytes),
        made(GgmlType::Q4_0, [2, 64], &changed),
        Digest::of_weights(&Matrix::from(Param::from_tensor(blocks(GgmlType::Q4_0).tensor()))).unwrap(),
    ];
    for (i, digest) in digests.iter().enumerate() {
        assert!(!digests[..i].contains(digest), "{i}");
    }
}
