//! Distribution of work among threads.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The longest time that a caller spins after its own job, while other jobs are still running.
const AWAKE: Duration = Duration::from_micros(50);

/// Runs `work` on every job, one of them on the calling thread.
///
/// `rayon`'s parallel iterators park a caller that is not one of its workers, which costs more than a small product; an
/// in-place scope lets the caller work. The end of the scope would park it too, unless all other jobs are done by then.
/// Usually they are almost done, so the caller spins for a moment first. A caller that is a worker need not spin: at
/// the end of a scope it looks for other work.
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

/// Spins until no job is left, or for at most [`AWAKE`].
fn wait_awake(left: &AtomicUsize) {
    let started = Instant::now();
    while left.load(Ordering::Acquire) > 0 && started.elapsed() < AWAKE {
        spin_loop();
    }
}
