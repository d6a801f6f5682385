//! How far a load has come.

/// How far a load has come: reported before the first tensor and after each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The tensor that was read last; empty before the first.
    pub tensor: &'a str,
    /// Bytes of the file's tensors read so far.
    pub done: u64,
    /// Bytes of all tensors that will be read.
    pub total: u64,
}
