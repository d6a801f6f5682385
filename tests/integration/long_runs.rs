//! Runs of more tokens than the cache has room for at first.

use crate::support::{Routes, assert_close, config, device, follow, masked};
use dynlayer::inference::{
    Action, ControlFrom, Controller, Decision, KvPolicy, PartialSkips, RunSettings, ScoreItem, ScoreOptions, Site,
    controller_fn, score, score_batch,
};
use dynlayer::model::{Llama, WeightDtype};

/// The number of tokens, more than the 256 slots that a cache begins with beside the prompt's.
const TOKENS: usize = 290;

fn model() -> Llama {
    let json = r#"{"model_type": "llama", "vocab_size": 97, "hidden_size": 24, "intermediate_size": 32,
        "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1,
        "max_position_embeddings": 700, "rms_norm_eps": 1e-5, "rope_theta": 10000.0}"#;
    config(json).init(3, WeightDtype::F32, &device()).unwrap()
}

fn text(start: usize, tokens: usize) -> Vec<u32> {
    (0..tokens).map(|i| ((start + i * i) % 97) as u32).collect()
}

/// Returns routes in which each layer but the first runs its attention for three tokens and skips it for one, at a
/// different time per layer.
fn routes(row: usize) -> Routes {
    let action = |token: usize, layer: usize| match (token + 3 * layer + row) % 7 {
        0 | 1 => Action::Skip,
        2 => Action::SkipAttention,
        3 => Action::SkipMlp,
        _ => Action::Run,
    };
    (0..7).map(|token| (0..4).map(|layer| action(token, layer)).collect()).collect()
}

#[test]
fn a_growing_cache_keeps_what_it_holds() {
    let model = model();
    let (prompt, continuation) = (text(5, 6), text(40, TOKENS));
    for kv_policy in KvPolicy::ALL {
        let options = ScoreOptions {
            run: RunSettings { control_from: ControlFrom::LastPromptToken, kv_policy, ..RunSettings::default() },
            keep_logits: true,
            ..ScoreOptions::default()
        };
        let routes = routes(0);
        let (scored, _) = score(&model, follow(&routes), &prompt, &continuation, &options).unwrap();
        let found: Vec<Vec<f32>> = scored.tokens.into_iter().map(|token| token.logits).collect();
        // The reference's cache has its full size from the beginning.
        let omit = kv_policy == KvPolicy::Omit;
        assert_close(&found, &masked(&model, &routes, &prompt, &continuation, false, omit));
    }
}

#[test]
fn rows_that_leave_before_and_after_it_grows() {
    let model = model();
    let all: Vec<Routes> = (0..4).map(routes).collect();
    let controller = || -> Box<dyn Controller + '_> {
        Box::new(controller_fn(|site: &Site<'_>| {
            Decision::per_row(site.rows().iter().map(|row| all[row.id as usize][row.generated % 7][site.layer()]))
        }))
    };
    let items: Vec<ScoreItem> = [(3, 20), (1, TOKENS), (9, TOKENS - 25), (5, 262)]
        .into_iter()
        .enumerate()
        .map(|(i, (prompt, tokens))| ScoreItem { prompt: text(i, prompt), continuation: text(60 + i, tokens) })
        .collect();
    for kv_policy in KvPolicy::ALL {
        let options = ScoreOptions {
            run: RunSettings {
                control_from: ControlFrom::LastPromptToken,
                kv_policy,
                partial_skips: PartialSkips::Gather,
                ..RunSettings::default()
            },
            keep_logits: true,
            ..ScoreOptions::default()
        };
        let scores = score_batch(&model, controller(), &items, &options).unwrap();
        for (i, (item, sequence)) in items.iter().zip(scores.sequences).enumerate() {
            let found: Vec<Vec<f32>> = sequence.tokens.into_iter().map(|token| token.logits).collect();
            let omit = kv_policy == KvPolicy::Omit;
            assert_close(&found, &masked(&model, &all[i], &item.prompt, &item.continuation, false, omit));
        }
    }
}
