//! Controllers made from text.

use super::{LAYERS, assert_batch_equals_solo, chain, options, prompts, run, small};
use crate::support::some;
use dynlayer::inference::controllers::{
    BernoulliSkip, BuildError, ControllerSpec, LayerInfluence, LinearRouter, Recorded, Resources, Routed, RouterOptions,
};
use dynlayer::inference::{ControlFrom, Controller};

fn texts() -> Vec<Vec<u32>> {
    vec![(0..50).map(|i| (i * 11 + 5) % 97).collect()]
}

/// One spec of each kind, options included.
const SPECS: [&str; 22] = [
    "full",
    "skip:1,3",
    "uniform:3",
    "exit:3",
    "influence:3",
    "random:3",
    "random:2,ends=free",
    "bernoulli:0.5",
    "bernoulli:0.5,ends=free",
    "schedule:5..2,to=9",
    "schedule:4..2,to=9,from=3,warmup=2",
    "confidence:0.02",
    "confidence:0.02,patience=2,min=2",
    "entropy:4.05",
    "entropy:4.05,every=2",
    "saturation:0.8",
    "similarity:0.3",
    "similarity:0.3,clusters=3,ends=free",
    "router:gates.safetensors",
    "budgeted:2.5:confidence:0.02",
    "warmup:2:uniform:2",
    "replay:run.json",
];

#[test]
fn every_specification_runs_boxed_and_does_not_depend_on_the_batch() {
    let model = small();
    let folder = tempfile::tempdir().unwrap();
    let router = LinearRouter::new([LAYERS, 48], 0.0, 3, &crate::support::device());
    Routed::new(router, RouterOptions::default()).save(folder.path().join("gates.safetensors")).unwrap();
    let resources = Resources::new().texts(texts()).folder(folder.path()).seed(4);
    for from in some(ControlFrom::ALL, 1) {
        let mut recorded = Recorded::new(BernoulliSkip::new(0.5));
        run(&model, &mut recorded, &prompts(), options(vec![30, 7, 11, 2], from));
        recorded.recording().save(folder.path().join("run.json")).unwrap();
        for text in SPECS {
            let spec: ControllerSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), text);
            assert_batch_equals_solo(&model, text, from, || -> Box<dyn Controller + Send> {
                spec.build(&model, &resources).unwrap()
            });
        }
    }
}

#[test]
fn a_calibration_without_text_says_what_to_set() {
    let model = small();
    for text in ["influence:3", "similarity:0.1", "budgeted:2:influence:3"] {
        let error = text.parse::<ControllerSpec>().unwrap().build(&model, &Resources::new()).map(|_| ()).unwrap_err();
        assert!(matches!(error, BuildError::NoCalibrationText { .. }), "{error}");
        assert!(error.to_string().contains("Resources::texts"), "{error}");
    }
    let long = Resources::new().texts(vec![vec![1; 65]]);
    let error = "influence:3".parse::<ControllerSpec>().unwrap().build(&model, &long).map(|_| ()).unwrap_err();
    assert!(chain(&error).contains("the calibration of influence failed: calibration text 0 has 65 tokens"), "{error}");
}

#[test]
fn a_calibration_from_elsewhere_is_used() {
    let model = small();
    let spec: ControllerSpec = "influence:2".parse().unwrap();
    let influence = |values: Vec<f64>| Resources::new().influence(LayerInfluence::from_values(values).unwrap());
    let controller = spec.build(&model, &influence(vec![0.1, 0.5, 0.2, 0.6, 0.3])).unwrap();
    let (done, _) = run(&model, controller, &prompts(), options(vec![], ControlFrom::LastPromptToken));
    assert!(done.iter().flat_map(|done| &done.routes).all(|route| route.to_string() == ".#.#."));

    let other = spec.build(&model, &influence(vec![0.1; 7])).unwrap();
    let error = super::error(&model, other, ControlFrom::All);
    assert!(chain(&error).contains("the calibration's number of layers is 7; the model's is 5"), "{error}");
}

#[test]
fn settings_that_make_no_sense_for_the_model() {
    let model = small();
    let resources = Resources::new().texts(texts());
    for (text, part) in [
        ("skip:5", "layer 5 does not exist: the model has layers 0 to 4"),
        ("uniform:6", "a budget of 6 layers"),
        ("exit:6", "a budget of 6 layers"),
        ("influence:6", "a budget of 6 layers"),
        ("random:1", "it must be from 2 to 5"),
        ("random:6,ends=free", "it must be from 0 to 5"),
        ("bernoulli:1.5", "the probability that a layer runs is 1.5; expected 0 to 1"),
        ("schedule:6..2,to=9", "a budget of 6 layers"),
        ("schedule:2..4,to=9", "the schedule's least budget is 4; expected at most 2"),
        ("schedule:5..9,to=9", "the schedule's least budget is 9; expected at most 5"),
        ("schedule:5..2,from=9,to=9", "the position where the schedule ends is 9; expected more than 9"),
        ("schedule:5..2,to=9,warmup=3", "warm-up layers is 3; expected at most 2"),
        ("confidence:1.5", "the threshold of a gap between probabilities is 1.5; expected 0 to 1"),
        ("entropy:-1", "the threshold of an entropy is -1; expected at least 0"),
        ("saturation:2", "the threshold of a cosine is 2; expected -1 to 1"),
        ("confidence:0.5,patience=0", "patience is 0; expected at least 1"),
        ("confidence:0.5,every=0", "every is 0; expected at least 1"),
        ("confidence:0.5,min=0", "the least number of layers is 0; expected 1 to 5"),
        ("confidence:0.5,min=6", "the least number of layers is 6; expected 1 to 5"),
        ("similarity:3", "the threshold of an effect is 3; expected 0 to 2"),
        ("budgeted:-1:full", "the budget is -1"),
        ("budgeted:1:uniform:9", "a budget of 9 layers"),
        ("warmup:1:uniform:9", "a budget of 9 layers"),
    ] {
        let controller = text.parse::<ControllerSpec>().unwrap().build(&model, &resources).unwrap();
        let error = super::error(&model, controller, ControlFrom::All);
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
}

#[test]
fn the_guide_lists_every_controller() {
    let guide = include_str!("../../../docs/controllers.md");
    for form in ControllerSpec::all() {
        let row = format!("| `{}` | {} |", form.syntax, form.about);
        assert!(guide.contains(&row), "docs/controllers.md has no row\n{row}");
    }
}
