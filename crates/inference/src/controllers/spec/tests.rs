//! Specifications as text and as JSON.

use super::*;
use proptest::prelude::*;

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
        Just(ControllerSpec::Full),
        prop::collection::vec(any::<usize>(), 0..4).prop_map(|layers| ControllerSpec::Skip { layers }),
        any::<usize>().prop_map(|budget| ControllerSpec::Uniform { budget }),
        any::<usize>().prop_map(|depth| ControllerSpec::Exit { depth }),
        any::<usize>().prop_map(|budget| ControllerSpec::Influence { budget }),
        (any::<usize>(), ends()).prop_map(|(budget, ends)| ControllerSpec::Random { budget, ends }),
        (finite(), ends()).prop_map(|(probability, ends)| ControllerSpec::Bernoulli { probability, ends }),
        schedule.prop_map(|(max, min, from, to, warm_up)| ControllerSpec::Schedule(Schedule {
            max,
            min,
            from,
            to,
            warm_up
        })),
        rules().prop_map(ControllerSpec::Confidence),
        rules().prop_map(ControllerSpec::Entropy),
        rules().prop_map(ControllerSpec::Saturation),
        (finite(), 0usize..20, ends()).prop_map(|(threshold, clusters, ends)| ControllerSpec::Similarity {
            threshold,
            clusters,
            ends
        }),
        files().prop_map(|file| ControllerSpec::Router { file }),
        files().prop_map(|file| ControllerSpec::Replay { file }),
    ];
    leaf.prop_recursive(4, 8, 1, |inner| {
        prop_oneof![
            (finite(), inner.clone())
                .prop_map(|(budget, inner)| ControllerSpec::Budgeted { budget, inner: Box::new(inner) }),
            (any::<usize>(), inner)
                .prop_map(|(tokens, inner)| ControllerSpec::Warmup { tokens, inner: Box::new(inner) }),
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
    assert_eq!(spec, ControllerSpec::Entropy(ExitRule::new(0.5)));
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
    for (text, part) in [
        ("", "unknown controller \"\""),
        ("fast", "unknown controller \"fast\""),
        ("full:1", "takes no argument, not \"1\""),
        ("skip", "takes layers counted from 0"),
        ("skip:1,,2", "not \"1,,2\""),
        ("uniform:", "takes a number of layers, not \"\""),
        ("uniform:99999999999999999999", "not \"99999999999999999999\""),
        ("uniform:-1", "takes a number of layers, not \"-1\""),
        ("exit:1e3", "not \"1e3\""),
        ("random:", "takes a number of layers, not \"\""),
        ("random:3,ends=loose", "has options ends=kept|free, not \"ends=loose\""),
        ("random:3,ends=free,ends=kept", "not \"ends=kept\""),
        ("random:3,4", "not \"4\""),
        ("bernoulli:nan", "takes a probability, not \"nan\""),
        ("confidence:inf", "not \"inf\""),
        ("confidence:nan", "not \"nan\""),
        ("confidence:0.9,min=", "not \"min=\""),
        ("bernoulli:1e40", "takes a probability, not \"1e40\""),
        ("schedule:5..9", "as to=POSITION, not \"5..9\""),
        ("budgeted:nan:full", "not \"nan:full\""),
        ("budgeted::full", "not \":full\""),
        ("confidence:0.9,least=3", "has options patience=CHECKS, min=LAYERS, every=LAYERS, not \"least=3\""),
        ("schedule:28..14", "as to=POSITION, not \"28..14\""),
        ("schedule:28,to=3", "MAX..MIN"),
        ("similarity:0.1,clusters=-1", "not \"clusters=-1\""),
        ("router:", "takes a file, not \"\""),
        ("budgeted:18", "after a colon, a controller, not \"18\""),
        ("budgeted:x:full", "not \"x:full\""),
        ("warmup:4:fast", "unknown controller \"fast\""),
    ] {
        let error = text.parse::<ControllerSpec>().unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    let deep = "warmup:1:".repeat(100_000) + "full";
    assert_eq!(deep.parse::<ControllerSpec>(), Err(SpecError::TooDeep { limit: 16 }));
}
