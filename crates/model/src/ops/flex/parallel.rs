//! Work divided among threads.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The longest time that a caller which has finished its job waits awake for the others.
const AWAKE: Duration = Duration::from_micros(50);

/// Runs `work` on every job, one of them on the calling thread.
///
/// `rayon`'s parallel iterators park a caller that is not one of its workers, which costs more than a small product; an
/// in-place scope lets the caller work. The end of the scope would park it too unless all other jobs are done by then.
/// Mostly they are about to be, so the caller waits awake for a moment. A caller that is a worker need not wait: at the
/// end of a scope it looks for other work.
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

/// Waits until no job is left, or until waiting awake is no longer worth it.
fn wait_awake(left: &AtomicUsize) {
    let started = Instant::now();
    while left.load(Ordering::Acquire) > 0 && started.elapsed() < AWAKE {
        spin_loop();
    }
}
