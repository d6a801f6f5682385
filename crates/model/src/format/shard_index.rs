//! The index of a sharded safetensors checkpoint, as the Hugging Face
//! `transformers` library writes it (`model.safetensors.index.json`).

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::data_reader::length;
use super::error::FormatErrorKind;
use super::header_reader::HeaderReader;
use super::safetensors_file::MAX_HEADER;
use crate::files::Input;

/// A map from tensor names to the file names of their shards.
pub(super) type WeightMap = BTreeMap<String, String>;

/// Reads an index file and checks it.
pub(super) fn read(mut file: Box<dyn Input>) -> Result<WeightMap, FormatErrorKind> {
    let found = length(&mut file)?;
    if found > MAX_HEADER {
        return Err(FormatErrorKind::HeaderTooLarge { found, limit: MAX_HEADER });
    }
    let json = HeaderReader::new(file.take(found), found).bytes("the index", found)?;
    parse(&json)
}

/// Parses an index; every shard name in the result is a plain file name.
pub(super) fn parse(json: &[u8]) -> Result<WeightMap, FormatErrorKind> {
    let index: RawIndex = serde_json::from_slice(json)?;
    let mut weight_map = WeightMap::new();
    for (tensor, shard) in index.weight_map.0 {
        if !is_plain_file_name(&shard) {
            return Err(FormatErrorKind::BadShardName { tensor, found: shard });
        }
        if weight_map.contains_key(&tensor) {
            return Err(FormatErrorKind::DuplicateTensor { tensor });
        }
        weight_map.insert(tensor, shard);
    }
    Ok(weight_map)
}

/// Returns `true` if a name, joined to a folder, stays in that folder on every operating system: it has no separators
/// and no drive, and is neither `.` nor `..`.
fn is_plain_file_name(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && !name.contains(|c: char| matches!(c, '/' | '\\' | ':') || c.is_control())
}

/// The part of the index that is read. Its `metadata` is ignored: it only repeats
/// what the shards say.
#[derive(Debug, Deserialize)]
struct RawIndex {
    weight_map: Entries<String>,
}

/// The entries of a JSON object in the order of the text.
///
/// Entries with the same key are all kept, unlike in the maps of the standard
/// library, so that an index that lists a tensor twice can be refused.
#[derive(Debug)]
struct Entries<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for EntriesVisitor<V> {
    type Value = Entries<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}
