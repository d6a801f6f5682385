//! A choice, relative to another one.

/// A choice that changes some groups of another one.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    pub cost: i64,
    pub gain: i64,
    /// Groups and their items.
    pub picks: Vec<(u32, u32)>,
}
