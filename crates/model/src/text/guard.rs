//! Turns panics inside the `tokenizers` library into errors.
//!
//! Version 0.23 panics on some malformed input: its deserializers call `expect`, and the regular expressions of a
//! pre-tokenizer panic when matching exceeds a limit, which no check of the file can foresee. Known causes are refused
//! beforehand (`precheck`); other panics are caught here. In programs built with `panic = "abort"` they cannot be
//! caught.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::{TextError, TextErrorKind};

/// Runs `work`, and turns a panic in it into [`TextErrorKind::Panicked`]. `origin` names the work in errors.
///
/// After a panic, callers drop the value that `work` was changing, so that nobody sees it half changed.
pub(super) fn guarded<T>(origin: &str, work: impl FnOnce() -> Result<T, TextErrorKind>) -> Result<T, TextError> {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let message = payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()))
            .unwrap_or_else(|| "no message".to_owned());
        Err(TextErrorKind::Panicked { message })
    });
    result.map_err(|kind| kind.at(origin))
}
