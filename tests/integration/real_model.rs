//! SmolLM2-135M-Instruct: fixed cases, run when asked for (see `main.rs`).

use crate::support::{Routes, assert_close, masked, skipped};
use burn::tensor::Device;
use dynlayer::inference::{Action, ControlFrom, ScoreOptions};
use dynlayer::model::{Checkpoint, Llama, WeightDtype};
use std::path::PathBuf;

fn path(part: &str) -> PathBuf {
    let folder = std::env::var_os("DYNLAYER_MODEL").expect("DYNLAYER_MODEL names the folder of get_smollm2.sh");
    PathBuf::from(folder).join(part)
}

fn load(part: &str, dtype: WeightDtype) -> Llama {
    Checkpoint::open(path(part)).unwrap().load(dtype, &Device::flex(), |_| {}).unwrap()
}

/// Routes that change from token to token, drawn from a simple congruential sequence.
fn routes(seed: u64, tokens: usize, layers: usize) -> Routes {
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let action = |draw: u64| match draw % 10 {
        0..=4 => Action::Run,
        5..=7 => Action::Skip,
        8 => Action::SkipAttention,
        _ => Action::SkipMlp,
    };
    (0..tokens).map(|_| (0..layers).map(|_| action(draw())).collect()).collect()
}

#[test]
#[ignore = "needs SmolLM2"]
fn real_model_skipped_equals_masked() {
    let model = load("SmolLM2-135M-Instruct.Q4_1.gguf", WeightDtype::F32);
    let tokenizer = Checkpoint::open(path("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap().tokenizer().unwrap();
    let prompt = tokenizer.encode("The quick brown fox jumps over the lazy dog and", false).unwrap();
    let continuation = tokenizer.encode(" then it sleeps until the evening, as", false).unwrap();
    let options = ScoreOptions { control_from: ControlFrom::LastPromptToken, ..ScoreOptions::default() };
    for seed in 0..50 {
        let routes = routes(seed, continuation.len(), model.config().n_layers);
        let found = skipped(&model, &routes, &prompt, &continuation, &options);
        assert_close(&found, &masked(&model, &routes, &prompt, &continuation, false));
    }
}

/// One pass over the text against one per token. At full depth only: where layers are missing, the rounding of another
/// summation order grows, and 1e-4 of the largest logit was seen.
#[test]
#[ignore = "needs SmolLM2"]
fn real_model_cached_equals_uncached() {
    let model = load("SmolLM2-135M-Instruct.Q4_1.gguf", WeightDtype::F32);
    let full = vec![vec![Action::Run; model.config().n_layers]];
    let (prompt, continuation): (Vec<u32>, Vec<u32>) = ((400..420).collect(), (700..712).collect());
    let options = ScoreOptions { control_from: ControlFrom::LastPromptToken, ..ScoreOptions::default() };
    let found = skipped(&model, &full, &prompt, &continuation, &options);
    assert_close(&found, &masked(&model, &full, &prompt, &continuation, true));
}

#[test]
#[ignore = "needs SmolLM2"]
fn real_model_tokenizers_of_both_formats_agree() {
    let open = |part: &str| Checkpoint::open(path(part)).unwrap().tokenizer().unwrap();
    let (gguf, folder) = (open("SmolLM2-135M-Instruct.Q4_1.gguf"), open("hf"));
    for text in [
        "",
        "Hello,  world 2026!",
        "naïve façade 😀 \u{301}",
        "fn main() {\n\tprintln!(\"{:?}\", 1_000);\n}",
        "<|im_start|>user\n",
    ] {
        let ids = gguf.encode(text, false).unwrap();
        assert_eq!(ids, folder.encode(text, false).unwrap(), "{text:?}");
        assert_eq!(gguf.decode(&ids, false).unwrap(), text);
    }
}
