//! Controllers that are measured on text.

use super::{LAYERS, assert_batch_equals_solo, options, prompts, run, small, without_effect};
use dynlayer::inference::controllers::{
    CalibrationError, Ends, FullDepth, InfluenceSkip, LayerInfluence, SimilaritySkip, StateEffects,
};
use dynlayer::inference::report::Ran;
use dynlayer::inference::{ControlFrom, FileError, TokenProblem};
use dynlayer::model::Llama;

fn texts() -> Vec<Vec<u32>> {
    vec![(0..40).map(|i| (i * 7 + 3) % 97).collect(), (0..25).map(|i| (i * i) % 97).collect()]
}

/// Returns 1 - cos of the states entering and leaving each layer, for every token, from a plain pass.
fn effects(model: &Llama, texts: &[Vec<u32>]) -> Vec<Vec<(Vec<f64>, f64)>> {
    let mut layers = vec![Vec::new(); model.layers().len()];
    for text in texts {
        let mut cache = model.cache(1, text.len());
        let frame = model.frame(&cache, &[0], &[(0..text.len()).collect()]);
        let mut hidden = model.embed(model.tokens(&[text]));
        let mut before = crate::support::rows(hidden.clone());
        for (layer, block) in model.layers().iter().enumerate() {
            hidden = block.forward(hidden, &frame, cache.layer_mut(layer));
            let after = crate::support::rows(hidden.clone());
            for (x, y) in before.iter().zip(&after) {
                let dot =
                    |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
                let (xx, yy) = (dot(x, x).sqrt(), dot(y, y).sqrt());
                layers[layer].push((x.iter().map(|x| f64::from(*x) / xx).collect(), 1.0 - dot(x, y) / (xx * yy)));
            }
            before = after;
        }
    }
    layers
}

#[test]
fn block_influence_is_its_definition() {
    let model = small();
    let influence = LayerInfluence::measure(&model, &texts()).unwrap();
    assert_eq!(influence.tokens(), 65);
    for (found, tokens) in influence.values().iter().zip(effects(&model, &texts())) {
        let expected = tokens.iter().map(|(_, effect)| effect).sum::<f64>() / 65.0;
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        assert!(*found > 0.0);
    }
}

#[test]
fn the_metric_of_the_same_name_agrees() {
    let model = small();
    let mut metric = dynlayer::metrics::hidden::BlockInfluence::default();
    for text in texts() {
        let mut cache = model.cache(1, text.len());
        let frame = model.frame(&cache, &[0], &[(0..text.len()).collect()]);
        let mut states = vec![model.embed(model.tokens(&[&text]))];
        for (layer, block) in model.layers().iter().enumerate() {
            states.push(block.forward(states[layer].clone(), &frame, cache.layer_mut(layer)));
        }
        metric.add(&burn::tensor::Tensor::cat(states, 0)).unwrap();
    }
    let measured = LayerInfluence::measure(&model, &texts()).unwrap();
    for (found, expected) in metric.values().unwrap().iter().zip(measured.values()) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

#[test]
fn layers_that_do_nothing_are_dropped_first_and_nothing_changes() {
    let model = without_effect(small(), &[1, 3]);
    let influence = LayerInfluence::measure(&model, &texts()).unwrap();
    assert_eq!((influence.values()[1], influence.values()[3]), (0.0, 0.0));
    assert_eq!(influence.ranking()[..2], [3, 1], "of equals the earlier one stays");
    assert_eq!(influence.kept(4), [0, 1, 2, 4]);
    let full = run(&model, FullDepth, &prompts(), options(vec![], ControlFrom::LastPromptToken)).0;
    for budget in [3, 4] {
        let controller = InfluenceSkip::new(budget, influence.clone());
        let (done, report) = run(&model, controller, &prompts(), options(vec![], ControlFrom::LastPromptToken));
        assert_eq!(report.mean_depth(), Some(budget as f64));
        assert!(done.iter().zip(&full).all(|(a, b)| a.tokens == b.tokens));
    }
}

#[test]
fn similarity_skips_exactly_the_layers_that_do_nothing() {
    let model = without_effect(small(), &[1, 3]);
    let full = run(&model, FullDepth, &prompts(), options(vec![], ControlFrom::LastPromptToken)).0;
    for clusters in [1, 4, 100] {
        let effects = StateEffects::measure(&model, &texts(), clusters, 0).unwrap();
        let (done, report) =
            run(&model, SimilaritySkip::new(1e-6, effects), &prompts(), options(vec![], ControlFrom::LastPromptToken));
        for (done, full) in done.iter().zip(&full) {
            assert_eq!(done.tokens, full.tokens);
            assert!(done.routes.iter().all(|route| route.to_string() == "#.#.#"), "{clusters}");
        }
        assert_eq!(report.decode.host_reads, 0, "all clusters of a layer agree");
    }
}

#[test]
fn the_first_and_the_last_layer_stay_unless_they_are_free() {
    let model = without_effect(small(), &[0, 2, 4]);
    for (ends, route) in [(Ends::Kept, "##.##"), (Ends::Free, ".#.#.")] {
        let effects = StateEffects::measure(&model, &texts(), 3, 0).unwrap();
        let controller = SimilaritySkip::new(1e-6, effects).ends(ends);
        let (done, _) = run(&model, controller, &prompts(), options(vec![], ControlFrom::LastPromptToken));
        assert!(done.iter().flat_map(|done| &done.routes).all(|found| found.to_string() == route));
    }
}

#[test]
fn clusters_hold_the_mean_effect_of_their_tokens() {
    let model = small();
    let measured = StateEffects::measure(&model, &texts(), 4, 9).unwrap();
    assert_eq!(measured, StateEffects::measure(&model, &texts(), 4, 9).unwrap(), "the same seed");
    for (clusters, tokens) in measured.layers().iter().zip(effects(&model, &texts())) {
        assert_eq!(clusters.iter().map(|cluster| cluster.tokens).sum::<usize>(), 65);
        let mut sums = vec![(0.0, 0); clusters.len()];
        for (state, effect) in &tokens {
            let dot = |c: &[f32]| state.iter().zip(c).map(|(a, b)| a * f64::from(*b)).sum::<f64>();
            let scores: Vec<f64> = clusters.iter().map(|cluster| dot(&cluster.centroid)).collect();
            let nearest = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
            sums[nearest].0 += effect;
            sums[nearest].1 += 1;
        }
        for (cluster, (sum, n)) in clusters.iter().zip(sums) {
            assert_eq!(cluster.tokens, n, "every token is in the cluster of its nearest centroid");
            assert!((f64::from(cluster.effect) - sum / n as f64).abs() < 1e-5);
        }
    }
}

/// The route of every token follows from its states: the nearest centroid's effect against the threshold.
#[test]
fn similarity_follows_the_nearest_centroid() {
    let model = small();
    let effects = StateEffects::measure(&model, &texts(), 6, 1).unwrap();
    let all: Vec<f32> = effects.layers().iter().flatten().map(|cluster| cluster.effect).collect();
    let threshold = all.iter().sum::<f32>() / all.len() as f32;
    let mut inner = SimilaritySkip::new(threshold, effects.clone());
    let mut expected = Vec::new();
    let watched = crate::controllers::watch(&mut inner, |site| {
        let states = site.last_hidden().into_data().try_into_vec_as::<f32>().unwrap();
        for (row, state) in site.rows().iter().zip(states.chunks_exact(48)) {
            let dot = |c: &[f32]| state.iter().zip(c).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            let clusters = &effects.layers()[site.layer()];
            let nearest = clusters.iter().max_by(|a, b| dot(&a.centroid).total_cmp(&dot(&b.centroid))).unwrap();
            let ends = site.layer() == 0 || site.layer() == LAYERS - 1;
            expected.push((row.id, site.layer(), ends || nearest.effect >= threshold));
        }
    });
    let (done, report) = run(&model, watched, &prompts(), options(vec![], ControlFrom::LastPromptToken));
    assert!(report.decode.host_reads > 0, "some layer's clusters disagree");
    for done in &done {
        let found: Vec<bool> =
            done.routes.iter().flat_map(|r| r.layers().iter().map(|ran| *ran != Ran::default())).collect();
        let expected: Vec<bool> =
            expected.iter().filter(|(id, ..)| *id == done.sequence).map(|(.., runs)| *runs).collect();
        assert_eq!(found, expected);
        assert!(found.contains(&false));
    }
}

#[test]
fn calibrations_are_saved_and_loaded() {
    let model = small();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.json");
    let influence = LayerInfluence::measure(&model, &texts()).unwrap();
    influence.save(&path).unwrap();
    let loaded = LayerInfluence::load(&path).unwrap();
    assert_eq!(loaded.ranking(), influence.ranking());
    assert!(loaded.values().iter().zip(influence.values()).all(|(a, b)| (a - b).abs() < 1e-15));
    assert!(
        matches!(StateEffects::load(&path), Err(CalibrationError::File(FileError::Json { .. }))),
        "a file of the other kind"
    );
    let effects = StateEffects::measure(&model, &texts(), 3, 0).unwrap();
    effects.save(&path).unwrap();
    assert_eq!(StateEffects::load(&path).unwrap(), effects);
    assert!(matches!(
        LayerInfluence::load(folder.path().join("none")),
        Err(CalibrationError::File(FileError::Io { .. }))
    ));
    let wide = r#"{"d_model": 2, "state_effects": [[{"centroid": [1.0], "effect": 0.5, "tokens": 1}]]}"#;
    assert!(serde_json::from_str::<StateEffects>(wide).unwrap_err().to_string().contains("a centroid of width 1"));
}

#[test]
fn texts_that_cannot_be_measured() {
    let model = small();
    let measure = |texts: &[Vec<u32>]| LayerInfluence::measure(&model, texts).unwrap_err();
    assert!(matches!(measure(&[]), CalibrationError::NoText));
    assert!(matches!(measure(&[vec![1], vec![]]), CalibrationError::Text { text: 1, problem: TokenProblem::Empty }));
    assert!(matches!(
        measure(&[vec![1; 65]]),
        CalibrationError::Text { problem: TokenProblem::TooLong { tokens: 65, context: 64 }, .. }
    ));
    assert!(matches!(
        measure(&[vec![97]]),
        CalibrationError::Text { problem: TokenProblem::OutOfRange { token: 97, vocab_size: 97 }, .. }
    ));
    let none = StateEffects::measure(&model, &texts(), 0, 0).unwrap_err();
    assert!(matches!(none, CalibrationError::Value { .. }), "{none}");

    let mut broken = small();
    let shape = broken.embed_tokens.dims();
    let nan = burn::tensor::Tensor::full(shape, f32::NAN, &broken.device());
    broken.embed_tokens = burn::module::Param::from_tensor(nan).into();
    let error = LayerInfluence::measure(&broken, &texts()).unwrap_err();
    assert!(matches!(error, CalibrationError::NotFinite { layer: 0, what: "entering" }), "{error}");
}

#[test]
fn calibrated_controllers_do_not_depend_on_the_batch() {
    let model = small();
    let effects = StateEffects::measure(&model, &texts(), 6, 1).unwrap();
    let all: Vec<f32> = effects.layers().iter().flatten().map(|cluster| cluster.effect).collect();
    let threshold = all.iter().sum::<f32>() / all.len() as f32;
    for from in ControlFrom::ALL {
        assert_batch_equals_solo(&model, "similarity", from, || SimilaritySkip::new(threshold, effects.clone()));
    }
}
