//! Items: prompts with their references.

use dynlayer_model::Digest;
use serde::{Deserialize, Serialize};

/// A prompt, with the reference that its outputs are scored against.
///
/// ```
/// use dynlayer_inference::oracle::Item;
///
/// let item = Item { id: 3, prompt: vec![1, 5, 9], reference: "a cat".to_owned(), reference_tokens: vec![7, 8] };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// The digest of the prompt and the reference.
    pub(super) fn digest(&self) -> Digest {
        let tokens = Digest::of_tokens([&self.prompt[..], &self.reference_tokens]);
        Digest::of([tokens.as_ref(), self.reference.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_tells_items_apart() {
        let item = |prompt: &[u32], reference: &str, tokens: &[u32]| Item {
            prompt: prompt.to_vec(),
            reference: reference.into(),
            reference_tokens: tokens.to_vec(),
            id: 0,
        };
        let all = [item(&[1, 2], "a", &[]), item(&[1], "a", &[2]), item(&[1, 2], "b", &[]), item(&[2, 1], "a", &[])];
        let digests: std::collections::HashSet<Digest> = all.iter().map(Item::digest).collect();
        assert_eq!(digests.len(), all.len());
    }
}
