//! Values that are borrowed or shared.

use std::ops::Deref;
use std::sync::Arc;

/// A value that is either borrowed or shared by reference count, so that one type serves both short calls and structs
/// that own their parts.
///
/// ```
/// use dynlayer_inference::Shared;
/// use std::sync::Arc;
///
/// let text = String::from("borrowed");
/// let borrowed: Shared<'_, String> = (&text).into();
/// let shared: Shared<'static, String> = Arc::new(text.clone()).into();
/// assert_eq!(*borrowed, *shared);
/// ```
#[derive(Debug)]
pub enum Shared<'a, T> {
    /// A borrowed value.
    Borrowed(&'a T),
    /// A shared value.
    Counted(Arc<T>),
}

impl<T> Clone for Shared<'_, T> {
    fn clone(&self) -> Self {
        match self {
            Self::Borrowed(value) => Self::Borrowed(value),
            Self::Counted(value) => Self::Counted(value.clone()),
        }
    }
}

impl<T> Deref for Shared<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Borrowed(value) => value,
            Self::Counted(value) => value,
        }
    }
}

impl<'a, T> From<&'a T> for Shared<'a, T> {
    fn from(value: &'a T) -> Self {
        Self::Borrowed(value)
    }
}

impl<T> From<Arc<T>> for Shared<'_, T> {
    fn from(value: Arc<T>) -> Self {
        Self::Counted(value)
    }
}
