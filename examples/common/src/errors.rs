//! Errors printed with their causes.

use crate::interrupt::{self, Interrupted};
use crate::output::tell;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

/// Joins the messages of an error and of its causes with colons.
pub fn chain(error: &dyn Error) -> String {
    let messages = std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string);
    messages.collect::<Vec<_>>().join(": ")
}

/// The exit status of a program whose standard output was closed, as shells report it: 128 and the number of the signal
/// that ends most programs then.
const CLOSED_OUTPUT: u8 = 141;

/// Runs an example and converts its result to the exit code of `main`; prints an error and its causes to standard error.
///
/// Panics of a GPU backend's own threads print nothing: tuning tries kernels that a device may refuse, and a panic that
/// matters comes back as an error of the run. One panic ends the program: it says that the device was lost. During tuning, the
/// backend would wait for ever after it.
///
/// Two ends are no errors and print nothing: [`Interrupted`], and a standard output whose reader has gone, as in
/// `generate .. | head`.
pub fn main_of(run: impl FnOnce() -> Result<(), Box<dyn Error>>) -> ExitCode {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str().is_some_and(|message| message.starts_with(LOST)) {
            tell(format_args!("error: the GPU was lost\n"));
            std::process::exit(1);
        }
        if !std::thread::current().name().is_some_and(of_a_device) {
            hook(panic);
        }
    }));
    let Err(error) = run() else { return ExitCode::SUCCESS };
    if error.is::<Interrupted>() {
        return ExitCode::from(interrupt::STATUS);
    }
    if is_closed_output(error.as_ref()) {
        return ExitCode::from(CLOSED_OUTPUT);
    }
    tell(format_args!("error: {}\n", chain(error.as_ref())));
    ExitCode::FAILURE
}

/// The beginning of the panic of the thread that waits for a Vulkan device which is lost (wgpu 30).
const LOST: &str = "Error in Device::poll";

/// Returns `true` for the names of the threads on which `CubeCL` talks to a device.
fn of_a_device(thread: &str) -> bool {
    thread.starts_with("DSU-") || thread.starts_with("DSD-")
}

/// Returns `true` for the error of writing to a standard output whose reader has gone. Only the error itself counts,
/// not its causes: the errors of files name the file, and have the system's error as their cause.
fn is_closed_output(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
    let json = || error.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
    io.or_else(json) == Some(ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_output_is_told_from_a_closed_file() {
        let closed = || io::Error::from(ErrorKind::BrokenPipe);
        let json = serde_json::Error::io(closed());
        for (error, expected) in [
            (Box::<dyn Error>::from(closed()), true),
            (json.into(), true),
            (io::Error::from(ErrorKind::StorageFull).into(), false),
            (format!("pipe: {}", closed()).into(), false),
        ] {
            assert_eq!(is_closed_output(error.as_ref()), expected, "{error}");
        }
    }
}
