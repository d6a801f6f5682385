//! Work shared out over threads.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a caller that is done waits awake for the others.
const AWAKE: Duration = Duration::from_micros(50);

/// Runs `work` on every job, one of them on the calling thread.
///
/// `rayon`'s parallel iterators park a caller that is none of its workers, which costs more than a small product; a
/// scope in place lets it work. Its end would park the caller too, unless all others are done by then; they mostly are
/// about to be, so it waits awake for a moment. A caller that is a worker does not: a scope's end makes it look for work.
pub(super) fn run_all<J: Send>(jobs: Vec<J>, work: impl Fn(J) + Sync) {
    let work = &work;
    let mut jobs = jobs.into_iter();
    let Some(mine) = jobs.next() else { return };
    if jobs.len() == 0 {
        return work(mine);
    }
    let left = AtomicUsize::new(jobs.len());
    rayon::in_place_scope(|scope| {
        for job in jobs {
            let left = &left;
            scope.spawn(move |_| {
                work(job);
                left.fetch_sub(1, Ordering::Release);
            });
        }
        work(mine);
        if rayon::current_thread_index().is_none() {
            wait_awake(&left);
        }
    });
}

/// Until nothing is left, or for as long as waiting awake is worth it.
fn wait_awake(left: &AtomicUsize) {
    let started = Instant::now();
    while left.load(Ordering::Acquire) > 0 && started.elapsed() < AWAKE {
        spin_loop();
    }
}
