//! Controllers that break their contract, and invalid requests.

use crate::support::{device, small};
use burn::module::Param;
use burn::tensor::Tensor;
use dynlayer::inference::controllers::{ControllerSpec, FullDepth, Resources};
use dynlayer::inference::sampling::SamplingError;
use dynlayer::inference::{
    Action, Controller, ControllerError, Decision, GenerateError, GenerateOptions, ScoreOptions, Site, TokenProblem,
    controller_fn, generate, score,
};

fn fails(controller: impl Controller) -> GenerateError {
    let model = small(&device());
    let options = GenerateOptions { max_new_tokens: 3, ..GenerateOptions::default() };
    let mut generation = generate(&model, controller, &[vec![1, 2, 3], vec![4]], options).unwrap();
    let error = generation.by_ref().find_map(Result::err).expect("the run ends with an error");
    assert!(generation.next().is_none(), "nothing comes after an error");
    error
}

fn refused(prompts: &[Vec<u32>], options: GenerateOptions<'_>) -> GenerateError {
    generate(&small(&device()), FullDepth, prompts, options).map(|_| ()).unwrap_err()
}

#[test]
fn a_wrong_number_of_actions() {
    let error = fails(controller_fn(|_| Decision::PerRow(vec![Action::Run; 3])));
    assert!(matches!(error, GenerateError::Contract { layer: 0, .. }), "{error}");
    assert!(error.to_string().contains("one action per row, 2, found 3"), "{error}");
}

#[test]
fn a_gate_of_the_wrong_shape() {
    let error = fails(controller_fn(|site| Decision::Gate(Tensor::ones([1, 7], &site.hidden().device()))));
    assert!(error.to_string().contains("shape [2, 1], found [1, 7]"), "{error}");
}

#[test]
fn a_score_that_is_no_number() {
    let error = fails(controller_fn(|site| {
        if site.layer() == 2 {
            site.read(Tensor::<1>::from_floats([1.0, f32::NAN], &site.hidden().device()))?;
        }
        Ok(Action::Run)
    }));
    assert!(matches!(error, GenerateError::Contract { layer: 2, .. }), "{error}");
    assert!(error.to_string().contains("NaN for row 1"), "{error}");
}

#[test]
fn a_controller_that_gives_up() {
    let error = fails(controller_fn(|site| {
        if site.rows()[0].generated == 2 {
            return Err(ControllerError::other("no route for the second token"));
        }
        Ok(Action::Run)
    }));
    assert!(matches!(error, GenerateError::Controller(ControllerError::Other(_))), "{error:?}");
}

#[test]
fn a_read_of_the_wrong_length() {
    let error = fails(controller_fn(|site| {
        site.read(Tensor::<1>::zeros([5], &site.hidden().device()))?;
        Ok(Action::Run)
    }));
    assert!(error.to_string().contains("one number per row to read, 2, found 5"), "{error}");
}

#[test]
fn a_panic_leaves_the_model_as_it_was() {
    let model = small(&device());
    let run = || {
        let options = GenerateOptions { max_new_tokens: 4, ..GenerateOptions::default() };
        generate(&model, FullDepth, &[vec![1, 2, 3]], options).unwrap().finish().unwrap().0
    };
    let before = run();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let controller =
            controller_fn(|site: &Site<'_>| if site.layer() == 3 { panic!("by intent") } else { Action::Run });
        generate(&model, controller, &[vec![1, 2]], GenerateOptions::default()).unwrap().count()
    }));
    assert!(panicked.is_err());
    let mut half = generate(&model, FullDepth, &[vec![9, 9]], GenerateOptions::default()).unwrap();
    half.next().unwrap().unwrap();
    drop(half);
    assert_eq!(run(), before);
}

#[test]
fn layers_and_budgets_that_the_model_does_not_have() {
    let model = small(&device());
    for (spec, part) in [
        ("skip:1,5", "layer 5 does not exist: the model has layers 0 to 4"),
        ("uniform:6", "a budget of 6 layers"),
        ("exit:6", "a budget of 6 layers"),
    ] {
        let controller = spec.parse::<ControllerSpec>().unwrap().build(&model, &Resources::new()).unwrap();
        let error = generate(&model, controller, &[vec![1]], GenerateOptions::default()).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(part), "{spec}: {error}");
    }
}

#[test]
fn prompts_that_cannot_be_run() {
    let default = GenerateOptions::default;
    assert!(matches!(refused(&[], default()), GenerateError::EmptyBatch));
    assert!(matches!(
        refused(&[vec![1], vec![]], default()),
        GenerateError::Prompt { prompt: 1, problem: TokenProblem::Empty }
    ));
    let long = refused(&[vec![1; 65]], default());
    assert!(
        matches!(long, GenerateError::Prompt { problem: TokenProblem::TooLong { tokens: 65, context: 64 }, .. }),
        "{long}"
    );
    let unknown = refused(&[vec![1, 97]], default());
    assert!(
        matches!(
            unknown,
            GenerateError::Prompt { problem: TokenProblem::OutOfRange { token: 97, vocab_size: 97 }, .. }
        ),
        "{unknown}"
    );
    let twice = GenerateOptions { sequence_ids: vec![4, 4], ..default() };
    assert!(matches!(refused(&[vec![1], vec![2]], twice), GenerateError::SequenceIds { found: 1, prompts: 2 }));
    let stop = GenerateOptions { stop_strings: vec!["x".into()], ..default() };
    assert!(matches!(refused(&[vec![1]], stop), GenerateError::StopStringsWithoutTokenizer));
}

#[test]
fn a_model_that_computes_no_numbers() {
    let mut model = small(&device());
    model.norm.weight = Param::from_tensor(Tensor::full([48], f32::NAN, &device())).into();
    let generated =
        generate(&model, FullDepth, &[vec![1, 2]], GenerateOptions::default()).unwrap().finish().map(|_| ());
    let scored = score(&model, FullDepth, &[1, 2], &[3], &ScoreOptions::default()).map(|_| ());
    for error in [generated.unwrap_err(), scored.unwrap_err()] {
        assert!(
            matches!(error, GenerateError::Draw { sequence: 0, source: SamplingError::NotFinite { token: 0, .. } }),
            "{error}"
        );
    }
}
