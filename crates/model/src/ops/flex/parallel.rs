//! Work shared out over threads.

/// Runs `work` on every job, one of them on the calling thread.
///
/// `rayon`'s parallel iterators park a caller that is none of its workers, which costs more than a small product; a
/// scope in place lets it work.
pub(super) fn run_all<J: Send>(jobs: Vec<J>, work: impl Fn(J) + Sync) {
    let work = &work;
    let mut jobs = jobs.into_iter();
    let Some(mine) = jobs.next() else { return };
    if jobs.len() == 0 {
        return work(mine);
    }
    rayon::in_place_scope(|scope| {
        for job in jobs {
            scope.spawn(move |_| work(job));
        }
        work(mine);
    });
}
