//! Things that kernels for processors need and safe Rust has not: a crew of threads that shares work of a few microseconds and
//! stays awake in between, [memory in large pages](in_large_pages), [`prefetch`], and conversion of `f16` ([`F16c`]).
//!
//! Part of dynlayer, whose processor kernels split products of 5 to 200 µs, some 150 for each token. A pool for larger
//! work puts its threads to sleep between two products, and makes a caller wait for threads that have not begun. Here
//! threads wait for work without sleeping while an [`Awake`] guard is held, and a caller waits only for threads that
//! have begun.
//!
//! Work is a closure that takes its parts from a queue until none is left:
//!
//! ```
//! use std::sync::Mutex;
//!
//! let mut squares = vec![0; 1000];
//! let parts = Mutex::new(squares.chunks_mut(100).enumerate());
//! let _awake = dynlayer_cpu::awake(); // for all calls of `run` that follow
//! dynlayer_cpu::run(&|| loop {
//!     // Not `while let`, which would hold the lock while it works on the part.
//!     let Some((index, part)) = parts.lock().unwrap().next() else { break };
//!     for (offset, square) in part.iter_mut().enumerate() {
//!         *square = (100 * index + offset).pow(2);
//!     }
//! });
//! assert_eq!(squares[999], 999 * 999);
//! ```
//!
//! There is one crew for the whole process, made of the callers and of *helpers*, which are threads that the first
//! calls start. A thread counts as a caller while it is inside [`run`] or holds a guard. Callers count among the
//! [`threads()`]: with `k` of them at most `threads() - k` helpers take part, so that two generations at the same time
//! on two cores each run on a thread of their own. Helpers that may not take part sleep.

#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(target_arch = "x86_64")]
mod f16c;
#[cfg(target_os = "linux")]
mod pages;
mod prefetch;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
pub use f16c::F16c;
#[cfg(target_os = "linux")]
pub use pages::{LargePages, in_large_pages};
pub use prefetch::prefetch;

use std::any::Any;
use std::cell::Cell;
use std::marker::PhantomData;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, hint, mem, thread};

/// The time after which an awake helper without work offers its core to other processes between two looks.
const HELPER_SPIN: Duration = Duration::from_micros(50);
/// The time after which a caller that waits for a helper sleeps. A helper that lost its core can then move to the
/// caller's.
const CALLER_SPIN: Duration = Duration::from_micros(20);

static CREW: LazyLock<Crew> = LazyLock::new(Crew::new);

thread_local! {
    /// The number of guards that the thread holds, so that a caller counts once. Helpers start with one that does not
    /// count: what they call is part of their caller's work.
    static GUARDS: Cell<usize> = const { Cell::new(0) };
    /// True while the thread is inside of work.
    static WORKING: Cell<bool> = const { Cell::new(false) };
}

/// Calls `work` on the calling thread and, at the same time, at most once on each helper; returns when all calls that
/// began have ended.
///
/// `work` takes its parts from a shared queue, so that the result does not depend on how many helpers come. None may
/// come, so `work` must not wait for them. It runs on the calling thread alone if another caller has the helpers, and
/// if it is called from inside of other work.
///
/// Without a guard of [`awake`] the call first wakes the helpers: they come late, often after a small work has ended.
///
/// # Panics
///
/// If a call of `work` panics, with the same payload, after all calls that began have ended. If several panic, the
/// payload is the caller's or else that of one helper.
pub fn run(work: &(dyn Fn() + Sync)) {
    if WORKING.get() {
        return work();
    }
    let _awake = awake();
    let helpers = CREW.doors.helpers.load(Relaxed);
    let result = if helpers > 0 && !CREW.busy.swap(true, Acquire) { CREW.share(helpers, work) } else { call(work) };
    if let Err(payload) = result {
        resume_unwind(payload);
    }
}

/// The number of threads that share the work, callers included.
///
/// Set by [`set_threads`]; before, the number in the environment variable `RAYON_NUM_THREADS`, or else, and if it is 0,
/// [`std::thread::available_parallelism`].
pub fn threads() -> usize {
    CREW.threads.load(Relaxed)
}

/// Sets the number of [`threads()`], at any time.
///
/// The crew grows when there is work for more helpers. With fewer threads the surplus helpers sleep, once they have
/// ended the work that they are at. Should the system start no more threads, the number falls to those that there are.
pub fn set_threads(n: NonZero<usize>) {
    CREW.change(|_| CREW.threads.store(n.get(), Relaxed));
}

/// Keeps the helpers awake until the guard is dropped: they wait for work without sleeping, and keep their cores busy.
///
/// Hold it while a pass of a model runs, and only then. The calling thread counts as one caller, with any number of
/// guards.
pub fn awake() -> Awake {
    let guards = GUARDS.get();
    GUARDS.set(guards + 1);
    if guards == 0 {
        CREW.change(|callers| *callers += 1);
    }
    Awake(PhantomData)
}

/// Keeps the helpers awake while it exists; made by [`awake`].
///
/// Not `Send`: the thread that made it counts as a caller, and drops it.
#[must_use = "the helpers sleep again as soon as the guard is dropped"]
#[derive(Debug)]
pub struct Awake(PhantomData<*const ()>);

impl Drop for Awake {
    fn drop(&mut self) {
        let guards = GUARDS.get() - 1;
        GUARDS.set(guards);
        if guards == 0 {
            CREW.change(|callers| *callers -= 1);
        }
    }
}

type Work<'a> = dyn Fn() + Sync + 'a;

/// The state that callers and helpers share. What different threads write at the same time is on different cache lines.
struct Crew {
    doors: Line<Doors>,
    slot: Line<Mutex<Slot>>,
    /// The helpers that are at the work of the slot: counted in under the lock of the slot while it has work.
    running: Line<AtomicUsize>,
    /// True while a caller has the helpers. That caller alone changes the slot's work, the generation and `spawned`.
    busy: Line<AtomicBool>,
    /// True while the caller that has the helpers sleeps until `running` is 0.
    caller_sleeps: AtomicBool,
    /// Wakes that caller; used with the lock of the slot.
    done: Condvar,
    /// The number of callers. `threads` and `doors.helpers` change under its lock.
    callers: Mutex<usize>,
    /// Wakes helpers; used with the lock of `callers`.
    wake: Condvar,
    threads: AtomicUsize,
    /// The number of helpers that exist.
    spawned: AtomicUsize,
}

/// Values that awake helpers look at all the time.
struct Doors {
    /// Counts the works that were in the slot.
    generation: AtomicUsize,
    /// The number of helpers that may take part, which are those with the lowest indices, from 1.
    helpers: AtomicUsize,
}

struct Slot {
    work: Option<&'static Work<'static>>,
    /// The first panic of a helper in this work.
    panic: Option<Box<dyn Any + Send>>,
}

/// A value on cache lines of its own: two, since processors fetch them in pairs.
#[repr(align(128))]
struct Line<T>(T);

impl<T> std::ops::Deref for Line<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl Crew {
    fn new() -> Self {
        let set =
            env::var("RAYON_NUM_THREADS").ok().and_then(|number| number.parse().ok()).filter(|&number| number > 0);
        let threads = set.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
        Self {
            doors: Line(Doors { generation: AtomicUsize::new(0), helpers: AtomicUsize::new(0) }),
            slot: Line(Mutex::new(Slot { work: None, panic: None })),
            running: Line(AtomicUsize::new(0)),
            busy: Line(AtomicBool::new(false)),
            caller_sleeps: AtomicBool::new(false),
            done: Condvar::new(),
            callers: Mutex::new(0),
            wake: Condvar::new(),
            threads: AtomicUsize::new(threads),
            spawned: AtomicUsize::new(0),
        }
    }

    /// Changes the number of callers or threads, and wakes helpers if more may take part than before.
    fn change(&self, edit: impl FnOnce(&mut usize)) {
        let mut callers = lock(&self.callers);
        edit(&mut callers);
        let helpers = if *callers == 0 { 0 } else { threads().saturating_sub(*callers) };
        let before = self.doors.helpers.swap(helpers, Relaxed);
        drop(callers);
        if helpers > before {
            self.wake.notify_all();
        }
    }

    /// Calls `work` here and on the helpers. The caller has set `busy`.
    #[expect(unsafe_code, reason = "helpers outlive the work, so that its lifetime cannot be in their type")]
    fn share(&'static self, helpers: usize, work: &Work<'_>) -> thread::Result<()> {
        self.grow(helpers);
        // SAFETY: Only the lifetime changes, and no thread uses the reference after this function, during which the
        // borrow lasts.
        // - It is stored in the slot alone, and nobody else stores into the slot meanwhile, since `busy` is set.
        // - A helper copies it in `help` alone, under the slot's lock, and adds 1 to `running` under the same lock. It
        //   uses its copy for one call, and subtracts 1 after the call has ended.
        // - This function empties the slot under the lock, after which no helper can copy, and which makes all
        //   additions visible here. It then waits until `running` is 0, so that all calls have ended.
        // - Nothing in between leaves this function: `call` catches panics of the work, the rest has none, since `lock`
        //   ignores poison. It is no future, so it cannot be dropped half way either.
        // Sharing between threads is allowed, since the work is `Sync`.
        let erased = unsafe { mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        {
            let mut slot = lock(&self.slot);
            slot.work = Some(erased);
            // Under the lock, so that it belongs to the work that a helper finds there.
            self.doors.generation.fetch_add(1, Release);
        }
        let own = call(work);
        lock(&self.slot).work = None;
        self.wait_for_helpers();
        let panic = lock(&self.slot).panic.take();
        self.busy.store(false, Release);
        own.and(panic.map_or(Ok(()), Err))
    }

    /// Starts the helpers that are missing. The caller has set `busy`.
    fn grow(&'static self, helpers: usize) {
        for index in self.spawned.load(Relaxed) + 1..=helpers {
            if thread::Builder::new().name(format!("dynlayer-{index}")).spawn(move || self.help(index)).is_err() {
                return self.change(|callers| self.threads.store(index - 1 + *callers, Relaxed));
            }
            self.spawned.store(index, Relaxed);
        }
    }

    /// Returns when `running` is 0.
    fn wait_for_helpers(&self) {
        if spin(CALLER_SPIN, || self.running.load(Acquire) == 0) {
            return;
        }
        let mut slot = lock(&self.slot);
        // Here `caller_sleeps` is written before `running` is read, in `help` the other way around: one of the two sees
        // what the other wrote, and the helper that sees it needs the lock, which is free once the caller sleeps.
        self.caller_sleeps.store(true, SeqCst);
        while self.running.load(SeqCst) != 0 {
            slot = wait(&self.done, slot);
        }
        self.caller_sleeps.store(false, Relaxed);
    }

    /// The life of a helper.
    fn help(&self, index: usize) {
        GUARDS.set(1);
        // The generation of the work that the helper saw last, so that it does none twice.
        let mut seen = 0;
        loop {
            let asleep = || index > self.doors.helpers.load(Relaxed);
            let news = || self.doors.generation.load(Acquire) != seen || asleep();
            if !spin(HELPER_SPIN, news) {
                while !news() {
                    thread::yield_now();
                }
            }
            if asleep() {
                let mut callers = lock(&self.callers);
                while asleep() {
                    callers = wait(&self.wake, callers);
                }
            }
            let slot = lock(&self.slot);
            let generation = self.doors.generation.load(Relaxed);
            let is_new = generation != seen;
            seen = generation;
            let Some(work) = slot.work.filter(|_| is_new && !asleep()) else { continue };
            self.running.fetch_add(1, Relaxed);
            drop(slot);
            if let Err(payload) = call(work) {
                let mut slot = lock(&self.slot);
                match slot.panic {
                    None => slot.panic = Some(payload),
                    // Dropping it could panic here, where nobody would catch it.
                    Some(_) => mem::forget(payload),
                }
            }
            // The work may be gone from here on.
            if self.running.fetch_sub(1, SeqCst) == 1 && self.caller_sleeps.load(SeqCst) {
                drop(lock(&self.slot));
                self.done.notify_one();
            }
        }
    }
}

/// Calls `work` with a mark that this thread is inside of work, and catches its panic.
fn call(work: &Work<'_>) -> thread::Result<()> {
    WORKING.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    WORKING.set(false);
    result
}

/// Waits without sleeping until `done`, at most for `time`; returns whether it is done.
fn spin(time: Duration, done: impl Fn() -> bool) -> bool {
    if done() {
        return true;
    }
    let start = Instant::now();
    while start.elapsed() < time {
        // Looks at the clock only now and then: that takes longer than a look at the condition.
        for _ in 0..16 {
            if done() {
                return true;
            }
            hint::spin_loop();
        }
    }
    false
}

/// Locks. No code panics while it holds a lock of the crew, so that poison would say nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition.wait(guard).unwrap_or_else(PoisonError::into_inner)
}
