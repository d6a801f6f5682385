//! Tokens that structure text.

/// The tokens with a role, as text; chat templates refer to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Starts a text.
    pub bos: Option<String>,
    /// Ends a text or a turn.
    pub eos: Option<String>,
    /// Stands for what the vocabulary cannot express.
    pub unk: Option<String>,
    /// Fills up batches.
    pub pad: Option<String>,
}
