//! Time and memory of exact allocations, up to a million sequences of 24 candidates.
//!
//! Quality rises with depth and saturates, at a different rate for each sequence, with noise. Costs are whole layers,
//! half layers, or real numbers like FLOPs and seconds. Two more kinds are hard on purpose: quality proportional to
//! cost (a subset sum), and proportional to cost plus a constant (strongly correlated). Each line is one call, on one
//! core; peak memory is that of the process.
//!
//! ```text
//! cargo bench -p dynlayer-metrics --bench allocation [-- --sequences 7800 --costs whole]
//! ```

use dynlayer_metrics::allocation::{Allocation, Allocator, Evidence, Proof, Record};
use dynlayer_metrics::baselines::Comparison;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Instant;

const DEPTHS: u32 = 24;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sequences: u64 = option("--sequences").map_or(Ok(7800), |text| text.parse())?;
    let only = option("--costs");
    for costs in ["whole", "half", "real", "proportional", "correlated"] {
        if only.as_deref().is_none_or(|only| only == costs) {
            measure(sequences, costs)?;
        }
    }
    Ok(())
}

fn measure(sequences: u64, costs: &str) -> Result<(), Box<dyn std::error::Error>> {
    println!("{sequences} sequences x {DEPTHS} candidates, {costs} costs");
    let evidence = table(sequences, costs)?;
    println!("  the table alone: peak {}", peak());
    let started = Instant::now();
    let allocator = Allocator::new(&evidence)?;
    println!("  preparing        {:8.3} s, peak {}", started.elapsed().as_secs_f64(), peak());
    // The hard tables have larger costs.
    let most = allocator.envelope().points().last().map_or(0.0, |point| point.mean_cost);
    let budgets = if most > 24.0 { [0.25, 0.5, 0.9].map(|part| part * most) } else { [3.0, 5.6, 11.3] };
    for budget in budgets {
        let started = Instant::now();
        let found = allocator.most_quality(budget)?;
        report(&format!("budget {budget:.1}"), started, &found);
    }
    let full = evidence.static_means(DEPTHS as usize - 1).ok_or("no candidate for all")?.0;
    let started = Instant::now();
    report("as good as full", started, &allocator.least_cost(full)?);
    if sequences <= 10_000 {
        let started = Instant::now();
        let baselines = Comparison::new(&evidence, budgets[1]).run()?;
        let (seconds, resamples) = (started.elapsed().as_secs_f64(), baselines.bootstrap.resamples);
        println!("  baselines        {seconds:8.3} s, {resamples} resamples, peak {}", peak());
    }
    let started = Instant::now();
    let envelope = allocator.envelope();
    let (seconds, points) = (started.elapsed().as_secs_f64(), envelope.points().len());
    println!("  whole envelope   {seconds:8.3} s, {points} points, peak {}", peak());
    Ok(())
}

fn report(what: &str, started: Instant, found: &Allocation) {
    let seconds = started.elapsed().as_secs_f64();
    let proof = match found.proof {
        Proof::Gap { bound, gap } => format!("gap {gap:e} to {bound}"),
        _ => "optimal".to_owned(),
    };
    let (cost, quality, work) = (found.mean_cost, found.mean_quality, found.work);
    println!(
        "  {what:16} {seconds:8.3} s, {proof}, cost {cost:.4}, quality {quality:.4}, {work} states, peak {}",
        peak()
    );
}

fn table(sequences: u64, costs: &str) -> Result<Evidence, Box<dyn std::error::Error>> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    Ok(Evidence::new((0..sequences).flat_map(|sequence| row(sequence, costs, &mut rng)))?)
}

fn row(sequence: u64, costs: &str, rng: &mut ChaCha8Rng) -> Vec<Record> {
    let (top, need, length) = (rng.random::<f64>(), rng.random_range(1.0..12.0), rng.random_range(0.8..1.25));
    let cell = |depth: u32| {
        let name = format!("uniform:{depth}");
        let depth = f64::from(depth);
        let quality = top * (1.0 - (-depth / need).exp()) + 0.1 * (rng.random::<f64>() - 0.5);
        let cost = match costs {
            "whole" => depth,
            "half" => depth - 0.5 * f64::from(rng.random_range(0..2)),
            "proportional" | "correlated" => f64::from(rng.random_range(1..10_000_000)),
            _ => depth * length + 0.1 * rng.random::<f64>(),
        };
        let quality = match costs {
            "proportional" => cost * 1e-7,
            "correlated" => cost * 1e-7 + 0.1,
            _ => quality,
        };
        Record::new(sequence, name, quality, cost)
    };
    (1..=DEPTHS).map(cell).collect()
}

/// Returns the largest resident memory of this process so far, if the system reports it.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.map_or("unknown".to_owned(), |kilobytes| format!("{:.0} MB", kilobytes / 1e3))
}

fn option(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}
