//! The promise of certificates, kept on fresh problems: the embedded model under real controllers, calibrated many times.

use crate::support::{device, skipped_off_flex};
use dynlayer::inference::controllers::ControllerSpec;
use dynlayer::inference::generate;
use dynlayer::metrics::allocation::{Evidence, Record};
use dynlayer::metrics::certificate::{Guarantee, Order, Rule};
use dynlayer::metrics::random;
use dynlayer::model::WeightDtype;
use dynlayer_tiny::{self as tiny, Problem, Task, problems};
use rand::seq::index::sample;

/// The controllers, from the most careful to the boldest. Which risk each has is not known beforehand.
const CANDIDATES: [&str; 6] = ["full", "exit:8", "confidence:0.6", "exit:6", "exit:4", "exit:3"];
/// The number of problems of each of the eight tasks.
const PER_TASK: u64 = 150;
/// The number of problems of a calibration.
const CALIBRATION: usize = 200;
/// The number of calibrations.
const CALIBRATIONS: u64 = 200;
/// A level that lies between the risks of two candidates and close to one of them, so that the promise can break.
const ALPHA: f64 = 0.04;
const DELTA: f64 = 0.1;

/// Returns for each problem whether each candidate fails.
fn failures() -> Vec<[bool; CANDIDATES.len()]> {
    let checkpoint = tiny::checkpoint().unwrap();
    let tokenizer = checkpoint.tokenizer().unwrap();
    let model = checkpoint.load(WeightDtype::F32, &device(), |_| ()).unwrap();
    let problems: Vec<Problem> = Task::ALL.iter().flat_map(|task| problems(&[*task], PER_TASK, 4)).collect();
    let mut failures = vec![[false; CANDIDATES.len()]; problems.len()];
    for (candidate, spec) in CANDIDATES.into_iter().enumerate() {
        let spec: ControllerSpec = spec.parse().unwrap();
        for (at, together) in (0..problems.len()).step_by(25).zip(problems.chunks(25)) {
            let prompts: Vec<Vec<u32>> =
                together.iter().map(|problem| tokenizer.encode(&problem.prompt, false).unwrap()).collect();
            let controller = spec.build(&model, &tiny::resources()).unwrap();
            let (completions, _) =
                generate(&model, controller, &prompts, tiny::options(&tokenizer)).unwrap().finish().unwrap();
            for (i, (completion, problem)) in completions.iter().zip(together).enumerate() {
                failures[at + i][candidate] = !problem.solved_by(&completion.text);
            }
        }
    }
    failures
}

#[test]
fn coverage_of_certificates_on_fresh_problems() {
    if skipped_off_flex("these are 7,200 answers, and the statistics of certificates do not depend on the backend") {
        return;
    }
    let failures = failures();
    let evidence = |problems: &[usize]| {
        let record = |problem: usize, candidate: usize| {
            let quality = f64::from(u8::from(!failures[problem][candidate]));
            Record::new(problem as u64, CANDIDATES[candidate], quality, (CANDIDATES.len() - candidate) as f64)
        };
        let records = problems.iter().flat_map(|problem| (0..CANDIDATES.len()).map(|i| record(*problem, i)));
        Evidence::new(records.collect::<Vec<_>>()).unwrap()
    };
    let rules = [
        (Rule::FixedSequence, Order::Cost),
        (Rule::Bonferroni, Order::Cost),
        (Rule::Holm, Order::Cost),
        (Rule::FixedSequence, Order::Pareto),
    ];
    let (mut broken, mut bolder) = (vec![0.0; rules.len()], vec![0.0; rules.len()]);
    let mut uncorrected = 0.0;
    for calibration in 0..CALIBRATIONS {
        let mut rng = random::at(*b"coverage", 1, [calibration, 0, 0]);
        let chosen = sample(&mut rng, failures.len(), CALIBRATION).into_vec();
        let fresh: Vec<usize> = (0..failures.len()).filter(|problem| !chosen.contains(problem)).collect();
        let rate = |problems: &[usize], candidate: usize| {
            problems.iter().filter(|problem| failures[**problem][candidate]).count() as f64 / problems.len() as f64
        };
        let table = evidence(&chosen);
        for (i, (rule, order)) in rules.iter().enumerate() {
            let guarantee = Guarantee::new(ALPHA, DELTA).rule(rule.clone()).order(*order);
            let certificate = guarantee.certify(&table, "full").unwrap();
            let certified = || certificate.candidates.iter().filter(|candidate| candidate.certified);
            let at = |name: &str| CANDIDATES.iter().position(|candidate| *candidate == name).unwrap();
            let wrong = certified().any(|candidate| rate(&fresh, at(&candidate.name)) > ALPHA);
            broken[i] += f64::from(u8::from(wrong)) / CALIBRATIONS as f64;
            bolder[i] += certified().count() as f64 / CALIBRATIONS as f64;
        }
        let low = (0..CANDIDATES.len()).filter(|candidate| rate(&chosen, *candidate) <= ALPHA);
        let wrong = low.into_iter().any(|candidate| rate(&fresh, candidate) > ALPHA);
        uncorrected += f64::from(u8::from(wrong)) / CALIBRATIONS as f64;
    }
    println!("broken promises {broken:?}, certified candidates {bolder:?}, without a test {uncorrected}");
    let most = DELTA + 4.0 * (DELTA * (1.0 - DELTA) / CALIBRATIONS as f64).sqrt();
    assert!(broken.iter().all(|share| *share <= most), "{broken:?}");
    assert!(bolder[0] >= 2.0, "more than the full model is certified: {bolder:?}");
    // Without a test the same level is broken too often, so that this test can see it.
    assert!(uncorrected > most, "{uncorrected}");
}
