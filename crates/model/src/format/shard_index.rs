//! The index of a sharded safetensors checkpoint, as the Hugging Face
//! `transformers` library writes it (`model.safetensors.index.json`).

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::data_reader::length;
use super::error::FormatError;
use super::header_reader::HeaderReader;
use super::json_map::Entries;
use super::safetensors_file::MAX_HEADER;
use crate::files::Input;

/// File name of the shard of every tensor, by tensor name.
pub(super) type WeightMap = BTreeMap<String, String>;

/// Reads and checks an index file.
pub(super) fn read(mut file: Box<dyn Input>, path: &Path) -> Result<WeightMap, FormatError> {
    let found = length(&mut file, path)?;
    if found > MAX_HEADER {
        return Err(FormatError::HeaderTooLarge { path: path.to_path_buf(), found, limit: MAX_HEADER });
    }
    let json = HeaderReader::new(path, file.take(found), found).bytes("the index", found)?;
    parse(path, &json)
}

/// Parses an index; every shard name in the result is a plain file name.
pub(super) fn parse(path: &Path, json: &[u8]) -> Result<WeightMap, FormatError> {
    let index: RawIndex =
        serde_json::from_slice(json).map_err(|source| FormatError::Json { path: path.to_path_buf(), source })?;
    let mut weight_map = WeightMap::new();
    for (tensor, shard) in index.weight_map.0 {
        if !is_plain_file_name(&shard) {
            return Err(FormatError::BadShardName { path: path.to_path_buf(), tensor, found: shard });
        }
        if weight_map.contains_key(&tensor) {
            return Err(FormatError::DuplicateTensor { path: path.to_path_buf(), tensor });
        }
        weight_map.insert(tensor, shard);
    }
    Ok(weight_map)
}

/// Whether joining the name to a folder stays in that folder on every
/// operating system: no separators, no drive, no `.` and `..`.
fn is_plain_file_name(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && !name.contains(|c: char| matches!(c, '/' | '\\' | ':') || c.is_control())
}

/// The part of the index that is used; `metadata` says nothing that the
/// shards do not say.
#[derive(Debug, Deserialize)]
struct RawIndex {
    weight_map: Entries<String>,
}
