//! The allocations of a decode pass on `flex`.

use crate::support::{config, device};
use allocation_counter::{AllocationInfo, measure};
use dynlayer::inference::{Action, GenerateOptions, controller_fn, generate};
use dynlayer::model::{WeightDtype, is_gpu};

/// The width of SmolLM2's states, and a small vocabulary.
const SMOL: [usize; 2] = [576, 97];

/// Returns what each decode pass allocates, from the second on.
fn passes(layers: usize, [d_model, vocab_size]: [usize; 2], dtype: WeightDtype, passes: usize) -> Vec<AllocationInfo> {
    let json = format!(
        r#"{{"model_type": "llama", "vocab_size": {vocab_size}, "hidden_size": {d_model}, "intermediate_size": 1536,
        "num_hidden_layers": {layers}, "num_attention_heads": 9, "num_key_value_heads": 3,
        "max_position_embeddings": 700, "rms_norm_eps": 1e-5, "rope_theta": 10000.0}}"#
    );
    let model = config(&json).init(3, dtype, &device()).unwrap();
    let options = GenerateOptions { max_new_tokens: passes + 2, ..GenerateOptions::default() };
    let mut run = generate(&model, controller_fn(|_| Action::Run), &[vec![1, 2, 3]], options).unwrap();
    let mut pass = || measure(|| drop(run.next().unwrap().unwrap()));
    pass();
    pass();
    (0..passes).map(|_| pass()).collect()
}

#[test]
fn a_decode_pass_allocates_the_same_at_every_length() {
    if is_gpu(&device()) {
        return println!("SKIPPED: the counts are those of flex");
    }
    for dtype in [WeightDtype::F32, WeightDtype::F16, WeightDtype::Q8] {
        let (few, many) = (passes(1, SMOL, dtype, 100), passes(3, SMOL, dtype, 100));
        // Lists of what each token ran, which the report keeps, grow now and then.
        for (later, early) in few[80..].iter().zip(&few[..20]).chain(many[80..].iter().zip(&many[..20])) {
            assert!(later.bytes_total.abs_diff(early.bytes_total) < 4096, "{dtype}: {early:?}, later {later:?}");
            assert!(later.count_total.abs_diff(early.count_total) < 8, "{dtype}: {early:?}, later {later:?}");
        }
        let layer = |of: fn(&AllocationInfo) -> u64| (of(&many[50]) - of(&few[50])) / 2;
        let (count, bytes) = (layer(|info| info.count_total), layer(|info| info.bytes_total));
        println!("{dtype}: {count} allocations of {bytes} bytes in all per layer");
        assert!(count <= 10, "{dtype}: {count} allocations per layer");
        assert!(bytes <= 1 << 10, "{dtype}: {bytes} bytes per layer");
    }
}

#[test]
fn a_decode_pass_allocates_less_than_a_megabyte() {
    if is_gpu(&device()) {
        return println!("SKIPPED: the counts are those of flex");
    }
    // What is outside of the layers grows with the vocabulary: here SmolLM2's, but narrower states.
    let info = passes(1, [288, 49_152], WeightDtype::Q8, 3).pop().unwrap();
    println!("{} allocations of {} bytes in all", info.count_total, info.bytes_total);
    // SmolLM2 has 29 layers more.
    assert!(info.bytes_total + (29 << 10) < 1 << 20, "{info:?}");
}
