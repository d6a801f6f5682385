//! Tests of whole GGUF files, built field by field or with the writer.

use std::fs::File;
use std::io::Cursor;

use super::*;
use crate::format::gguf_value::{GgufArray, GgufValue};
use crate::gguf_writer::GgufWriter;

fn open(bytes: Vec<u8>) -> Result<GgufFile, FormatError> {
    GgufFile::from_reader(Cursor::new(bytes), "test.gguf")
}

fn error(bytes: Vec<u8>) -> FormatErrorKind {
    let error = open(bytes).unwrap_err();
    assert!(error.to_string().starts_with("test.gguf: "), "{error}");
    assert_eq!(error.path(), Path::new("test.gguf"));
    error.into_kind()
}

/// Returns the beginning of a file: magic, version 3 and both counts.
fn header(tensors: u64, pairs: u64) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(tensors.to_le_bytes());
    bytes.extend(pairs.to_le_bytes());
    bytes
}

fn string(text: &str) -> Vec<u8> {
    let length = u64::try_from(text.len()).unwrap();
    [&length.to_le_bytes(), text.as_bytes()].concat()
}

/// Returns a file with one metadata pair, given the number of its type and the bytes of its value.
fn pair(ty: u32, value: &[u8]) -> Vec<u8> {
    [&header(0, 1), &string("key"), ty.to_le_bytes().as_slice(), value].concat()
}

/// Returns a file with one tensor description and `data` zero bytes in the data section.
fn tensor(dimensions: &[u64], ty: u32, offset: u64, data: usize) -> Vec<u8> {
    let mut bytes = [header(1, 0), string("t")].concat();
    bytes.extend(u32::try_from(dimensions.len()).unwrap().to_le_bytes());
    bytes.extend(dimensions.iter().flat_map(|size| size.to_le_bytes()));
    bytes.extend(ty.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
    bytes
}

#[test]
fn what_the_writer_writes_is_read_back() {
    let pairs = [
        ("u8", GgufValue::U8(u8::MAX)),
        ("i8", GgufValue::I8(i8::MIN)),
        ("u16", GgufValue::U16(u16::MAX)),
        ("i16", GgufValue::I16(i16::MIN)),
        ("u32", GgufValue::U32(u32::MAX)),
        ("i32", GgufValue::I32(i32::MIN)),
        ("f32", GgufValue::F32(0.1)),
        ("bool", GgufValue::Bool(true)),
        ("string", GgufValue::String("ä🦀".into())),
        ("u64", GgufValue::U64(u64::MAX)),
        ("i64", GgufValue::I64(i64::MIN)),
        ("f64", GgufValue::F64(0.1)),
        ("[u8]", GgufValue::Array(GgufArray::U8(vec![0, 255]))),
        ("[i8]", GgufValue::Array(GgufArray::I8(vec![-128, 127]))),
        ("[u16]", GgufValue::Array(GgufArray::U16(vec![1, 2, 3]))),
        ("[i16]", GgufValue::Array(GgufArray::I16(vec![-1]))),
        ("[u32]", GgufValue::Array(GgufArray::U32(vec![]))),
        ("[i32]", GgufValue::Array(GgufArray::I32(vec![-7]))),
        ("[f32]", GgufValue::Array(GgufArray::F32(vec![1.5, -0.0]))),
        ("[bool]", GgufValue::Array(GgufArray::Bool(vec![true, false]))),
        ("[string]", GgufValue::Array(GgufArray::String(vec!["a".into(), String::new()]))),
        ("[[u64]]", GgufValue::Array(GgufArray::Array(vec![GgufArray::U64(vec![1]), GgufArray::F64(vec![2.0, 3.0])]))),
        ("[i64]", GgufValue::Array(GgufArray::I64(vec![i64::MIN]))),
    ];
    let mut writer = GgufWriter::new().tensor_f32("a", [2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    for (key, value) in &pairs {
        writer = writer.pair(*key, value.clone());
    }
    let bytes = writer.tensor("b", [32], GgmlType::Q8_0, [1; 34]).to_bytes();
    for version in [2, 3] {
        let mut bytes = bytes.clone();
        bytes[4] = version;
        let file = open(bytes).unwrap();
        assert_eq!(file.version(), u32::from(version));
        assert_eq!(file.metadata().iter().count(), pairs.len());
        for (key, value) in &pairs {
            assert_eq!(file.metadata().get(key), Some(value));
        }
        let info = file.tensor("a").unwrap();
        assert_eq!((info.shape.as_slice(), info.bytes), ([2, 3].as_slice(), 24));
        assert_eq!(info.offset % 32, 0);
        assert_eq!(file.dequantize_rows("a", 1..2).unwrap(), [4.0, 5.0, 6.0]);
        assert_eq!(file.read_tensor_bytes("b").unwrap(), [1; 34]);
        let error = file.read_tensor_bytes("c").unwrap_err();
        assert!(matches!(error.kind(), FormatErrorKind::NoSuchTensor { .. }), "{error}");
    }
}

#[test]
fn the_file_of_the_reference_writer_is_read() {
    let file = GgufFile::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gguf/every_type.gguf")).unwrap();
    let metadata = file.metadata();
    assert_eq!(metadata.get_str("general.architecture").unwrap(), "llama");
    assert_eq!(metadata.get_usize("llama.block_count").unwrap(), 2);
    assert_eq!(metadata.get_u32("llama.block_count").unwrap(), 2);
    let base = metadata.get_f32("llama.rope.freq_base").unwrap();
    assert_eq!(base.to_bits(), 10000.0_f32.to_bits());
    assert!(metadata.get_bool("tokenizer.ggml.add_bos_token").unwrap());
    let tokens = metadata.get_strings("tokenizer.ggml.tokens").unwrap();
    assert_eq!(tokens, ["<unk>", "a", "ä", "🦀"]);
    let scores = metadata.get_f32s("tokenizer.ggml.scores").unwrap();
    assert_eq!(scores, [0.0, -1.0, 0.5, 2.0]);
    let types = metadata.get_i32s("tokenizer.ggml.token_type").unwrap();
    assert_eq!(types, [2, 1, 1, 1]);
    let Some(GgufValue::Array(GgufArray::Array(nested))) = metadata.get("test.nested") else {
        panic!("test.nested is {:?}", metadata.get("test.nested"));
    };
    assert_eq!(nested.len(), 2);
    assert_eq!(file.tensor("Q4_K").unwrap().shape, [4, 512]);
}

#[test]
fn accessors_name_key_and_types() {
    let bytes = GgufWriter::new()
        .pair("text", GgufValue::String("t".into()))
        .pair("negative", GgufValue::I16(-1))
        .pair("large", GgufValue::U64(1 << 40))
        .pair("mixed", GgufValue::Array(GgufArray::I8(vec![1, -1])))
        .to_bytes();
    let file = open(bytes).unwrap();
    let metadata = file.metadata();
    let text = metadata.get_u64("text").unwrap_err().to_string();
    assert_eq!(text, "test.gguf: the metadata key text holds string, expected integer");
    let text = metadata.get_f32s("mixed").unwrap_err().to_string();
    assert!(text.contains("array of i8") && text.contains("array of f32"));
    for result in [metadata.get_u64("negative").map(drop), metadata.get_u32("large").map(drop)] {
        assert!(matches!(result.unwrap_err().kind(), FormatErrorKind::IntegerOutOfRange { .. }));
    }
    assert_eq!(metadata.get_u64("large").unwrap(), 1 << 40);
    let absent = GgufMetadata::optional(metadata.get_bool("absent")).unwrap();
    assert_eq!(absent, None);
    GgufMetadata::optional(metadata.get_bool("text")).unwrap_err();
}

#[test]
fn other_files_and_versions_are_told_apart() {
    assert!(matches!(error(b"".to_vec()), FormatErrorKind::NotGguf { .. }));
    assert!(matches!(error(b"PK\x03\x04 and more".to_vec()), FormatErrorKind::NotGguf { .. }));
    assert!(matches!(error(b"GGU".to_vec()), FormatErrorKind::NotGguf { .. }));
    assert!(matches!(error(b"GGUF\x03".to_vec()), FormatErrorKind::Truncated { .. }));
    assert!(matches!(error(b"version https://git-lfs.github.com/spec/v1\n".to_vec()), FormatErrorKind::LfsPointer));
    for version in [0, 1, 4] {
        let mut bytes = header(0, 0);
        bytes[4] = version;
        let text = error(bytes).to_string();
        assert_eq!(text, format!("the GGUF version is {version}; expected 2 or 3"));
    }
    let mut bytes = header(0, 0);
    bytes[4..8].reverse();
    assert!(matches!(error(bytes), FormatErrorKind::BigEndian));
    let mut bytes = header(0, 0);
    bytes[..4].reverse();
    assert!(matches!(error(bytes), FormatErrorKind::BigEndian));
}

#[test]
fn counts_are_checked_before_they_are_believed() {
    for (tensors, pairs, left) in [(0, 1 << 60, 56), (1 << 60, 0, 56), (u64::MAX, u64::MAX, 56), (0, 5, 56), (3, 0, 56)]
    {
        let mut bytes = header(tensors, pairs);
        bytes.resize(80, 0);
        let FormatErrorKind::Truncated { available, needed, .. } = error(bytes) else {
            panic!("expected a truncation");
        };
        assert_eq!(available, left);
        assert!(needed > left);
    }
}

#[test]
fn lengths_of_strings_and_arrays_are_checked_before_they_are_believed() {
    let huge = |length: u64| length.to_le_bytes().to_vec();
    let array = |ty: u32, length: u64| [&ty.to_le_bytes(), huge(length).as_slice()].concat();
    let mut files = vec![pair(8, &huge(1 << 62)), pair(8, &huge(u64::MAX))];
    for ty in 0..13 {
        for length in [2, 1 << 60, (1 << 61) + 1, u64::MAX] {
            files.push(pair(9, &array(ty, length)));
        }
    }
    for bytes in files {
        let length = u64::try_from(bytes.len()).unwrap();
        let FormatErrorKind::Truncated { available, needed, what, .. } = error(bytes) else {
            panic!("expected a truncation");
        };
        assert!(available < length && needed > available);
        assert_eq!(what, "key");
    }
}

#[test]
fn bad_values_are_refused() {
    let text = error(pair(13, &[0; 8])).to_string();
    assert_eq!(text, "key is a value of type 13; expected one of the types 0 to 12");
    assert_eq!(error(pair(7, &[2])).to_string(), "key is the boolean 2; expected 0 or 1");
    assert!(matches!(
        error(pair(8, &[&1_u64.to_le_bytes(), [0xff].as_slice()].concat())),
        FormatErrorKind::BadUtf8 { .. }
    ));
    // Arrays that are nested 1000 levels deep.
    let level = [&9_u32.to_le_bytes(), 1_u64.to_le_bytes().as_slice()].concat();
    let text = error(pair(9, &level.repeat(1000))).to_string();
    assert!(text.contains("at most 4 levels"), "{text}");
    let twice = GgufWriter::new().pair("a", GgufValue::U8(1)).pair("a", GgufValue::U8(1));
    assert!(matches!(error(twice.to_bytes()), FormatErrorKind::DuplicateKey { .. }));
}

#[test]
fn alignment_has_to_be_a_power_of_two_within_reason() {
    for alignment in [0, 3, 1 << 21, u32::MAX] {
        let bytes =
            [&header(0, 1), &string("general.alignment"), 4_u32.to_le_bytes().as_slice(), &alignment.to_le_bytes()]
                .concat();
        let text = error(bytes).to_string();
        assert!(text.starts_with(&format!("general.alignment is {alignment}; expected a power of two")), "{text}");
    }
    for alignment in [1, 8, 4096] {
        let bytes = GgufWriter::new()
            .pair("general.alignment", GgufValue::U32(alignment))
            .tensor_f32("a", [1], &[1.0])
            .tensor_f32("b", [1], &[2.0])
            .to_bytes();
        let file = open(bytes).unwrap();
        assert_eq!(file.dequantize_tensor("b").unwrap(), [2.0]);
    }
}

#[test]
fn tensors_have_to_fit_the_file() {
    let huge = 1 << 40;
    let cases = [
        (tensor(&[4], 0, 32, 16), "bytes 32 to 48 of 16"),
        (tensor(&[4], 0, u64::MAX - 31, 16), "of 16"),
        (tensor(&[4], 0, 8, 64), "offset of tensor t is 8; expected a multiple of 32"),
        (tensor(&[0], 0, 0, 64), "a dimension of tensor t is 0"),
        (tensor(&[4, 0], 0, 0, 64), "a dimension of tensor t is 0"),
        (tensor(&[1; 5], 0, 0, 64), "dimensions of tensor t is 5; expected at most 4"),
        (tensor(&[huge, huge], 0, 0, 64), "number of elements"),
        (tensor(&[u64::MAX], 0, 0, 64), "length in bytes"),
        (tensor(&[48], 8, 0, 64), "is 48; expected a multiple of 32"),
        (tensor(&[64], 12, 0, 64), "is 64; expected a multiple of 256"),
        (tensor(&[64], 15, 0, 64), "ggml type Q8_K (number 15)"),
        (tensor(&[64], 39, 0, 64), "ggml type MXFP4 (number 39)"),
        (tensor(&[64], 999, 0, 64), "unknown ggml type number 999; supported: F32, F16"),
    ];
    for (bytes, expected) in cases {
        let text = error(bytes).to_string();
        assert!(text.contains(expected), "{text}, expected {expected}");
        assert!(text.contains("tensor t"), "{text}");
    }
    open(tensor(&[4], 0, 0, 16)).unwrap();
    open(tensor(&[], 0, 0, 4)).unwrap();
    let twice = GgufWriter::new().tensor_f32("a", [1], &[1.0]).tensor_f32("a", [1], &[1.0]);
    assert!(matches!(error(twice.to_bytes()), FormatErrorKind::DuplicateTensor { .. }));
}

#[test]
fn a_file_that_shrinks_after_it_was_opened_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shrinking.gguf");
    let values = vec![1.0; 1000];
    GgufWriter::new().tensor_f32("a", [1000], &values).write(&path);
    let file = GgufFile::open(&path).unwrap();
    assert_eq!(file.dequantize_tensor("a").unwrap(), values);
    let open = File::options().write(true).open(&path).unwrap();
    open.set_len(500).unwrap();
    let error = file.read_tensor_bytes("a").unwrap_err();
    assert!(matches!(error.kind(), FormatErrorKind::Truncated { needed: 4000, .. }), "{error}");
    assert!(matches!(GgufFile::open(folder.path()).unwrap_err().kind(), FormatErrorKind::Io(_)));
}

#[test]
fn a_file_that_is_cut_off_says_by_how_much() {
    let bytes = GgufWriter::new()
        .tensor_f32("a", [5], &[1.0; 5])
        .tensor("b", [2, 32], GgmlType::Q8_0, [1; 68])
        .tensor("c", [32], GgmlType::Iq4Nl, [1; 18])
        .to_bytes();
    let file = open(bytes.clone()).unwrap();
    let start = |name: &str| usize::try_from(file.tensor(name).unwrap().offset).unwrap();
    let end = start("c") + 18;
    for found in start("a")..end {
        let text = error(bytes[..found].to_vec()).to_string();
        assert_eq!(text, format!("the file is cut off: {found} of {} bytes; fetch it again", bytes.len()));
    }
    open(bytes[..end].to_vec()).unwrap(); // only padding is missing
    let text = error(bytes[..40].to_vec()).to_string();
    assert!(text.contains("cut off or damaged"), "{text}");
}

#[test]
fn long_text_in_a_file_is_cut_in_messages() {
    let long = "x".repeat(1 << 20);
    let twice = |name: &str| GgufWriter::new().tensor_f32(name, [1], &[1.0]).tensor_f32(name, [1], &[1.0]).to_bytes();
    let pairs = GgufWriter::new().pair(&long, GgufValue::U8(1)).pair(&long, GgufValue::U8(1)).to_bytes();
    let numbers = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
    let described = |numbers: &[u8]| [header(1, 0), string(&long), numbers.to_vec(), vec![0; 64]].concat();
    let files = [
        twice(&long),
        pairs,
        described(&numbers(&[5])),                   // dimensions
        described(&numbers(&[1, 64, 0, 16, 0, 0])),  // an unsupported type
        described(&numbers(&[1, 64, 0, 999, 0, 0])), // an unknown type
        described(&numbers(&[1, 64, 0, 0, 1, 0])),   // a wrong offset
        described(&numbers(&[1, 1 << 31, 1 << 31, 0, 0, 0])),
        [header(0, 1), string(&long), numbers(&[13])].concat(),
        [header(0, 1), string(&long), numbers(&[8, 1 << 31, 0])].concat(),
    ];
    for bytes in files {
        let text = error(bytes).to_string();
        assert!(text.contains("xxx...") && text.len() < 400, "{text}");
    }
}

/// Returns part `number` (from 0) of `count`, with one tensor that holds its number.
fn part(number: u16, count: u16, tensors: i32) -> GgufWriter {
    GgufWriter::new()
        .pair("split.no", GgufValue::U16(number))
        .pair("split.count", GgufValue::U16(count))
        .pair("split.tensors.count", GgufValue::I32(tensors))
        .tensor_f32(format!("t{number}"), [1], &[f32::from(number)])
}

/// The names of the three parts.
const PARTS: [&str; 3] = ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"];

fn three_parts() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (number, name) in (0..).zip(PARTS) {
        let name_pair = GgufValue::String(format!("part {number}"));
        part(number, 3, 3).pair("general.name", name_pair).write(folder.path().join(name));
    }
    folder
}

#[test]
fn the_parts_of_a_split_file_look_like_one_file() {
    let folder = three_parts();
    let first = folder.path().join(PARTS[0]);
    let file = GgufFile::open(&first).unwrap();
    assert_eq!(file.path(), first);
    assert_eq!(file.metadata().get_str("general.name").unwrap(), "part 0");
    assert!(file.tensors().map(|(name, _)| name).eq(["t0", "t1", "t2"]));
    for (name, value) in [("t0", 0.0), ("t1", 1.0), ("t2", 2.0)] {
        assert_eq!(file.tensor(name).unwrap().shape, [1]);
        assert_eq!(file.dequantize_tensor(name).unwrap(), [value]);
    }
    let second = folder.path().join(PARTS[1]);
    File::options().write(true).open(&second).unwrap().set_len(100).unwrap();
    assert_eq!(file.read_tensor_bytes("t1").unwrap_err().path(), second);
    let error = GgufFile::open(&first).unwrap_err();
    assert_eq!(error.path(), second);
    assert!(matches!(error.kind(), FormatErrorKind::CutOff { found: 100, .. } | FormatErrorKind::Truncated { .. }));
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let refused = |change: &dyn Fn(&Path), opened: &str, expected: &str| {
        let folder = three_parts();
        change(folder.path());
        let text = GgufFile::open(folder.path().join(opened)).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}, expected {expected}");
    };
    let instead = |number: usize, part: GgufWriter| move |folder: &Path| part.write(folder.join(PARTS[number]));
    let first_part = "part 2 of 3 of a split file; open the first part, m-00001-of-00003.gguf,";
    refused(&|_| (), PARTS[1], first_part);
    refused(&|folder| std::fs::remove_file(folder.join(PARTS[1])).unwrap(), PARTS[0], "lacks m-00002-of-00003.gguf;");
    let rename = |folder: &Path| std::fs::rename(folder.join(PARTS[0]), folder.join("m.gguf")).unwrap();
    refused(&rename, "m.gguf", "is m.gguf; expected a name that ends in -00001-of-00003.gguf");
    let rename = |folder: &Path| std::fs::rename(folder.join(PARTS[1]), folder.join("m.gguf")).unwrap();
    refused(&rename, "m.gguf", "open the first part, *-00001-of-00003.gguf,");
    for (other, expected) in [
        (part(2, 3, 3), "the file is part 3 of 3 of a split file with 3 tensors in all; expected part 2 of 3"),
        (part(1, 4, 3), "the file is part 2 of 4"),
        (part(1, 3, 4), "with 4 tensors in all; expected part 2 of 3 of a split file with 3 tensors in all"),
        (GgufWriter::new(), "the file is no part of a split file; expected part 2 of 3"),
        (part(1, 3, 3).tensor_f32("t0", [1], &[0.0]), "tensor t0 occurs twice"),
        (part(1, 3, 3).tensor_f32("t3", [1], &[0.0]), "in all parts is 4; expected 3, as split.tensors.count says"),
        (part(1, 3, -1), "split.tensors.count holds -1"),
    ] {
        refused(&instead(1, other), PARTS[0], expected);
    }
    let many = GgufWriter::new().pair("split.count", GgufValue::U64(u64::MAX)).pair("split.no", GgufValue::U8(0));
    refused(&instead(0, many), PARTS[0], "split.count is 18446744073709551615; expected at most");
    let without_place = GgufWriter::new().pair("split.count", GgufValue::U8(3));
    refused(&instead(0, without_place), PARTS[0], "split.no is missing");
}

#[test]
fn a_part_in_memory_is_refused() {
    let error = open(part(1, 3, 3).to_bytes()).unwrap_err();
    assert!(matches!(error.kind(), FormatErrorKind::PartInMemory { part: 2, count: 3 }), "{error}");
    // Merged files and files of one part.
    for count in [0, 1] {
        open(part(0, count, 1).to_bytes()).unwrap();
    }
}
