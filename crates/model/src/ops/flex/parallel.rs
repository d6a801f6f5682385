//! Distribution of work among threads.

use std::sync::{Mutex, PoisonError};

/// The number of multiply-adds below which other threads cost more than they save.
const MIN_WORK: usize = 1 << 16;

/// Runs `work` on every job, on all threads if the jobs have enough multiply-adds in total: who is free takes the next job.
pub(super) fn for_each<J: Send>(multiply_adds: usize, jobs: impl Iterator<Item = J> + Send, work: impl Fn(J) + Sync) {
    if multiply_adds < MIN_WORK {
        return jobs.for_each(work);
    }
    let queue = Mutex::new(jobs);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    dynlayer_cpu::run(&|| {
        while let Some(job) = next() {
            work(job);
        }
    });
}

/// Divides `0..total` into ranges whose lengths are multiples of `unit`, the last one excepted.
///
/// The first ranges are the largest, but at most `most`; the last ones are small, so that threads which are not equally
/// fast, or not free all the time, end at about the same time.
pub(super) fn shares(total: usize, unit: usize, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> + Send {
    let threads = dynlayer_cpu::threads();
    let mut start = 0;
    std::iter::from_fn(move || {
        let left = total - start;
        let share = (left / (2 * threads)).min(most).next_multiple_of(unit).max(unit).min(left);
        start += share;
        (share > 0).then_some(start - share..start)
    })
}
