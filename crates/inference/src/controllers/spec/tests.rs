//! Specifications as text and as JSON.

use crate::conformance::small_model;
use crate::control::Action;
use crate::controllers::*;
use burn::tensor::Device;
use proptest::prelude::*;
use std::path::PathBuf;

fn rules() -> impl Strategy<Value = ExitRule> {
    (finite(), any::<usize>(), 0usize..3, 0usize..3).prop_map(|(threshold, patience, min_layers, every)| ExitRule {
        threshold,
        patience,
        min_layers,
        every,
    })
}

fn finite() -> impl Strategy<Value = f32> {
    prop_oneof![any::<f32>().prop_filter("finite", |x| x.is_finite()), (0u8..100).prop_map(|x| f32::from(x) / 100.0)]
}

fn ends() -> impl Strategy<Value = Ends> {
    prop::sample::select(vec![Ends::Kept, Ends::Free])
}

fn files() -> impl Strategy<Value = PathBuf> {
    "[a-zA-Z0-9 ,:=./é-]{0,12}[a-z]".prop_map(PathBuf::from)
}

fn specs() -> impl Strategy<Value = ControllerSpec> {
    let schedule = (any::<usize>(), 0usize..9, 0usize..9, any::<usize>(), 0usize..3);
    let leaf = prop_oneof![
        Just(ControllerSpec::Full(FullDepth)),
        prop::collection::vec(any::<usize>(), 0..4).prop_map(|layers| ControllerSpec::Skip(SkipLayers::new(layers))),
        any::<usize>().prop_map(|budget| ControllerSpec::Uniform(UniformSkip::new(budget))),
        any::<usize>().prop_map(|depth| ControllerSpec::Exit(ExitAfter(depth))),
        any::<usize>().prop_map(|budget| ControllerSpec::Influence(InfluenceSpec { budget })),
        (any::<usize>(), ends()).prop_map(|(budget, ends)| ControllerSpec::Random(RandomSkip::new(budget).ends(ends))),
        (finite(), ends())
            .prop_map(|(probability, ends)| ControllerSpec::Bernoulli(BernoulliSkip::new(probability).ends(ends))),
        schedule.prop_map(|(max, min, from, to, warm_up)| ControllerSpec::Schedule(Schedule {
            max,
            min,
            from,
            to,
            warm_up
        })),
        rules().prop_map(|rule| ControllerSpec::Confidence(ConfidenceExit::new(rule))),
        rules().prop_map(|rule| ControllerSpec::Entropy(EntropyExit::new(rule))),
        rules().prop_map(|rule| ControllerSpec::Saturation(SaturationExit::new(rule))),
        (finite(), 0usize..20, ends()).prop_map(|(threshold, clusters, ends)| ControllerSpec::Similarity(
            SimilaritySpec { threshold, clusters, ends }
        )),
        files().prop_map(|file| ControllerSpec::Router(RouterSpec { file })),
        files().prop_map(|file| ControllerSpec::Replay(ReplaySpec { file })),
    ];
    leaf.prop_recursive(4, 8, 1, |inner| {
        prop_oneof![
            (finite(), inner.clone())
                .prop_map(|(budget, inner)| ControllerSpec::Budgeted(Budgeted::new(budget, Box::new(inner)))),
            (any::<usize>(), inner)
                .prop_map(|(tokens, inner)| ControllerSpec::Warmup(WarmUp::new(tokens, Box::new(inner)))),
        ]
    })
}

proptest! {
    #[test]
    fn every_specification_comes_back(spec in specs()) {
        let text = spec.to_string();
        prop_assert_eq!(text.parse::<ControllerSpec>(), Ok(spec.clone()), "{}", text);
        let json = serde_json::to_string(&spec).unwrap();
        prop_assert_eq!(serde_json::from_str::<ControllerSpec>(&json).unwrap(), spec, "{}", json);
    }

    #[test]
    fn no_text_panics(text in ".{0,40}", name in "(full|skip|schedule|confidence|similarity|budgeted|warmup|router):?") {
        let _ = text.parse::<ControllerSpec>();
        let _ = format!("{name}{text}").parse::<ControllerSpec>();
    }
}

#[test]
fn the_documented_texts() {
    for text in [
        "full",
        "skip:3,5,7",
        "skip:0",
        "uniform:20",
        "exit:1",
        "influence:28",
        "random:20",
        "random:20,ends=free",
        "bernoulli:0.8",
        "bernoulli:0.8,ends=free",
        "schedule:28..14,to=256",
        "schedule:28..14,to=256,from=8,warmup=2",
        "confidence:0.9",
        "confidence:0.9,patience=2,min=8,every=4",
        "entropy:0.5,min=3",
        "saturation:0.99",
        "similarity:0.02",
        "similarity:0.02,clusters=4,ends=free",
        "router:gates.safetensors",
        "replay:a b/run,1:2.json",
        "budgeted:18:confidence:0.9",
        "budgeted:18.5:warmup:4:random:20,ends=free",
        "warmup:4:uniform:20",
    ] {
        assert_eq!(text.parse::<ControllerSpec>().unwrap().to_string(), text);
    }
    let loose: ControllerSpec = " confidence: 0.9 , every = 2, min=3 ".parse().unwrap();
    assert_eq!(loose.to_string(), "confidence:0.9,min=3,every=2");
    assert_eq!("random:20,ends=kept".parse::<ControllerSpec>().unwrap().to_string(), "random:20");
}

#[test]
fn json_may_leave_options_out_and_not_invent_any() {
    let spec: ControllerSpec = serde_json::from_str(r#"{"controller": "entropy", "threshold": 0.5}"#).unwrap();
    assert_eq!(spec, ControllerSpec::Entropy(EntropyExit::new(ExitRule::new(0.5))));
    for json in [
        r#"{"controller": "entropy", "threshold": 0.5, "patient": 2}"#,
        r#"{"controller": "random", "budget": 2, "end": "free"}"#,
        r#"{"controller": "schedule", "max": 9, "min": 2}"#,
        r#"{"controller": "budgeted", "budget": 2, "inner": {"controller": "fast"}}"#,
        r#"{"controller": "uniform", "budget": -1}"#,
        r#"{"controller": "confidence", "threshold": null}"#,
    ] {
        assert!(serde_json::from_str::<ControllerSpec>(json).is_err(), "{json}");
    }
}

#[test]
fn wrong_texts_say_what_is_wrong() {
    let exit = "confidence:GAP[,patience=CHECKS][,min=LAYERS][,every=LAYERS]";
    let schedule = "schedule:MAX..MIN,to=POSITION[,from=POSITION][,warmup=LAYERS]";
    let random = "random:LAYERS[,ends=free]";
    for (text, found, expected) in [
        ("full:1", "full:1", "full"),
        ("skip", "skip", "skip:LAYER,LAYER,.."),
        ("skip:1,,2", "skip:1,,2", "skip:LAYER,LAYER,.."),
        ("uniform", "uniform", "uniform:LAYERS"),
        (" uniform: ", "uniform:", "uniform:LAYERS"),
        ("uniform:3,4", "4", "uniform:LAYERS"),
        ("uniform:99999999999999999999", "uniform:99999999999999999999", "uniform:LAYERS"),
        ("uniform:-1", "uniform:-1", "uniform:LAYERS"),
        ("exit:1e3", "exit:1e3", "exit:LAYERS"),
        ("random:", "random:", random),
        ("random:3,ends=loose", "random:3,ends=loose", random),
        ("random:3,ends=free,ends=kept", "ends=kept", random),
        ("random:3,4", "4", random),
        ("bernoulli:nan", "bernoulli:nan", "bernoulli:PROBABILITY[,ends=free]"),
        ("bernoulli:1e40", "bernoulli:1e40", "bernoulli:PROBABILITY[,ends=free]"),
        ("confidence:inf", "confidence:inf", exit),
        ("confidence:nan", "confidence:nan", exit),
        ("confidence:0.9,min=", "confidence:0.9,min=", exit),
        ("confidence:0.9,least=3", "least=3", exit),
        ("schedule:5..9", "schedule:5..9", schedule),
        ("schedule:28..14,to", "to", schedule),
        ("schedule:28..14", "schedule:28..14", schedule),
        ("schedule:28..14..7,to=9", "schedule:28..14..7,to=9", schedule),
        ("schedule:28,to=3", "schedule:28,to=3", schedule),
        ("similarity:0.1,clusters=-1", "similarity:0.1,clusters=-1", "similarity:EFFECT[,clusters=N][,ends=free]"),
        ("router:", "router:", "router:FILE"),
        ("replay: ", "replay:", "replay:FILE"),
        ("budgeted:nan:full", "budgeted:nan:full", "budgeted:LAYERS:CONTROLLER"),
        ("budgeted::full", "budgeted::full", "budgeted:LAYERS:CONTROLLER"),
        ("budgeted:18", "budgeted:18", "budgeted:LAYERS:CONTROLLER"),
        ("warmup:4:exit:x", "exit:x", "exit:LAYERS"),
    ] {
        let error = text.parse::<ControllerSpec>().unwrap_err();
        assert_eq!(error, SpecError::Form { expected, found: found.to_owned() }, "{text}");
        assert_eq!(error.to_string(), format!("found {found:?}; expected {expected}"));
    }
    for (text, found) in [("", ""), ("fast", "fast"), ("warmup:4:fast", "fast"), ("Full", "Full")] {
        let error = text.parse::<ControllerSpec>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("unknown controller {found:?}; known are full skip:LAYER")), "{error}");
    }
    let deep = "warmup:1:".repeat(100_000) + "full";
    assert_eq!(deep.parse::<ControllerSpec>(), Err(SpecError::TooDeep { limit: 16 }));
}

#[test]
fn names_are_the_same_in_text_and_json() {
    // One of each, in the order of the registry.
    let texts =
        ["full", "skip:1", "uniform:1", "exit:1", "influence:1", "random:1", "bernoulli:1", "schedule:2..1,to=1"];
    let more = ["confidence:1", "entropy:1", "saturation:1", "similarity:1", "router:a", "replay:a", "budgeted:1:full"];
    let texts = texts.iter().chain(&more).chain(&["warmup:1:full"]);
    assert_eq!(texts.clone().count(), ControllerSpec::all().len());
    for (text, form) in texts.zip(ControllerSpec::all()) {
        let spec: ControllerSpec = text.parse().unwrap();
        assert_eq!(spec.to_string(), *text);
        assert_eq!(serde_json::to_value(&spec).unwrap()["controller"], form.name());
        assert!(text.starts_with(form.name()));
    }
}

#[test]
fn needs_include_those_of_nested_controllers() {
    let needs = |text: &str| text.parse::<ControllerSpec>().unwrap().needs();
    for text in ["full", "random:3", "budgeted:2:confidence:0.5"] {
        assert_eq!(needs(text), Needs::default(), "{text}");
    }
    for text in ["router:a/b", "replay:a/b", "budgeted:2:warmup:1:router:a/b", "warmup:1:replay:a/b"] {
        assert_eq!(needs(text), Needs { files: vec!["a/b".into()], calibration: false }, "{text}");
    }
    for text in ["influence:3", "similarity:0.1", "budgeted:2:warmup:1:influence:3"] {
        assert_eq!(needs(text), Needs { files: vec![], calibration: true }, "{text}");
    }
}

#[test]
fn refused_files_are_not_opened() {
    let model = small_model(&Device::flex()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut recording = Recording::new(6);
    recording.push(0, vec![Action::Exit]).unwrap();
    recording.save(at("run.json")).unwrap();
    let router = LinearRouter::new([6, 32], 0.0, 0, &Device::flex());
    Routed::new(router, RouterOptions::default()).save(at("gates")).unwrap();
    let bytes = std::fs::read(at("gates")).unwrap();

    let build =
        |resources: &Resources, text: &str| text.parse::<ControllerSpec>().unwrap().build(&model, resources).map(drop);
    let open = Resources::new().folder(folder.path());
    let closed = || Resources::new().folder(folder.path()).without_files();
    let absolute = format!("replay:{}", at("run.json").display());
    for text in [
        "replay:run.json",
        "router:gates",
        "budgeted:2:replay:run.json",
        "warmup:1:budgeted:2:router:gates",
        absolute.as_str(),
    ] {
        build(&open, text).unwrap();
        let error = build(&closed(), text).unwrap_err();
        assert!(matches!(error, BuildError::FileRefused { .. }), "{error}");
    }
    // A file that is missing is refused like any other, so nothing tells whether it exists.
    let error = build(&closed().router("mine", bytes.clone()), "router:missing").unwrap_err().to_string();
    assert_eq!(
        error,
        "router would read the file missing, and files are refused; expected a name that was given: mine"
    );

    let given = closed().router("mine", bytes).recording("run", recording);
    for text in ["router:mine", "replay:run", "budgeted:2:router:mine", "full"] {
        build(&given, text).unwrap();
    }
    for text in ["router:run", "replay:mine"] {
        assert!(matches!(build(&given, text), Err(BuildError::FileRefused { .. })), "{text}");
    }
}

#[test]
fn calibrations_can_be_made_ahead() {
    let model = small_model(&Device::flex()).unwrap();
    let specs =
        ["influence:3", "budgeted:2:similarity:0.1,clusters=2"].map(|text| text.parse::<ControllerSpec>().unwrap());
    let error = Resources::new().prepare(&model, &specs).unwrap_err();
    assert!(matches!(error, BuildError::NoCalibrationText { .. }), "{error}");
    let resources = Resources::new().texts(vec![(0..20).collect()]);
    resources.prepare(&model, &specs).unwrap();
    let without_text = resources.texts(Vec::new());
    for spec in &specs {
        spec.build(&model, &without_text).unwrap();
    }
    let other: ControllerSpec = "similarity:0.1,clusters=3".parse().unwrap();
    assert!(matches!(other.build(&model, &without_text), Err(BuildError::NoCalibrationText { .. })));
}

#[test]
fn inputs_are_what_the_controller_is_made_from() {
    let model = small_model(&Device::flex()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let router = |bias| {
        let router = LinearRouter::new([6, 32], bias, 0, &Device::flex());
        Routed::new(router, RouterOptions::default()).save(at("gates")).unwrap();
        std::fs::read(at("gates")).unwrap()
    };
    let recording = |action| {
        let mut recording = Recording::new(6);
        recording.push(0, vec![action; 6]).unwrap();
        recording.save(at("run.json")).unwrap();
        recording
    };
    let inputs = |resources: &Resources, text: &str| {
        let spec: ControllerSpec = text.parse().unwrap();
        let inputs = spec.inputs(resources).unwrap();
        let needs = spec.needs();
        assert_eq!(inputs.is_empty(), needs.files.is_empty() && !needs.calibration, "{text}");
        inputs
    };
    let texts = |id| Resources::new().folder(folder.path()).texts(vec![vec![1, 2, 3], vec![id]]);
    let resources = texts(4);
    router(0.0);
    recording(Action::Run);
    for form in ControllerSpec::all() {
        // Every controller that needs something has an input.
        let value = match form.name() {
            "full" => "",
            "schedule" => ":5..4,to=9",
            "router" => ":gates",
            "replay" => ":run.json",
            "budgeted" => ":4:warmup:1:router:gates",
            "warmup" => ":1:replay:run.json",
            _ => ":1",
        };
        inputs(&resources, &format!("{}{value}", form.name()));
    }

    // A file and the same content in memory are the same; another content is not.
    let first_router = inputs(&resources, "router:gates");
    let first_run = inputs(&resources, "warmup:1:replay:run.json");
    let given = Resources::new().without_files().router("g", router(0.0)).recording("r", recording(Action::Run));
    assert_eq!(inputs(&given, "budgeted:3:router:g"), first_router);
    assert_eq!(inputs(&given, "replay:r"), first_run);
    assert!(first_router.keys().eq(["router"]) && first_run.keys().eq(["recording"]));
    router(1.0);
    recording(Action::Skip);
    assert_ne!(inputs(&resources, "router:gates"), first_router);
    assert_ne!(inputs(&resources, "replay:run.json"), first_run);
    std::fs::remove_file(at("gates")).unwrap();
    let missing = "router:gates".parse::<ControllerSpec>().unwrap().inputs(&resources).unwrap_err();
    assert!(matches!(missing, BuildError::File { controller: "router", .. }), "{missing}");

    // Measurements count by what they come from, measured or not.
    let before = inputs(&resources, "influence:3");
    "influence:3".parse::<ControllerSpec>().unwrap().build(&model, &resources).unwrap();
    assert_eq!(inputs(&resources, "influence:4"), before);
    assert_ne!(inputs(&texts(5), "influence:3"), before);
    assert_eq!(inputs(&texts(4).seed(9), "influence:3"), before, "nothing is drawn");
    let similarity = inputs(&resources, "similarity:0.1");
    assert_ne!(inputs(&texts(4).seed(9), "similarity:0.1"), similarity);
    "similarity:0.1".parse::<ControllerSpec>().unwrap().build(&model, &resources).unwrap();
    assert_eq!(inputs(&resources, "similarity:0.2"), similarity);
    let without_texts = resources.texts(Vec::new());
    assert_eq!(inputs(&without_texts, "influence:3"), before);
    let influence = LayerInfluence::measure(&model, &[vec![1, 2, 3]]).unwrap();
    let given = inputs(&texts(4).influence(influence), "influence:3");
    assert!(given.keys().eq(["given measurement"]));
}
