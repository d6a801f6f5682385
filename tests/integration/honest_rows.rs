//! Honest rows of the oracle's comparison gain nothing where there is nothing to gain: the embedded model under random
//! routes of equal depth.

use crate::support::{device, skipped_off_flex};
use dynlayer::inference::controllers::SkipLayers;
use dynlayer::inference::oracle::{
    Candidate, Item, Measure, OracleOptions, OracleResults, OracleRun, PredictorTrial, PromptStates,
};
use dynlayer::inference::sampling::Sampling;
use dynlayer::metrics::allocation::{Column, Evidence, Record};
use dynlayer::metrics::baselines::{Baselines, Comparison, ComparisonRow};
use dynlayer::metrics::random;
use dynlayer::metrics::statistics::Bootstrap;
use dynlayer::model::text::Tokenizer;
use dynlayer::model::{Llama, WeightDtype};
use dynlayer_tiny::{self as tiny, Task, problems};

/// The layers that each candidate skips: half of the model's, drawn once at random.
const ROUTES: [[usize; 6]; 8] = [
    [0, 1, 2, 3, 7, 8],
    [0, 1, 2, 3, 8, 10],
    [0, 1, 3, 4, 6, 11],
    [0, 2, 3, 4, 6, 11],
    [0, 4, 5, 6, 8, 9],
    [1, 2, 3, 4, 5, 8],
    [1, 2, 6, 7, 9, 10],
    [1, 3, 4, 6, 7, 8],
];
/// The cost of every candidate, and the budget.
const DEPTH: f64 = 6.0;

/// The number of times that the scores are dealt anew.
const DEALS: u64 = 10;

fn embedded() -> (Llama, Tokenizer) {
    let checkpoint = tiny::checkpoint().unwrap();
    let tokenizer = checkpoint.tokenizer().unwrap();
    (checkpoint.load(WeightDtype::F32, &device(), |_| ()).unwrap(), tokenizer)
}

/// Ten problems of each task. The answers to three of the eight tasks are single tokens.
fn items(tokenizer: &Tokenizer) -> Vec<Item> {
    let encode = |text: &str| tokenizer.encode(text, false).unwrap();
    let item = |(id, problem): (u64, tiny::Problem)| Item {
        id,
        prompt: encode(&problem.prompt),
        reference_tokens: encode(&problem.answer),
        reference: problem.answer,
    };
    (0..).zip(problems(&Task::ALL, 10, 0)).map(item).collect()
}

fn run(model: &Llama, items: &[Item], measure: Measure<'_>, options: OracleOptions<'_>) -> OracleResults {
    let candidate = |(number, route): (usize, [usize; 6])| {
        Candidate::new(format!("route {number}"), move || SkipLayers::new(route))
    };
    let candidates = ROUTES.into_iter().enumerate().map(candidate).collect();
    let folder = tempfile::tempdir().unwrap();
    OracleRun::new(model, candidates, measure).options(options).run(folder.path().join("run"), items, |_| {}).unwrap()
}

fn options(halves: bool) -> OracleOptions<'static> {
    OracleOptions { halves: halves.then(Sampling::default), max_new_tokens: 6, ..OracleOptions::default() }
}

fn compare(evidence: &Evidence) -> Comparison<'_> {
    Comparison::new(evidence, DEPTH).bootstrap(Bootstrap { resamples: 200, ..Bootstrap::new(1) })
}

/// Returns true if the whole interval of a row's gain is above 0.
fn gains(row: &ComparisonRow) -> bool {
    row.gain.unwrap().low > 0.0
}

/// The reason why these tests run on flex only.
const ON_FLEX: &str = "these are hundreds of answers, and the statistics of an oracle do not depend on the backend";

/// Counts a single token as both halves, which is wrong.
fn single_tokens_as_both_halves(evidence: &Evidence) -> Evidence {
    let both = |record: &Record| Some(record.halves.unwrap_or([record.quality; 2]));
    Evidence::new(evidence.records().map(|record| Record { halves: both(&record), ..record })).unwrap()
}

/// Deals the scores of every sequence to the candidates anew, each half for itself. Then nothing that a candidate scored
/// on one half, or by the full model's output, tells its score on the other half or by the reference.
fn dealt(evidence: &Evidence, number: u64) -> Evidence {
    let records: Vec<Record> = evidence.records().collect();
    let deal = |cells: &[Record]| -> Vec<Record> {
        let column = |half: usize| -> Vec<f64> {
            let key = |at: &usize| random::derive(*b"DealAnew", number, [cells[0].sequence, half as u64, *at as u64]);
            let mut order: Vec<usize> = (0..cells.len()).collect();
            order.sort_by_key(key);
            order.iter().map(|at| cells[*at].halves.map_or(cells[*at].quality, |halves| halves[half])).collect()
        };
        let (first, second) = (column(0), column(1));
        let dealt = cells.iter().enumerate().map(|(at, cell)| match cell.halves {
            Some(_) => Record {
                halves: Some([first[at], second[at]]),
                quality: f64::midpoint(first[at], second[at]),
                ..cell.clone()
            },
            None => Record { quality: first[at], ..cell.clone() },
        });
        dealt.collect()
    };
    Evidence::new(records.chunks(evidence.candidates().len()).flat_map(deal)).unwrap()
}

/// The routes themselves may suit one sequence better than another, on all of its tokens, so their scores are dealt
/// anew. What is left is luck: the oracle gains from it, and no row that is chosen by other scores than it is judged by.
#[test]
fn where_scores_are_luck_the_oracle_gains_and_no_honest_row_does() {
    if skipped_off_flex(ON_FLEX) {
        return;
    }
    let (model, tokenizer) = embedded();
    let items = items(&tokenizer);
    let evidence = run(&model, &items, Measure::Likelihood, options(true)).evidence().unwrap();
    let long = items.iter().filter(|item| item.reference_tokens.len() >= 2).count();
    let states = PromptStates::measure(&model, &items, 2).unwrap();
    let compared = |evidence: &Evidence| -> Baselines {
        let outcomes = PredictorTrial::default().run(evidence, &states, DEPTH).unwrap();
        compare(evidence).controller("prompt predictor", outcomes).run().unwrap()
    };
    let [mut cross_fitted, mut label_free, mut predictor, mut wrong] = [0; 4];
    for number in 0..DEALS {
        let evidence = dealt(&evidence, number);
        let baselines = compared(&evidence);
        assert_eq!((baselines.sequences, baselines.with_halves), (items.len(), long));
        assert!(gains(&baselines.oracle), "the check could not fail: {baselines}");
        assert!(!gains(&baselines.dealt) && !gains(&baselines.best_mix.unwrap()), "{baselines}");
        cross_fitted += u32::from(gains(&baselines.cross_fitted.unwrap()));
        label_free += u32::from(gains(&baselines.label_free.unwrap()));
        predictor += u32::from(gains(&baselines.controllers[0].row));
        let old = compare(&single_tokens_as_both_halves(&evidence)).run().unwrap();
        wrong += u32::from(gains(&old.cross_fitted.unwrap()));
    }
    // An interval of 95 % lies above 0 by chance in one of 40 deals.
    let honest = [("cross-fitted", cross_fitted), ("label-free", label_free), ("predictor", predictor)];
    assert!(honest.iter().all(|(_, gained)| *gained <= 1), "gains of {DEALS} deals: {honest:?}");
    assert!(wrong >= 5, "single tokens as both halves gain in {wrong} of {DEALS} deals, so the check could not fail");
}

#[test]
fn single_tokens_have_no_halves_and_give_no_cross_fitted_row() {
    if skipped_off_flex(ON_FLEX) {
        return;
    }
    let (model, tokenizer) = embedded();
    let items = items(&tokenizer);
    let one_token = OracleOptions { max_new_tokens: 1, ..options(true) };
    let evidence = run(&model, &items, Measure::Agreement, one_token).evidence().unwrap();
    let baselines = compare(&evidence).run().unwrap();
    assert!(gains(&baselines.oracle), "{baselines}");
    assert_eq!((baselines.with_halves, baselines.cross_fitted), (0, None));
    let wrong = compare(&single_tokens_as_both_halves(&evidence)).run().unwrap();
    assert!(gains(&wrong.cross_fitted.unwrap()), "{wrong}");
}

#[test]
fn references_of_one_token_are_scored_with_and_without_halves() {
    if skipped_off_flex(ON_FLEX) {
        return;
    }
    let (model, tokenizer) = embedded();
    let items: Vec<Item> = items(&tokenizer).into_iter().step_by(5).collect();
    let with = run(&model, &items, Measure::Likelihood, options(true));
    for (item, measured) in items.iter().zip(&with.items) {
        let halved = item.reference_tokens.len() >= 2;
        assert!(measured.cells.iter().all(|cell| cell.halves.is_some() == halved), "{}", item.reference);
    }
    let with = with.evidence().unwrap();
    let long = items.iter().filter(|item| item.reference_tokens.len() >= 2).count();
    assert!(long > 0 && long < items.len());
    assert_eq!(with.with_halves().unwrap().sequences().len(), long);
    let without = run(&model, &items, Measure::Likelihood, options(false)).evidence().unwrap();
    assert!(!without.has(Column::FirstHalf) && without.with_halves().is_none());
    let qualities = |evidence: &Evidence| evidence.records().map(|record| record.quality).collect::<Vec<_>>();
    assert_eq!(qualities(&with), qualities(&without));
}
