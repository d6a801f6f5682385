//! The embedded model: the claims of its card, and tests that need a trained model.

use crate::support::on_flex;
use dynlayer::inference::controllers::{ControllerSpec, Resources};
use dynlayer::inference::oracle::{Candidate, OracleController};
use dynlayer::inference::{Controller, generate};
use dynlayer::metrics::allocation::{Allocator, Evidence, Record};
use dynlayer::model::text::Tokenizer;
use dynlayer::model::{Llama, WeightDtype};
use dynlayer_tiny::{self as tiny, Problem, Task, problems};

/// The number of problems of each task.
fn number() -> u64 {
    if on_flex() { 25 } else { 5 }
}

fn embedded() -> (Llama, Tokenizer) {
    let checkpoint = tiny::checkpoint().unwrap();
    let tokenizer = checkpoint.tokenizer().unwrap();
    (checkpoint.load(WeightDtype::F32, &crate::support::device(), |_| ()).unwrap(), tokenizer)
}

/// Returns for each problem `true` if it was solved, and its layers per token.
fn run(
    model: &Llama,
    tokenizer: &Tokenizer,
    problems: &[Problem],
    controller: impl Controller,
) -> (Vec<bool>, Vec<f64>) {
    let prompts: Vec<Vec<u32>> = problems.iter().map(|p| tokenizer.encode(&p.prompt, false).unwrap()).collect();
    let (completions, report) =
        generate(model, controller, &prompts, tiny::options(tokenizer)).unwrap().finish().unwrap();
    let solved = completions.iter().zip(problems).map(|(completion, problem)| problem.solved_by(&completion.text));
    (solved.collect(), report.sequences.iter().map(|s| s.depth().unwrap()).collect())
}

fn share(solved: &[bool]) -> f64 {
    solved.iter().filter(|solved| **solved).count() as f64 / solved.len() as f64
}

fn mean(depths: &[f64]) -> f64 {
    depths.iter().sum::<f64>() / depths.len() as f64
}

fn spec(text: &str, model: &Llama) -> Box<dyn Controller + Send> {
    text.parse::<ControllerSpec>().unwrap().build(model, &tiny::resources()).unwrap()
}

#[test]
fn every_task_is_solved_and_the_hard_ones_need_depth() {
    let (model, tokenizer) = embedded();
    let mut full = Vec::new();
    for task in Task::ALL {
        let problems = problems(&[task], number(), 77);
        let (solved, _) = run(&model, &tokenizer, &problems, spec("full", &model));
        assert!(share(&solved) >= 0.9, "{task}: {}", share(&solved));
        full.push(share(&solved));
    }
    assert!(mean(&full) >= 0.95);
    // A third of the layers is enough for the easiest task, and less than half of what the hardest needs.
    let third = |task| share(&run(&model, &tokenizer, &problems(&[task], number(), 77), spec("exit:4", &model)).0);
    assert!(third(Task::Copy) >= 0.95);
    assert!(third(Task::Follow3) < 0.5);
}

#[test]
fn a_confident_exit_and_the_learned_router_save_layers_and_keep_the_answers() {
    let (model, tokenizer) = embedded();
    let problems = problems(&Task::ALL, number(), 78);
    for (controller, most) in [("confidence:0.9", 4.0), ("router:router.safetensors", 6.0)] {
        let (solved, depths) = run(&model, &tokenizer, &problems, spec(controller, &model));
        assert!(share(&solved) >= 0.95, "{controller}: {}", share(&solved));
        assert!(mean(&depths) < most, "{controller}: {}", mean(&depths));
    }
    // The same number of layers, fixed for all tokens, is not enough.
    let (solved, _) = run(&model, &tokenizer, &problems, spec("uniform:5", &model));
    assert!(share(&solved) < 0.5);
}

#[test]
fn the_oracle_reaches_the_full_model_with_a_third_of_its_layers() {
    let (model, tokenizer) = embedded();
    let problems = problems(&Task::ALL, number(), 79);
    let names: Vec<String> = (1..=12).map(|depth| format!("exit:{depth}")).collect();
    let mut records = Vec::new();
    for name in &names {
        let (solved, depths) = run(&model, &tokenizer, &problems, spec(name, &model));
        for (i, (solved, depth)) in solved.into_iter().zip(depths).enumerate() {
            records.push(Record::new(i as u64, name.clone(), f64::from(u8::from(solved)), depth));
        }
    }
    let evidence = Evidence::new(records).unwrap();
    let (full, _) = evidence.static_means(11).unwrap();
    let allocation = Allocator::new(&evidence).unwrap().least_cost(full).unwrap();
    assert!(allocation.is_optimal() && allocation.mean_cost < 4.0, "{}", allocation.mean_cost);
    // A replay gives what the table says.
    let specs: Vec<ControllerSpec> = names.iter().map(|name| name.parse().unwrap()).collect();
    let resources = Resources::new();
    let candidates: Vec<Candidate<'_>> = specs.iter().map(|s| Candidate::from_spec(s, &model, &resources)).collect();
    let oracle = OracleController::new(&evidence, &allocation, &candidates).unwrap();
    let (solved, depths) = run(&model, &tokenizer, &problems, oracle);
    assert!((share(&solved) - allocation.mean_quality).abs() < 1e-9);
    assert!((mean(&depths) - allocation.mean_cost).abs() < 1e-9);
}

#[test]
fn it_is_small() {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/crates/tiny/assets")).unwrap();
    let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= 6_000_000, "{bytes} bytes");
}
