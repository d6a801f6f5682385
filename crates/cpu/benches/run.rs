//! The cost of a call of `run`, without work and with work that a second thread can share.
//!
//! usage: cargo bench -p dynlayer-cpu

use std::hint::black_box;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dynlayer_cpu::{awake, run, set_threads};

/// Prints the median and the 99th percentile of the times of `call`, and how many threads came on average.
///
/// Between two calls the caller works for `gap` alone.
fn measure(name: &str, calls: usize, gap: Duration, call: impl Fn(&AtomicUsize)) {
    let came = AtomicUsize::new(0);
    let mut times: Vec<_> = (0..calls)
        .map(|_| {
            busy(gap);
            let begin = Instant::now();
            call(&came);
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    let threads = came.into_inner() as f64 / calls as f64;
    let [median, tail] = [times[calls / 2], times[calls * 99 / 100]].map(|time| time.as_nanos() as f64 / 1e3);
    println!("{name:44} {median:9.2} µs, 99 % within {tail:9.2} µs, {threads:.2} threads");
}

fn busy(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {}
}

/// Work of 16 parts, of `steps` dependent steps each.
fn parts(came: &AtomicUsize, steps: u32) {
    let queue = Mutex::new(0..16_u32);
    run(&|| {
        came.fetch_add(1, Relaxed);
        loop {
            let Some(part) = queue.lock().unwrap().next() else { break };
            black_box((0..steps).fold(part, |state, step| black_box(state.rotate_left(5) ^ step)));
        }
    });
}

fn main() {
    let empty = |came: &AtomicUsize| {
        run(&|| {
            came.fetch_add(1, Relaxed);
        });
    };
    for threads in [1, 2] {
        set_threads(NonZero::new(threads).unwrap());
        println!("{threads} threads");
        measure("empty, without a guard", 20_000, Duration::ZERO, empty);
        measure("pass of 150 works of 16 parts of 2500 steps", 100, Duration::from_micros(500), |came| {
            let _awake = awake();
            for _ in 0..150 {
                busy(Duration::from_micros(5));
                parts(came, 2500);
            }
        });
        let _awake = awake();
        run(&|| {});
        busy(Duration::from_millis(5)); // until the helper is there
        let begin = Instant::now();
        for _ in 0..1_000_000 {
            run(&|| {});
        }
        println!("{:44} {:9.3} µs on average", "empty, one after the other", begin.elapsed().as_secs_f64());
        for gap in [0, 3, 30, 300] {
            measure(&format!("empty, {gap} µs apart"), 20_000, Duration::from_micros(gap), empty);
        }
        for steps in [100, 500, 2500, 12_500] {
            measure(&format!("16 parts of {steps} steps, 5 µs apart"), 5_000, Duration::from_micros(5), |came| {
                parts(came, steps);
            });
        }
    }
}
