//! Merging the files of shards.

use super::journal::{self, Journal, RawItem};
use super::{Header, Item, MeasuredItem, OracleError, OracleResults, OracleRun};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

impl OracleRun<'_> {
    /// Merges the files of shards into the file of the whole run, which this run then finds finished. Its bytes are those
    /// of a run without shards, but for wall times, where all processors compute alike.
    ///
    /// Merging again gives the same file. The run itself has no [shard](super::OracleOptions::shard).
    ///
    /// # Errors
    /// [`OracleError`]: if a file is of another run, has items that are not of this one, or an item comes twice or is
    /// missing. Then `file` is unchanged. So it is if it has items of another run.
    pub fn merge(
        &self,
        shards: impl IntoIterator<Item = impl AsRef<Path>>,
        file: impl AsRef<Path>,
        items: &[Item],
    ) -> Result<OracleResults, OracleError> {
        let file = file.as_ref();
        self.check(items)?;
        if let Some(shard) = self.options.shard {
            let (option, expected) = ("shard", "none, to merge all".to_owned());
            return Err(OracleError::Option { option, expected, found: shard.to_string() });
        }
        let header = Header::new(self)?;
        let by_id: HashMap<u64, &Item> = items.iter().map(|item| (item.id, item)).collect();
        let mut found: HashMap<u64, (Vec<u8>, MeasuredItem, PathBuf)> = HashMap::new();
        for shard in shards {
            let shard = shard.as_ref();
            let (of_shard, lines) = journal::read_raw(shard)?;
            header.check(&of_shard.without_shard(), shard)?;
            for RawItem { line, bytes, item } in lines {
                let id = item.sequence;
                journal::check_item(shard, line, by_id.get(&id).copied(), &item)?;
                if let Some((.., other)) = found.insert(id, (bytes, item, shard.to_owned())) {
                    return Err(OracleError::Twice { id, file: shard.to_owned(), other });
                }
            }
        }
        let missing: Vec<u64> = items.iter().map(|item| item.id).filter(|id| !found.contains_key(id)).collect();
        if let Some(first) = missing.first() {
            return Err(OracleError::Missing { missing: missing.len(), total: items.len(), first: *first });
        }
        // Refuses the file of another run or of other items.
        let (journal, _) = Journal::open(file, &header, &items.iter().collect::<Vec<_>>())?;
        let in_order = items.iter().filter_map(|item| found.remove(&item.id));
        let (lines, items): (Vec<_>, Vec<_>) = in_order.map(|(bytes, item, _)| (bytes, item)).unzip();
        journal.replace(&header, &lines.concat())?;
        Ok(OracleResults { items })
    }
}
