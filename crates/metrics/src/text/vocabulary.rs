//! Numbering of tokens.

use super::tokenize::each_token;
use std::collections::HashMap;

/// A numbering of tokens: equal tokens get equal numbers, from 0 in the order of their first occurrence.
#[derive(Default)]
pub(super) struct Vocabulary(HashMap<Vec<u8>, u32>);

impl Vocabulary {
    /// Returns the numbers of a text's tokens, after giving new tokens the next free numbers.
    pub fn tokens(&mut self, text: &str, stem: bool) -> Vec<u32> {
        let mut ids = Vec::new();
        each_token(text, stem, |token| {
            let id = match self.0.get(token) {
                Some(&id) => id,
                None => {
                    // A text of 2^32 distinct tokens would take more than 2^35 bytes.
                    let id = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
                    self.0.insert(token.to_vec(), id);
                    id
                }
            };
            ids.push(id);
        });
        ids
    }

    /// Number of distinct tokens.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
