//! The error for an unknown setting name.

/// The error for a text that is not the name of any value of a setting.
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
    /// The name of the setting.
    pub setting: &'static str,
    /// The text that was given, cut to 80 characters.
    pub found: String,
    /// The names of the setting's values, separated by commas.
    pub known: String,
}

/// Finds a setting's value by its name.
pub(crate) fn find<T: Copy>(
    setting: &'static str,
    values: &[T],
    name: impl Fn(T) -> &'static str,
    found: &str,
) -> Result<T, UnknownName> {
    let known = || values.iter().map(|value| name(*value)).collect::<Vec<_>>().join(", ");
    let unknown = || UnknownName { setting, found: found.chars().take(80).collect(), known: known() };
    values.iter().copied().find(|value| name(*value) == found).ok_or_else(unknown)
}
