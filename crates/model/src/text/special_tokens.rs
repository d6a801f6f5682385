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
