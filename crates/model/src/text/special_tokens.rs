//! Tokens that structure text.

/// The special tokens, as text, by their role. Chat templates refer to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// The token that starts a text.
    pub bos: Option<String>,
    /// The token that ends a text or a turn.
    pub eos: Option<String>,
    /// The token for text that the vocabulary cannot express.
    pub unk: Option<String>,
    /// The token that pads the shorter texts of a batch.
    pub pad: Option<String>,
}

/// The tokens that end a text or a turn in well-known models, by their text; llama.cpp knows them too.
const ENDS: [&str; 15] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|end|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>",
    "</s>",
    "<eos>",
    "[EOS]",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
];

/// Returns `true` if a token, as it is spelled in the vocabulary, ends a text or a turn in well-known models.
pub(super) fn is_end(token: &str) -> bool {
    ENDS.contains(&token)
}
