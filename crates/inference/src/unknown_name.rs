//! Names of settings that there are not.

/// A text that names none of a setting's values.
///
/// ```
/// use dynlayer_inference::KvPolicy;
///
/// let error = "forget".parse::<KvPolicy>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown KV policy \"forget\"; known are propagate, deferred, omit");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {setting} {found:?}; known are {known}")]
#[non_exhaustive]
pub struct UnknownName {
    /// What was to be named.
    pub setting: &'static str,
    /// The text.
    pub found: String,
    /// The names there are.
    pub known: String,
}

/// The value of this name among those of a setting.
pub(crate) fn find<T: Copy>(
    setting: &'static str,
    values: &[T],
    name: impl Fn(T) -> &'static str,
    found: &str,
) -> Result<T, UnknownName> {
    let known = || values.iter().map(|value| name(*value)).collect::<Vec<_>>().join(", ");
    let unknown = || UnknownName { setting, found: found.to_owned(), known: known() };
    values.iter().copied().find(|value| name(*value) == found).ok_or_else(unknown)
}
