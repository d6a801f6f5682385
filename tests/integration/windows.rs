//! Attention windows and layers without rotation: what tokens see, and how it is counted.

use crate::support::{Routes, SMALL, assert_close, config, device, follow, random, rows, small_configs};
use dynlayer::inference::{Action, ControlFrom, KvPolicy, RunSettings, ScoreOptions, score};
use dynlayer::model::Llama;
use dynlayer::model::config::LlamaConfig;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const LAYERS: usize = 5;

fn windowed(windows: impl IntoIterator<Item = (usize, usize)>) -> LlamaConfig {
    LlamaConfig { windows: windows.into_iter().collect(), ..config(SMALL) }
}

fn text(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 29 + 5) % 97).collect()
}

/// The logits of a text in one pass without a cache.
fn uncached(model: &Llama, text: &[u32], positions: Vec<usize>) -> Vec<Vec<f32>> {
    let frame = model.uncached_frame(&[positions], &[0]);
    let mut hidden = model.embed(model.tokens(&[text]));
    let mut none = model.cache(0, 0);
    for (layer, block) in model.layers().iter().enumerate() {
        hidden = block.forward(hidden, &frame, none.layer_mut(layer));
    }
    rows(model.logits(hidden))
}

proptest! {
    #![proptest_config(crate::support::cases(96))]

    /// Windows go by positions, not by slots: passes of any lengths over a cache, in whose slots positions have gaps and
    /// need not even ascend, agree with one pass without a cache.
    #[test]
    fn windows_go_by_positions(
        text in prop::collection::vec((0u32..97, 0usize..40), 1..40), ascending: bool,
        cuts in prop::collection::vec(1usize..20, 1..40), config in small_configs(),
    ) {
        let model = random(&config, &device());
        let (text, mut positions): (Vec<u32>, Vec<usize>) = text.into_iter().unzip();
        if ascending {
            positions.sort_unstable();
        }
        let mut cache = model.cache(1, text.len());
        let (mut found, mut start) = (Vec::new(), 0);
        for cut in cuts.into_iter().chain([text.len()]) {
            let end = (start + cut).min(text.len());
            if start < end {
                let frame = model.frame(&cache, &[0], &[positions[start..end].to_vec()]);
                let hidden = model.forward(model.tokens(&[&text[start..end]]), &frame, &mut cache);
                found.extend(rows(model.logits(hidden)));
            }
            start = end;
        }
        assert_close(&found, &uncached(&model, &text, positions));
    }
}

/// With windows of three tokens, each of the five layers looks two tokens back.
#[test]
fn a_token_depends_on_those_within_reach_alone() {
    let model = random(&windowed((0..LAYERS).map(|layer| (layer, 3))), &device());
    let last = |changed: usize| {
        let mut text = text(20);
        text[changed] = 96;
        uncached(&model, &text, (0..20).collect()).split_off(19)
    };
    let expected = last(0);
    for out_of_reach in 1..9 {
        assert_close(&last(out_of_reach), &expected);
    }
    for within_reach in 9..19 {
        assert_ne!(last(within_reach), expected, "token {within_reach}");
    }
}

#[test]
fn a_window_as_long_as_the_text_hides_nothing() {
    let run = |config: &LlamaConfig, n: u32| uncached(&random(config, &device()), &text(n), (0..n as usize).collect());
    let (plain, windows) = (config(SMALL), windowed([(0, 30), (3, 30)]));
    assert_eq!(run(&windows, 30), run(&plain, 30));
    assert_ne!(run(&windows, 31), run(&plain, 31));
}

#[test]
fn without_rotation_positions_do_not_matter() {
    let run = |unrotated: BTreeSet<usize>, positions: Vec<usize>| {
        let config = LlamaConfig { unrotated, ..config(SMALL) };
        uncached(&random(&config, &device()), &text(12), positions)
    };
    let (ascending, others) = ((0..12).collect::<Vec<_>>(), (0..12).map(|i| i * 5 % 13).collect::<Vec<_>>());
    let all = || (0..LAYERS).collect();
    assert_eq!(run(all(), ascending.clone()), run(all(), others.clone()));
    let all_but_one = || (1..LAYERS).collect();
    assert_ne!(run(all_but_one(), ascending), run(all_but_one(), others));
}

/// The positions that tokens attend to, counted one by one.
#[test]
fn attended_positions_end_at_the_window() {
    use Action::{Run, Skip, SkipAttention};
    let windows = BTreeMap::from([(0, 2), (1, 4), (3, 40)]);
    let model = random(&windowed(windows.clone()), &device());
    let routes: Routes = vec![
        vec![Run, Skip, Run, Run, SkipAttention],
        vec![Skip, Run, SkipAttention, Run, Run],
        vec![Run, Run, Skip, Skip, Run],
    ];
    let (prompt, continuation) = (text(9), text(8));
    let (first, end) = (prompt.len() - 1, prompt.len() + continuation.len() - 1);
    let runs = |position: usize, layer: usize| {
        position.checked_sub(first).is_none_or(|i| routes[i % routes.len()][layer].runs_attention())
    };
    let seen = |own: usize, layer: usize| {
        let window = windows.get(&layer).copied().unwrap_or(end);
        (own + 1).saturating_sub(window)..own + 1
    };
    let places = move || (0..LAYERS).flat_map(move |layer| (0..end).map(move |own| (own, layer)));
    let full: usize = places().map(|(own, layer)| seen(own, layer).len()).sum();
    for kv_policy in KvPolicy::ALL {
        let run = RunSettings { kv_policy, control_from: ControlFrom::LastPromptToken, ..RunSettings::default() };
        let options = ScoreOptions { run, ..ScoreOptions::default() };
        let (_, report) = score(&model, follow(&routes), &prompt, &continuation, &options).unwrap();
        let (prefill, decode) = (report.sequences[0].prefill, report.sequences[0].decode);
        assert_eq!(prefill.full.attended + decode.full.attended, full as u64, "{kv_policy}");
        let hole = |at: usize, own: usize, layer: usize| kv_policy == KvPolicy::Omit && at != own && !runs(at, layer);
        let asked = places().filter(|(own, layer)| runs(*own, *layer));
        let asked = asked.map(|(own, layer)| seen(own, layer).filter(|at| !hole(*at, own, layer)).count());
        let asked: usize = asked.sum();
        assert_eq!(prefill.nominal.attended + decode.nominal.attended, asked as u64, "{kv_policy}");
    }
}

/// A training pass over whole texts of different lengths has the loss of passes token by token.
#[cfg(feature = "training")]
#[test]
fn training_passes_have_windows() {
    use dynlayer::inference::controllers::FullDepth;
    use dynlayer::inference::training::{PassOptions, TrainingBatch, TrainingItem, pass};
    let mut config = windowed([(0, 4), (1, 2), (4, 4)]);
    config.unrotated = BTreeSet::from([1, 3]);
    let text = text(40);
    let item = |id, from: usize, cut: usize, to: usize| TrainingItem {
        id,
        prompt: text[from..cut].to_vec(),
        answer: text[cut..to].to_vec(),
    };
    let items = [item(0, 0, 12, 20), item(1, 20, 22, 25), item(2, 25, 26, 40)];
    let model = random(&config, &device());
    let stepped: Vec<f64> = items
        .iter()
        .flat_map(|item| {
            let (scored, _) = score(&model, FullDepth, &item.prompt, &item.answer, &ScoreOptions::default()).unwrap();
            scored.tokens.into_iter().map(|token| -token.log_probability)
        })
        .collect();
    let expected = stepped.iter().sum::<f64>() / stepped.len() as f64;
    for device in [device(), device().autodiff()] {
        let model = random(&config, &device);
        let batch = TrainingBatch::new(&model, items.to_vec()).unwrap();
        let pass = pass(&model, &mut FullDepth, &batch, PassOptions::default()).unwrap();
        let loss = pass.cross_entropy(&model, &batch).into_data().try_into_vec_as::<f32>().unwrap()[0];
        assert!((f64::from(loss) - expected).abs() < 1e-4, "{loss} and {expected}");
    }
}
