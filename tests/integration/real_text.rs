//! Perplexity of SmolLM2-135M-Instruct on a text that is not part of the project; runs only with `--ignored` (see
//! `main.rs`).

use crate::real_model::{load, path};
use dynlayer::metrics::distributions::{LogProbs, Windows, perplexity};
use dynlayer::model::{Checkpoint, KvDtype, Llama, WeightDtype};

/// The reference numbers are from transformers in f32 (`.ci/perplexity_reference.py`).
#[test]
#[ignore = "needs SmolLM2 and the text that DYNLAYER_TEXT names"]
fn perplexity_equals_transformers() {
    #[derive(serde::Deserialize)]
    struct Reference {
        length: usize,
        stride: usize,
        tokens_of_text: usize,
        first_ids: Vec<u32>,
        window_mean_nll: Vec<f64>,
        mean_nll: f64,
    }
    let reference: Reference = serde_json::from_str(include_str!("fixtures/perplexity.json")).unwrap();
    let text =
        std::env::var_os("DYNLAYER_TEXT").expect("DYNLAYER_TEXT names the text that the reference was made from");
    let text = std::fs::read_to_string(text).unwrap();
    let ids = Checkpoint::open(path("hf")).unwrap().tokenizer().unwrap().encode(&text, false).unwrap();
    assert_eq!((ids.len(), &ids[..8]), (reference.tokens_of_text, &reference.first_ids[..]));

    let windows = Windows::new(reference.length, reference.stride).unwrap();
    let scored = &ids[..reference.window_mean_nll.len() * reference.length];
    let measured = |model: &Llama, kv: KvDtype| {
        perplexity(scored, windows, |window| {
            let positions: Vec<Vec<usize>> = vec![(0..window.len()).collect()];
            let mut cache = model.cache_of(kv, 1, window.len());
            let frame = model.frame(&cache, &[0], &positions);
            let hidden = model.forward(model.tokens(&[window]), &frame, &mut cache);
            let predicting = hidden.narrow(1, 0, window.len() - 1);
            let logits = model.logits(predicting).squeeze_dim::<2>(0);
            LogProbs::from_logits(logits)?.nll(&window[1..])
        })
        .unwrap()
    };
    let model = load("hf", WeightDtype::F32);
    let found = measured(&model, KvDtype::F32);

    let differences = found.window_nll.iter().zip(&reference.window_mean_nll).map(|(a, b)| (a - b).abs());
    let worst = differences.fold(0.0, f64::max);
    println!("mean NLL {}, transformers {}, worst window {worst:.2e}", found.mean_nll, reference.mean_nll);
    assert_eq!(found.window_nll.len(), reference.window_mean_nll.len());
    assert!((found.mean_nll - reference.mean_nll).abs() < 1e-4);
    assert!(worst < 1e-4, "a window differs by {worst}");

    let narrow = measured(&model, KvDtype::F16).mean_nll;
    println!("mean NLL {narrow} with keys and values in f16, {:.4} % more", 100.0 * (narrow / found.mean_nll - 1.0));
    assert!((narrow / found.mean_nll - 1.0).abs() < 1e-4, "{narrow}");

    // Weights of 8 bits, and inputs of 8 bits with the blocks of the file, of which the folder holds the numbers.
    for (file, dtype) in [("hf", WeightDtype::Q8), ("SmolLM2-135M-Instruct.Q4_1.gguf", WeightDtype::Stored)] {
        let quantised = measured(&load(file, dtype), KvDtype::F32).mean_nll;
        println!("mean NLL {quantised} as {dtype}, {:.3} % of it more", 100.0 * (quantised / found.mean_nll - 1.0));
        assert!((quantised / found.mean_nll - 1.0).abs() < 0.005, "{dtype}: {quantised}");
    }
}
