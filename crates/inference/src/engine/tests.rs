use super::partial::{Chooser, DeviceCost};
use super::{PassInput, PassOutput, PolicyCache, dimensions, run};
use crate::control::{Action, Decision, KvPolicy, PartialSkips, Phase, Row, controller_fn};
use burn::tensor::Device;
use dynlayer_model::config::LlamaConfig;
use dynlayer_model::{KvDtype, Llama, WeightDtype};

const TOKENS: usize = 4;
const ROWS: u64 = 3;

fn model() -> Llama {
    let json = r#"{"model_type": "llama", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true}"#;
    LlamaConfig::from_hf_json(json, "a test").unwrap().init(11, WeightDtype::F32, &Device::flex()).unwrap()
}

/// Runs one pass over three rows of four tokens, in which row 0 skips layers 1 and 3.
fn pass(model: &Llama, chooser: Chooser) -> PassOutput {
    let mut controller = controller_fn(|site| {
        let skips = |id: u64| id == 0 && site.layer() % 2 == 1;
        Decision::per_row(site.rows().iter().map(|row| if skips(row.id) { Action::Skip } else { Action::Run }))
    });
    let texts: Vec<Vec<u32>> = (0..3).map(|row| (row..row + 4).collect()).collect();
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let rows: Vec<Row> = (0..ROWS).map(|id| Row::text(id, TOKENS)).collect();
    let mut cache = PolicyCache::new(model, KvPolicy::Propagate, KvDtype::F32);
    for _ in &rows {
        cache.add_row(TOKENS);
    }
    let positions: Vec<Vec<usize>> = rows.iter().map(|_| (0..TOKENS).collect()).collect();
    let frame = cache.frame(model, &[0, 1, 2], &positions);
    let input = PassInput {
        model,
        hidden: model.embed(model.tokens(&texts)),
        layers: 0..model.layers().len(),
        frame: &frame,
        rows,
        phase: Phase::Prefill,
        controlled: true,
        chooser,
        dimensions: dimensions(model),
        keep_states: false,
    };
    run(input, &mut controller, &mut cache).unwrap()
}

#[test]
fn the_device_cost_chooses_per_sublayer_and_changes_no_result() {
    let model = model();
    let chooser = |skips, flops_per_second, gather_seconds| Chooser {
        device: DeviceCost { flops_per_second, gather_seconds },
        ..Chooser::new(skips, &Device::flex())
    };
    let cost = |flops_per_second, gather_seconds| chooser(PartialSkips::Modelled, flops_per_second, gather_seconds);
    let expected = pass(&model, Chooser::new(PartialSkips::RunAll, &Device::flex()));
    let expected = expected.hidden.into_data().try_into_vec_as::<f32>().unwrap();
    let asked = (3 + 5 + 5) * TOKENS as u64;
    let everything = 3 * 5 * TOKENS as u64;
    for (chooser, attention, mlp) in [
        (Chooser::new(PartialSkips::RunAll, &Device::flex()), everything, everything),
        (Chooser::new(PartialSkips::Gather, &Device::flex()), asked, asked),
        // Skipping a sublayer for four tokens saves some thirty thousand operations: not worth the copies on a CPU.
        (Chooser::new(PartialSkips::Modelled, &Device::flex()), everything, everything),
        (cost(1e3, 1e-9), asked, asked),               // slow arithmetic, cheap copies
        (cost(1e18, 1.0), everything, everything),     // fast arithmetic, slow copies
        (cost(f64::NAN, 1.0), everything, everything), // an unknown speed
        (cost(1e9, 30e-6), everything, asked),         // only for the MLP, which has more weights
        (chooser(PartialSkips::Gather, 1e18, 1.0), asked, asked),
    ] {
        let found = pass(&model, chooser);
        let nominal: u64 = found.tally.nominal.iter().map(|counts| counts.attention).sum();
        assert_eq!(nominal, asked, "{chooser:?}");
        let executed = |sublayer: fn(&dynlayer_metrics::cost::Counts) -> u64| -> u64 {
            found.tally.executed.iter().map(sublayer).sum()
        };
        assert_eq!((executed(|c| c.attention), executed(|c| c.mlp)), (attention, mlp), "{chooser:?}");
        let found = found.hidden.into_data().try_into_vec_as::<f32>().unwrap();
        let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-5 * largest, "{chooser:?}: {found} {expected}");
        }
    }
}

#[test]
fn bytes_per_weight_are_the_mean_of_all_matrices() {
    let model = model();
    assert!((dimensions(&model).bytes_per_weight - 4.0).abs() < 1e-12);
    let quantised = model.config().init(11, WeightDtype::Q8, &Device::flex()).unwrap();
    // The rows of the last projection of the MLP, 48 wide, are not whole blocks and are kept in f16.
    let (layers, halves, head) = (5.0 * 7680.0, 5.0 * 48.0 * 32.0, 64.0 * 32.0);
    let expected = ((layers - halves + head) * 34.0 / 32.0 + halves * 2.0) / (layers + head);
    assert!((dimensions(&quantised).bytes_per_weight - expected).abs() < 1e-12);
}
