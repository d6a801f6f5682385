//! Tests with damaged files. Opening and reading them must give a result or a
//! typed error, without a panic and without much memory.

use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

use super::convert::to_f16;
use super::error::FormatError;
use super::ggml_type::GgmlType;
use super::gguf::GgufFile;
use super::gguf_value::{GgufArray, GgufValue};
use super::safetensors_file::SafetensorsFile;
use super::safetensors_file::tests::{f32_bytes, file_of};
use super::sharded::SafetensorsFolder;
use crate::gguf_writer::GgufWriter;

/// The number of damaged files per test.
const CASES: u32 = 12_000;

/// Numbers with which careless arithmetic overflows.
const EXTREMES: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0xff,
    0xffff_ffff,
    1 << 32,
    1 << 40,
    1 << 60,
    (1 << 62) + 1,
    i64::MAX.cast_unsigned(),
    1 << 63,
    u64::MAX - 7,
    u64::MAX,
];

/// Damage to a file.
#[derive(Debug, Clone)]
enum Damage {
    Truncate(Index),
    FlipBit(Index, u8),
    Overwrite(Index, Vec<u8>),
    Extreme64(Index, u64),
    Extreme32(Index, u32),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, Index),
    Text(Index, &'static str),
}

fn damage() -> impl Strategy<Value = Damage> {
    let text = prop::sample::select(vec![
        "\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "-1",
        "1e400",
        "18446744073709551616",
        "..",
        "/",
        "\\",
        "\\u0000",
        "\\ud800",
        "F64",
        "a",
        "4",
        "[0,0]",
        "[[[[[[[[",
    ]);
    let bytes = || prop::collection::vec(any::<u8>(), 1..12);
    let at = any::<Index>;
    let extreme = || prop::sample::select(EXTREMES.to_vec());
    prop_oneof![
        1 => at().prop_map(Damage::Truncate),
        3 => (at(), 0..8_u8).prop_map(|(at, bit)| Damage::FlipBit(at, bit)),
        2 => (at(), bytes()).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        3 => (at(), extreme()).prop_map(|(at, value)| Damage::Extreme64(at, value)),
        2 => (at(), 0..45_u32).prop_map(|(at, value)| Damage::Extreme32(at, value)),
        1 => (at(), bytes()).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (at(), 1..40_usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        1 => (at(), at()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        2 => (at(), text).prop_map(|(at, text)| Damage::Text(at, text)),
    ]
}

/// One to four damages, and a flag. If it is `true`, the damages are in the first
/// 64 bytes, where the counts are; truncations can be anywhere.
fn damages() -> impl Strategy<Value = (bool, Vec<Damage>)> {
    (any::<bool>(), prop::collection::vec(damage(), 1..5))
}

fn apply(file: &[u8], front: bool, damages: &[Damage]) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for damage in damages {
        let length = bytes.len();
        if length == 0 {
            break;
        }
        let place = |index: &Index| index.index(if front { length.min(64) } else { length });
        let overwrite = |bytes: &mut Vec<u8>, at: usize, new: &[u8]| {
            for (byte, new) in bytes.iter_mut().skip(at).zip(new) {
                *byte = *new;
            }
        };
        match damage {
            Damage::Truncate(at) => bytes.truncate(at.index(length)),
            Damage::FlipBit(at, bit) => bytes[place(at)] ^= 1 << bit,
            Damage::Overwrite(at, new) => overwrite(&mut bytes, place(at), new),
            // At the front, counts stand at multiples of their size.
            Damage::Extreme64(at, value) => {
                let at = if front { place(at) / 8 * 8 } else { place(at) };
                overwrite(&mut bytes, at, &value.to_le_bytes());
            }
            Damage::Extreme32(at, value) => {
                let at = if front { place(at) / 4 * 4 } else { place(at) };
                overwrite(&mut bytes, at, &value.to_le_bytes());
            }
            Damage::Insert(at, new) => {
                let at = place(at);
                bytes.splice(at..at, new.iter().copied());
            }
            Damage::Remove(at, count) => {
                let at = place(at);
                bytes.drain(at..(at + count).min(length));
            }
            Damage::Repeat(from, to) => {
                let (from, to) = (place(from), place(to));
                let copy = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(to..to, copy);
            }
            Damage::Text(at, text) => {
                let at = place(at);
                bytes.splice(at..at, text.bytes());
            }
        }
    }
    bytes
}

fn gguf_file() -> Vec<u8> {
    GgufWriter::new()
        .pair("general.alignment", GgufValue::U32(8))
        .pair("general.name", GgufValue::String("small".into()))
        .pair("a.bool", GgufValue::Bool(true))
        .pair("a.f64", GgufValue::F64(0.5))
        .pair("a.strings", GgufValue::Array(GgufArray::String(vec!["ä".into(), String::new()])))
        .pair("a.ints", GgufValue::Array(GgufArray::I32(vec![1, -2])))
        .pair(
            "a.nested",
            GgufValue::Array(GgufArray::Array(vec![GgufArray::U8(vec![1]), GgufArray::Bool(vec![false])])),
        )
        .tensor_f32("f32", [2, 3], &[1.0; 6])
        .tensor("f16", [4], GgmlType::F16, [0x3c; 8])
        .tensor("q8_0", [2, 32], GgmlType::Q8_0, [1; 68])
        .tensor("q2_k", [1, 256], GgmlType::Q2K, [9; 84])
        .tensor("q3_k", [1, 256], GgmlType::Q3K, [8; 110])
        .tensor("iq4_nl", [2, 32], GgmlType::Iq4Nl, [5; 36])
        .tensor("iq4_xs", [1, 256], GgmlType::Iq4Xs, [6; 136])
        .tensor("q6_k", [1, 256], GgmlType::Q6K, [7; 210])
        .to_bytes()
}

fn safetensors_file() -> Vec<u8> {
    file_of(&[
        ("a", vec![2, 3], f32_bytes(&[1.0; 6])),
        ("b", vec![4], f32_bytes(&[2.0; 4])),
        ("c", vec![], f32_bytes(&[3.0])),
    ])
}

/// A number that is small (up to 8) or, more rarely, extreme.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0..9_u64,
        1 => prop::sample::select(EXTREMES.to_vec()),
    ]
}

/// A safetensors file whose header is well-formed JSON with any numbers. Damage
/// to the text of a header seldom leaves it well-formed.
fn well_formed_safetensors() -> impl Strategy<Value = Vec<u8>> {
    let dtype = prop::sample::select(vec!["F32", "F16", "BF16", "F64", "?"]);
    let shape = prop::collection::vec(number(), 0..4);
    let name = prop::sample::select(vec!["a", "b", "c", "d", ""]);
    // A tensor begins where the previous one ended and has the bytes that its
    // shape requires, unless its start or its end is replaced by a wrong number.
    let off = || prop_oneof![6 => Just(None), 1 => number().prop_map(Some)];
    let tensor = (name, dtype, shape, off(), off());
    (prop::collection::vec(tensor, 0..4), off()).prop_map(|(tensors, file_end)| {
        let mut entries = Vec::new();
        let mut end = 0_u64;
        for (name, dtype, shape, wrong_start, wrong_end) in tensors {
            let size = if dtype == "F32" { 4 } else { 2 };
            let bytes = shape.iter().copied().fold(size, u64::wrapping_mul);
            let start = wrong_start.unwrap_or(end);
            end = wrong_end.unwrap_or(start.wrapping_add(bytes));
            let info = format!(r#"{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#);
            entries.push(format!(r#""{name}":{info}"#));
        }
        let header = format!("{{{}}}", entries.join(","));
        let length = u64::try_from(header.len()).unwrap();
        let mut bytes = [&length.to_le_bytes(), header.as_bytes()].concat();
        let data = usize::try_from(file_end.unwrap_or(end).min(1000)).unwrap();
        bytes.resize(bytes.len() + data, 1);
        bytes
    })
}

/// Opens a GGUF file, reads everything in it and returns the number of tensors.
fn read_gguf(bytes: Vec<u8>) -> Result<usize, FormatError> {
    let length = bytes.len();
    read_open_gguf(&GgufFile::from_reader(Cursor::new(bytes), "damaged.gguf")?, length)
}

/// Reads everything in a GGUF file, none of whose tensors can have more than `length` bytes, and returns the number of
/// tensors.
fn read_open_gguf(file: &GgufFile, length: usize) -> Result<usize, FormatError> {
    let mut read = 0;
    for (name, info) in file.tensors() {
        let bytes = file.read_tensor_bytes(name)?;
        assert!(bytes.len() <= length);
        let values = file.dequantize_tensor(name)?;
        assert_eq!(values.len(), info.elements());
        let last = info.rows() - 1;
        let row = file.read_rows(name, last..last + 1)?;
        assert!(bytes.ends_with(&row));
        read += 1;
    }
    for (key, _) in file.metadata().iter() {
        let metadata = file.metadata();
        let _ = metadata.get_u64(key);
        let _ = (metadata.get_str(key), metadata.get_strings(key));
    }
    Ok(read)
}

/// Opens a safetensors file, reads everything in it and returns the number of tensors read.
fn read_safetensors(bytes: Vec<u8>) -> Result<usize, FormatError> {
    let length = bytes.len();
    let file = SafetensorsFile::from_reader(Cursor::new(bytes), "damaged.safetensors")?;
    let mut read = 0;
    for (name, info) in file.tensors() {
        if info.dtype.float().is_some() {
            let bytes = file.read_tensor_bytes(name)?;
            assert!(bytes.len() <= length);
            if let Some(ty) = info.dtype.float() {
                assert_eq!(to_f16(ty, &bytes).0.len(), info.elements());
            }
            read += 1;
        } else {
            file.read_tensor_bytes(name).unwrap_err();
        }
    }
    Ok(read)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn damaged_gguf_files((front, damages) in damages()) {
        let _ = read_gguf(apply(&gguf_file(), front, &damages));
    }

    #[test]
    fn damaged_safetensors_files((front, damages) in damages()) {
        let _ = read_safetensors(apply(&safetensors_file(), front, &damages));
    }

    #[test]
    fn well_formed_safetensors_files_of_any_numbers(bytes in well_formed_safetensors()) {
        let _ = read_safetensors(bytes);
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_safetensors(bytes.clone());
        let _ = read_gguf([b"GGUF\x03\0\0\0".as_slice(), &bytes].concat());
        read_gguf([b"X".as_slice(), &bytes].concat()).unwrap_err();
    }
}

/// Writes a file without making it empty first: file systems that wait for the disk then make such tests slow.
fn overwrite(path: &Path, bytes: &[u8]) {
    let mut file = File::options().write(true).create(true).truncate(false).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file.set_len(u64::try_from(bytes.len()).unwrap()).unwrap();
}

#[test]
fn damaged_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let shard = file_of(&[("a", vec![2], f32_bytes(&[1.0; 2]))]);
    fs::write(folder.path().join("a.safetensors"), shard).unwrap();
    let index = br#"{"metadata":{"total_size":8},"weight_map":{"a":"a.safetensors"}}"#;
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |((_, damages) in damages())| {
        let damaged = apply(index, false, &damages);
        overwrite(&folder.path().join("model.safetensors.index.json"), &damaged);
        if let Ok(folder) = SafetensorsFolder::open(folder.path()) {
            for (name, _) in folder.tensors() {
                assert_eq!(folder.read_tensor_bytes(name).unwrap().len(), 8);
            }
        }
    });
}

/// One of the two parts is damaged.
#[test]
fn damaged_parts() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [1, 2].map(|part| folder.path().join(format!("a-{part:05}-of-00002.gguf")));
    let parts = [0, 1].map(|part| {
        GgufWriter::new()
            .pair("split.no", GgufValue::U16(part))
            .pair("split.count", GgufValue::U16(2))
            .pair("split.tensors.count", GgufValue::I32(2))
            .tensor_f32(part.to_string(), [2, 3], &[1.0; 6])
            .to_bytes()
    });
    let write = |parts: &[Vec<u8>; 2]| {
        for (path, bytes) in paths.iter().zip(parts) {
            overwrite(path, bytes);
        }
        parts.concat().len()
    };
    let length = write(&parts);
    assert_eq!(read_open_gguf(&GgufFile::open(&paths[0]).unwrap(), length).unwrap(), 2);
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(damaged in 0..2_usize, (front, damages) in damages())| {
        let mut parts = parts.clone();
        parts[damaged] = apply(&parts[damaged], front, &damages);
        let length = write(&parts);
        let _ = GgufFile::open(&paths[0]).and_then(|file| read_open_gguf(&file, length));
    });
}

/// If the undamaged files were refused, the tests above would test nothing.
#[test]
fn the_undamaged_files_are_read() {
    assert_eq!(read_gguf(gguf_file()).unwrap(), 8);
    assert_eq!(read_safetensors(safetensors_file()).unwrap(), 3);
}

#[test]
fn every_truncation_is_an_error() {
    let gguf = gguf_file();
    // The padding after the last tensor may be missing.
    let data_end = gguf.len() - (210_usize.next_multiple_of(8) - 210);
    for length in 0..data_end {
        read_gguf(gguf[..length].to_vec()).unwrap_err();
    }
    let safetensors = safetensors_file();
    for length in 0..safetensors.len() {
        read_safetensors(safetensors[..length].to_vec()).unwrap_err();
    }
}
