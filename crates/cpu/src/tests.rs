use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::{NonZero, awake, run, set_threads, threads};

/// There is one crew: tests take turns, each with a number of threads.
fn with_threads(n: usize) -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    set(n);
    turn
}

fn set(n: usize) {
    set_threads(NonZero::new(n).unwrap());
}

/// Sums the numbers below `n` in parts.
fn sum(n: u64, part: usize) -> u64 {
    let total = AtomicU64::new(0);
    let parts = Mutex::new((0..n).step_by(part));
    run(&|| {
        loop {
            let Some(start) = parts.lock().unwrap().next() else { break };
            total.fetch_add((start..n.min(start + part as u64)).sum(), Relaxed);
        }
    });
    total.into_inner()
}

/// Runs until `count` threads have come to one work, and returns them.
fn participants(count: usize) -> HashSet<ThreadId> {
    let begin = Instant::now();
    loop {
        let here = Mutex::new(Vec::new());
        run(&|| {
            here.lock().unwrap().push(thread::current().id());
            // Time for the others to come.
            let begin = Instant::now();
            while here.lock().unwrap().len() < count && begin.elapsed() < Duration::from_millis(100) {
                thread::yield_now();
            }
        });
        let here = here.into_inner().unwrap();
        let distinct: HashSet<_> = here.iter().copied().collect();
        assert_eq!(here.len(), distinct.len(), "a thread came twice");
        assert!(distinct.contains(&thread::current().id()));
        if distinct.len() == count {
            return distinct;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{} of {count} threads came", distinct.len());
    }
}

/// Runs work that panics on helpers or on the caller, once a helper has come, and returns the payload.
fn panic_on(helper: bool) -> &'static str {
    let caller = thread::current().id();
    loop {
        let came = AtomicUsize::new(0);
        let ended = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            run(&|| {
                came.fetch_add(1, SeqCst);
                let begin = Instant::now();
                while came.load(SeqCst) < 2 && begin.elapsed() < Duration::from_millis(100) {
                    thread::yield_now();
                }
                let is_helper = thread::current().id() != caller;
                // The one that panics is the first to end.
                if is_helper != helper {
                    thread::sleep(Duration::from_millis(5));
                }
                ended.fetch_add(1, SeqCst);
                assert!(is_helper != helper, "on purpose");
            });
        }));
        assert_eq!(came.load(SeqCst), ended.load(SeqCst), "a call had not ended");
        if let (Err(payload), 2..) = (result, came.into_inner()) {
            return payload.downcast_ref::<&str>().unwrap();
        }
    }
}

#[test]
fn sums_are_equal_for_all_numbers_of_threads() {
    let _turn = with_threads(1);
    for n in 1..=8 {
        set(n);
        assert_eq!(threads(), n);
        let _awake = (n % 2 == 0).then(awake);
        for part in [1, 7, 100, 5000] {
            assert_eq!(sum(2000, part), 1999 * 1000);
        }
    }
}

#[test]
fn every_part_is_done_once() {
    let _turn = with_threads(4);
    let _awake = awake();
    for _ in 0..200 {
        let mut done = vec![0; 999];
        let parts = Mutex::new(done.chunks_mut(10));
        run(&|| {
            loop {
                let Some(part) = parts.lock().unwrap().next() else { break };
                for count in part {
                    *count += 1;
                }
            }
        });
        assert!(done.iter().all(|&count| count == 1));
    }
}

#[test]
fn threads_go_up_and_down() {
    let _turn = with_threads(1);
    for n in [1, 4, 2, 3, 1, 8, 2] {
        set(n);
        assert_eq!(participants(n).len(), n);
        let _awake = awake();
        participants(n);
        // More do not come.
        for _ in 0..20 {
            let came = AtomicUsize::new(0);
            run(&|| {
                came.fetch_add(1, Relaxed);
                thread::sleep(Duration::from_micros(200));
            });
            assert!(came.into_inner() <= n);
        }
    }
}

#[test]
fn nested_work_runs_alone() {
    let _turn = with_threads(3);
    let outer = Mutex::new(HashSet::new());
    for _ in 0..20 {
        run(&|| {
            let here = thread::current().id();
            outer.lock().unwrap().insert(here);
            let _awake = awake();
            let calls = AtomicUsize::new(0);
            run(&|| {
                assert_eq!(thread::current().id(), here);
                calls.fetch_add(1, Relaxed);
                run(&|| assert_eq!(thread::current().id(), here));
            });
            assert_eq!(calls.into_inner(), 1);
            assert_eq!(sum(100, 10), 99 * 50);
            thread::sleep(Duration::from_millis(1));
        });
    }
    assert!(outer.into_inner().unwrap().len() > 1, "no helper came");
    participants(3);
}

#[test]
fn callers_at_the_same_time() {
    for n in [2, 3, 8] {
        let _turn = with_threads(n);
        thread::scope(|scope| {
            for caller in 0..4 {
                scope.spawn(move || {
                    for round in 0..500 {
                        let _awake = ((round + caller) % 3 > 0).then(awake);
                        assert_eq!(sum(200, 10), 199 * 100);
                    }
                });
            }
        });
        participants(n);
    }
}

#[test]
fn callers_count_among_the_threads() {
    let _turn = with_threads(2);
    participants(2);
    let both = Barrier::new(2);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let _awake = awake();
                both.wait();
                let here = thread::current().id();
                for _ in 0..50 {
                    run(&|| {
                        assert_eq!(thread::current().id(), here);
                        thread::sleep(Duration::from_micros(100));
                    });
                }
                both.wait();
            });
        }
    });
    participants(2);
}

#[test]
fn guards_of_one_thread_count_once() {
    let _turn = with_threads(2);
    let _awake = [awake(), awake(), awake()];
    participants(2);
}

#[test]
fn panics_come_to_the_caller() {
    let _turn = with_threads(2);
    for guarded in [false, true] {
        let _awake = guarded.then(awake);
        for helper in [true, false, true] {
            assert_eq!(panic_on(helper), "on purpose");
            assert_eq!(sum(1000, 10), 999 * 500);
            participants(2);
        }
    }
    set(1);
    let alone = catch_unwind(|| run(&|| panic!("alone"))).unwrap_err();
    assert_eq!(*alone.downcast::<&str>().unwrap(), "alone");
    set(2);
    participants(2);
}

#[test]
fn all_panic() {
    let _turn = with_threads(4);
    participants(4);
    let _awake = awake();
    for _ in 0..20 {
        catch_unwind(|| run(&|| panic!("all"))).unwrap_err();
    }
    participants(4);
}

#[test]
fn many_short_runs_while_helpers_sleep_and_wake() {
    let _turn = with_threads(2);
    let runs = if cfg!(miri) { 200 } else { 100_000 };
    let mut guard = None;
    for index in 0_usize..runs {
        match index % 97 {
            0 => guard = Some(awake()),
            60 => drop(guard.take()),
            _ => {}
        }
        if index.is_multiple_of(1000) {
            set(1 + index / 1000 % 4);
        }
        // On the stack of this iteration: a call after its end would find other values here.
        let counts = [const { AtomicUsize::new(0) }; 3];
        let next = AtomicUsize::new(0);
        run(&|| {
            while let Some(count) = counts.get(next.fetch_add(1, Relaxed)) {
                count.fetch_add(1, Relaxed);
            }
        });
        assert!(counts.into_iter().all(|count| count.into_inner() == 1));
    }
}

/// The processor time of all helpers, in ticks of usually 10 ms; `None` where the system does not tell.
fn helper_ticks() -> Option<u64> {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let task = task.ok()?.path();
        if std::fs::read_to_string(task.join("comm")).ok()?.starts_with("dynlayer-") {
            let stat = std::fs::read_to_string(task.join("stat")).ok()?;
            let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().collect();
            ticks += fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        }
    }
    Some(ticks)
}

#[test]
fn helpers_use_no_processor_time_without_a_guard() {
    let _turn = with_threads(3);
    let spent = |time| {
        let before = helper_ticks()?;
        thread::sleep(time);
        Some(helper_ticks()? - before)
    };
    {
        let _awake = awake();
        participants(3);
        let Some(ticks) = spent(Duration::from_millis(300)) else { return };
        assert!(ticks > 0, "helpers slept although there was a guard");
    }
    thread::sleep(Duration::from_millis(50));
    assert!(spent(Duration::from_millis(500)) <= Some(1));
}
