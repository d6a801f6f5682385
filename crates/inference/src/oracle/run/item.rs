//! Items: prompts with their references.

use serde::{Deserialize, Serialize};

/// A prompt, with the reference that its outputs are scored against.
///
/// ```
/// use dynlayer_inference::oracle::Item;
///
/// let item = Item { id: 3, prompt: vec![1, 5, 9], reference: "a cat".to_owned(), reference_tokens: vec![7, 8] };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The sequence's id, distinct for each item. Random choices depend on it.
    pub id: u64,
    /// The prompt's token ids, at least one.
    pub prompt: Vec<u32>,
    /// The reference output, for [`Measure::Output`](super::Measure::Output).
    pub reference: String,
    /// The reference as token ids. [`Measure::Likelihood`](super::Measure::Likelihood) needs it; for the other measures
    /// it may be empty.
    pub reference_tokens: Vec<u32>,
}

impl Item {
    /// A digest of the prompt and the reference: FNV-1a, 64 bits, over both token lists, each after its length, and the
    /// reference's text. It does not protect against forgery.
    pub(super) fn digest(&self) -> String {
        let mut digest = Fnv::default();
        for part in [&self.prompt, &self.reference_tokens] {
            digest.add(&(part.len() as u64).to_le_bytes());
            for token in part {
                digest.add(&token.to_le_bytes());
            }
        }
        digest.add(self.reference.as_bytes());
        format!("{:016x}", digest.0)
    }
}

struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_fnv_1a_and_tells_items_apart() {
        let mut digest = Fnv::default();
        digest.add(b"foobar");
        assert_eq!(digest.0, 0x8594_4171_f739_67e8, "a published test vector");
        let item = |prompt: &[u32], reference: &str, tokens: &[u32]| Item {
            prompt: prompt.to_vec(),
            reference: reference.into(),
            reference_tokens: tokens.to_vec(),
            id: 0,
        };
        let all = [item(&[1, 2], "a", &[]), item(&[1], "a", &[2]), item(&[1, 2], "b", &[]), item(&[2, 1], "a", &[])];
        let digests: std::collections::HashSet<String> = all.iter().map(Item::digest).collect();
        assert_eq!(digests.len(), all.len());
    }
}
