//! The progress of long runs, on standard error: a bar in a terminal, and lines in the log of a batch job.

use crate::output::escape_codes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The least time between two lines.
const PAUSE: Duration = Duration::from_mins(1);
/// The width of a line, in characters.
const WIDTH: u16 = 120;

/// Returns a progress bar on standard error in `indicatif`'s template syntax. It is hidden if `quiet`. Where standard error
/// is no terminal, or escape codes are not wanted, the bar is written as a line once a minute.
pub fn progress_bar(quiet: bool, template: &str) -> ProgressBar {
    let target = if quiet {
        ProgressDrawTarget::hidden()
    } else if io::stderr().is_terminal() && escape_codes() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::term_like_with_hz(Box::new(Lines::new(Box::new(io::stderr()))), 1)
    };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A terminal without a cursor, which writes what it is to show as a line now and then.
struct Lines(Mutex<State>);

struct State {
    out: Box<dyn Write + Send>,
    /// The text of the latest drawing.
    shown: String,
    /// The time of the latest line; at first that of the start.
    latest: Instant,
}

impl Lines {
    fn new(out: Box<dyn Write + Send>) -> Self {
        Self(Mutex::new(State { out, shown: String::new(), latest: Instant::now() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, text: &str) {
        self.state().shown.push_str(text);
    }

    /// Ends a drawing at this time.
    fn drawn(&self, now: Instant) -> io::Result<()> {
        let mut state = self.state();
        let shown = std::mem::take(&mut state.shown);
        if shown.trim().is_empty() || now.duration_since(state.latest) < PAUSE {
            return Ok(());
        }
        state.latest = now;
        writeln!(state.out, "{}", shown.trim())?;
        state.out.flush()
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl TermLike for Lines {
    fn width(&self) -> u16 {
        WIDTH
    }

    fn move_cursor_up(&self, _n: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _n: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _n: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _n: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.show(s);
        Ok(())
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.show(s);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.drawn(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_gets_a_line_a_minute() {
        let log = Log::default();
        let lines = Lines::new(Box::new(log.clone()));
        let begun = Instant::now();
        for second in 0..=200 {
            lines.write_str(&format!("{second} of 200")).unwrap();
            lines.write_str("   ").unwrap();
            lines.drawn(begun + Duration::from_secs(second)).unwrap();
        }
        lines.drawn(begun + Duration::from_secs(400)).unwrap();
        let numbers: Vec<u64> =
            log.text().lines().map(|line| line.strip_suffix(" of 200").unwrap().parse().unwrap()).collect();
        assert_eq!(numbers.len(), 3, "{numbers:?}");
        assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] == 60), "{numbers:?}");
    }

    #[test]
    fn a_bar_draws_on_it() {
        let log = Log::default();
        let lines = Lines::new(Box::new(log.clone()));
        lines.state().latest = Instant::now().checked_sub(PAUSE).unwrap();
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(lines), 20);
        let bar = ProgressBar::with_draw_target(Some(8), target);
        bar.set_style(ProgressStyle::with_template("steps {bar:4} {pos} of {len}").unwrap());
        bar.set_position(2);
        bar.tick();
        bar.finish_and_clear();
        let text = log.text();
        assert!(text.starts_with("steps ") && text.ends_with(" 2 of 8\n") && text.lines().count() == 1, "{text:?}");
    }
}
