//! Ctrl-C: the first one asks the work to stop, the second one ends the program.

use std::sync::atomic::{AtomicBool, Ordering};

/// The exit status of a program that Ctrl-C ended, as shells report it: 128 and the number of the signal.
pub(crate) const STATUS: u8 = 130;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The error of work that Ctrl-C stopped. `main_of` turns it into the exit status 130, without a message: what was done
/// has been reported by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Takes over Ctrl-C: the first one only sets [`requested`], and a second one ends the program at once.
///
/// # Errors
/// If the program has taken over Ctrl-C before, or the system does not allow it.
pub fn watch() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(STATUS));
        }
    })
}

/// Returns `true` once Ctrl-C was pressed.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
