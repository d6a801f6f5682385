//! Reads the safetensors checkpoint of a folder, in one file or in shards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::error::{FormatError, FormatErrorKind};
use super::safetensors_dtype::SafetensorsDtype;
use super::safetensors_file::SafetensorsFile;
use super::shard_index::{self, WeightMap};
use super::tensor_info::TensorInfo;
use crate::files::{Files, Input};

/// The name of the file that holds a whole checkpoint.
pub(crate) const SINGLE: &str = "model.safetensors";

/// The name of the file that lists the shards.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// Both names, for the error message.
const LOOKED_FOR: &str = "model.safetensors nor model.safetensors.index.json";

/// Weight files of unsupported formats. The error for a folder without safetensors weights lists the ones it finds.
const UNSUPPORTED: [&str; 7] = [
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "consolidated.00.pth",
    "consolidated.safetensors", // of Mistral, with other names than the model's
    "tf_model.h5",
    "flax_model.msgpack",
    "model.onnx",
];

/// The open safetensors files of a folder, seen as one checkpoint.
#[derive(Debug)]
pub struct SafetensorsFolder {
    path: PathBuf,
    shards: Vec<SafetensorsFile>,
    /// The position in `shards` of the file that holds a tensor, by the name of the tensor.
    places: BTreeMap<String, usize>,
    missing: Vec<String>,
}

impl SafetensorsFolder {
    /// Opens `model.safetensors`, or else the shards that
    /// `model.safetensors.index.json` lists, and reads their headers.
    ///
    /// A shard must not hold tensors that the index does not place in it. The index may
    /// list tensors that its shards lack, as some tools leave it: [`missing`](Self::missing).
    ///
    /// # Errors
    ///
    /// [`FormatErrorKind::NoWeights`] when the folder has neither file, and the
    /// errors of [`SafetensorsFile::open`]. Opening also fails if the index is invalid,
    /// names a shard that is missing or outside of the folder, or leaves out a tensor
    /// of a shard.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, FormatError> {
        let folder = folder.as_ref();
        check_folder(folder)?;
        Self::from_files(&Files::Folder(folder.to_path_buf()))
    }

    /// Opens the checkpoint as [`open`](Self::open) does, from files that may be in memory.
    pub(crate) fn from_files(files: &Files) -> Result<Self, FormatError> {
        if exists(files, SINGLE)? {
            Self::from_single(files)
        } else if exists(files, INDEX)? {
            Self::from_index(files)
        } else {
            Err(no_weights(files))
        }
    }

    fn from_single(files: &Files) -> Result<Self, FormatError> {
        let file = open(files, SINGLE)?;
        let places = file.tensors().map(|(name, _)| (name.to_owned(), 0)).collect();
        Ok(Self { path: files.path().to_path_buf(), shards: vec![file], places, missing: Vec::new() })
    }

    fn from_index(files: &Files) -> Result<Self, FormatError> {
        let index = &files.path_of(INDEX);
        let weight_map = shard_index::read(input(files, INDEX)?).map_err(|kind| kind.at(index))?;
        let by_shard = group(&weight_map);
        check_all_there(files, &by_shard)?;

        let (mut shards, mut places, mut missing) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (place, (shard, listed)) in by_shard.into_iter().enumerate() {
            let file = open(files, shard)?;
            check_all_listed(shard, &listed, &file).map_err(|kind| kind.at(index))?;
            missing.extend(listed.into_iter().filter(|name| file.get(name).is_none()).map(str::to_owned));
            places.extend(file.tensors().map(|(name, _)| (name.to_owned(), place)));
            shards.push(file);
        }
        missing.sort_unstable();
        Ok(Self { path: files.path().to_path_buf(), shards, places, missing })
    }

    /// The path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors that the index lists but their shards lack, sorted by name; empty without an index.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Iterates over the names and descriptions of all tensors, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo<SafetensorsDtype>)> {
        self.places.iter().filter_map(|(name, place)| {
            let info = self.shards.get(*place)?.get(name)?;
            Some((name.as_str(), info))
        })
    }

    /// Returns the description of a tensor.
    ///
    /// # Errors
    ///
    /// [`FormatErrorKind::NoSuchTensor`] when the checkpoint has no tensor of that name.
    pub fn tensor(&self, name: &str) -> Result<&TensorInfo<SafetensorsDtype>, FormatError> {
        self.shard_of(name)?.tensor(name)
    }

    /// Reads the bytes of a tensor.
    ///
    /// # Errors
    ///
    /// The same as [`SafetensorsFile::read_tensor_bytes`].
    pub fn read_tensor_bytes(&self, name: &str) -> Result<Vec<u8>, FormatError> {
        self.shard_of(name)?.read_tensor_bytes(name)
    }

    /// Reads the bytes of a range of rows of a tensor.
    ///
    /// # Errors
    ///
    /// The same as [`SafetensorsFile::read_rows`].
    pub fn read_rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<u8>, FormatError> {
        self.shard_of(name)?.read_rows(name, rows)
    }

    fn shard_of(&self, name: &str) -> Result<&SafetensorsFile, FormatError> {
        self.places
            .get(name)
            .and_then(|place| self.shards.get(*place))
            .ok_or_else(|| FormatErrorKind::NoSuchTensor { tensor: name.to_owned() }.at(&self.path))
    }
}

/// The tensors that an index places in each shard.
type ByShard<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

fn group(weight_map: &WeightMap) -> ByShard<'_> {
    let mut by_shard = ByShard::new();
    for (tensor, shard) in weight_map {
        by_shard.entry(shard).or_default().insert(tensor);
    }
    by_shard
}

/// Checks that every shard exists. The error lists all missing ones, since an interrupted download often lacks several.
fn check_all_there(files: &Files, by_shard: &ByShard<'_>) -> Result<(), FormatError> {
    let mut missing = Vec::new();
    for shard in by_shard.keys() {
        if !exists(files, shard)? {
            missing.push((*shard).to_owned());
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(FormatErrorKind::MissingShards { shards: missing }.at(files.path_of(INDEX)))
    }
}

/// Checks that a shard holds only tensors that the index places in it.
fn check_all_listed(shard: &str, listed: &BTreeSet<&str>, file: &SafetensorsFile) -> Result<(), FormatErrorKind> {
    // Tables of rotary frequencies are no weights, and old indexes leave them out.
    let known = |name: &&str| listed.contains(name) || name.contains("rotary_emb.");
    let unlisted: Vec<_> =
        file.tensors().map(|(name, _)| name).filter(|name| !known(name)).map(str::to_owned).collect();
    if unlisted.is_empty() {
        Ok(())
    } else {
        Err(FormatErrorKind::NotInIndex { shard: shard.to_owned(), tensors: unlisted })
    }
}

/// Checks that the path is a folder, so that a missing folder gets a different error than a folder without weights.
fn check_folder(path: &Path) -> Result<(), FormatError> {
    let found = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => io::Error::from(io::ErrorKind::NotADirectory),
        Err(error) => error,
    };
    Err(FormatErrorKind::Io(found).at(path))
}

fn no_weights(files: &Files) -> FormatError {
    let unsupported = UNSUPPORTED.iter().filter(|name| files.exists(name).unwrap_or(false));
    let unsupported = unsupported.map(|name| (*name).to_owned()).collect();
    FormatErrorKind::NoWeights { looked_for: LOOKED_FOR, unsupported }.at(files.path())
}

fn exists(files: &Files, name: &str) -> Result<bool, FormatError> {
    files.exists(name).map_err(|source| FormatErrorKind::Io(source).at(files.path_of(name)))
}

fn input(files: &Files, name: &str) -> Result<Box<dyn Input>, FormatError> {
    files.open(name).map_err(|source| FormatErrorKind::Io(source).at(files.path_of(name)))
}

fn open(files: &Files, name: &str) -> Result<SafetensorsFile, FormatError> {
    SafetensorsFile::from_input(input(files, name)?, files.path_of(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::safetensors_file::tests::{f32_bytes, file_of};

    fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    fn index(entries: &[(&str, &str)]) -> (&'static str, Vec<u8>) {
        let map: BTreeMap<_, _> = entries.iter().copied().collect();
        let json = serde_json::json!({"metadata": {"total_size": 0}, "weight_map": map});
        (INDEX, json.to_string().into_bytes())
    }

    fn shard(tensors: &[(&str, f32)]) -> Vec<u8> {
        let tensors: Vec<_> = tensors.iter().map(|(name, value)| (*name, vec![2], f32_bytes(&[*value; 2]))).collect();
        file_of(&tensors)
    }

    fn message(folder: &tempfile::TempDir) -> String {
        SafetensorsFolder::open(folder.path()).unwrap_err().to_string()
    }

    #[test]
    fn one_file_and_shards_look_alike() {
        let single = folder(&[(SINGLE, shard(&[("a", 1.0), ("b", 2.0)]))]);
        let sharded = folder(&[
            index(&[("a", "1.safetensors"), ("b", "0.safetensors")]),
            ("0.safetensors", shard(&[("b", 2.0)])),
            ("1.safetensors", shard(&[("a", 1.0)])),
        ]);
        for folder in [&single, &sharded] {
            let folder = SafetensorsFolder::open(folder.path()).unwrap();
            let names: Vec<_> = folder.tensors().map(|(name, _)| name).collect();
            assert_eq!(names, ["a", "b"]);
            assert_eq!(folder.read_tensor_bytes("a").unwrap(), f32_bytes(&[1.0; 2]));
            assert_eq!(folder.read_tensor_bytes("b").unwrap(), f32_bytes(&[2.0; 2]));
            assert_eq!(folder.tensor("b").unwrap().shape, [2]);
            assert!(folder.missing().is_empty());
            assert!(matches!(folder.read_tensor_bytes("c").unwrap_err().kind(), FormatErrorKind::NoSuchTensor { .. }));
        }
    }

    #[test]
    fn a_folder_without_weights_says_what_was_looked_for() {
        let text = message(&folder(&[("pytorch_model.bin", vec![])]));
        for part in [SINGLE, INDEX, "pytorch_model.bin", "not supported", "convert them to safetensors"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!message(&folder(&[])).contains("not supported"));
        let missing = folder(&[]).path().join("no");
        assert!(matches!(SafetensorsFolder::open(missing).unwrap_err().kind(), FormatErrorKind::Io(_)));
    }

    #[test]
    fn all_missing_shards_are_named() {
        let entries = [("a", "0.safetensors"), ("b", "1.safetensors"), ("c", "2")];
        let text = message(&folder(&[index(&entries), ("1.safetensors", shard(&[("b", 2.0)]))]));
        assert!(text.contains("lacks 0.safetensors, 2;"), "{text}");
        let entries: Vec<_> = ('a'..='k').map(|name| (name.to_string(), "x".repeat(100) + &name.to_string())).collect();
        let entries: Vec<_> = entries.iter().map(|(name, shard)| (name.as_str(), shard.as_str())).collect();
        let text = message(&folder(&[index(&entries)]));
        assert!(text.contains("..., and 3 more;") && text.len() < 1000, "{text}");
    }

    #[test]
    fn an_index_may_list_tensors_that_no_shard_has() {
        let folder = folder(&[
            index(&[("a", "0.safetensors"), ("c", "1.safetensors"), ("b", "0.safetensors"), ("d", "1.safetensors")]),
            ("0.safetensors", shard(&[("a", 1.0)])),
            ("1.safetensors", shard(&[("d", 1.0)])),
        ]);
        let folder = SafetensorsFolder::open(folder.path()).unwrap();
        assert_eq!(folder.missing(), ["b", "c"]);
        assert!(folder.tensors().map(|(name, _)| name).eq(["a", "d"]));
        assert!(matches!(folder.tensor("b").unwrap_err().kind(), FormatErrorKind::NoSuchTensor { .. }));
    }

    #[test]
    fn an_index_has_to_list_every_tensor_in_its_shard() {
        let extra = folder(&[
            index(&[("a", "0.safetensors"), ("b", "1.safetensors")]),
            ("0.safetensors", shard(&[("a", 1.0), ("b", 9.0), ("c", 9.0)])),
            ("1.safetensors", shard(&[("b", 1.0)])),
        ]);
        let text = message(&extra);
        assert!(text.contains("does not place there: b, c"), "{text}");
        let table = folder(&[
            index(&[("a", "0.safetensors")]),
            ("0.safetensors", shard(&[("a", 1.0), ("model.layers.0.self_attn.rotary_emb.inv_freq", 9.0)])),
        ]);
        assert!(SafetensorsFolder::open(table.path()).is_ok(), "a table of rotary frequencies");
    }

    #[test]
    fn shard_names_cannot_leave_the_folder() {
        for name in ["../a", "/etc/passwd", "a/b", "a\\b", "..", ".", "", "C:a", "a\0b"] {
            let folder = folder(&[index(&[("a", name)])]);
            assert!(
                matches!(
                    SafetensorsFolder::open(folder.path()).unwrap_err().kind(),
                    FormatErrorKind::BadShardName { .. }
                ),
                "{name}"
            );
        }
    }

    #[test]
    fn a_tensor_cannot_be_placed_twice() {
        let json = br#"{"weight_map": {"a": "0", "a": "1"}}"#;
        let folder = folder(&[(INDEX, json.to_vec())]);
        assert!(matches!(
            SafetensorsFolder::open(folder.path()).unwrap_err().kind(),
            FormatErrorKind::DuplicateTensor { .. }
        ));
    }
}
