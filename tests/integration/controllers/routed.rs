//! Controllers with learned gates.

use super::{LAYERS, assert_batch_equals_solo, chain, options, prompts, run, small, watch};
use crate::support::some;
use burn::module::Module;
use burn::tensor::Tensor;
use dynlayer::inference::controllers::{
    AnyRouter, ControllerSpec, Ends, LinearRouter, MlpRouter, Resources, Routed, Router, RouterInput, RouterOptions,
};
use dynlayer::inference::report::Ran;
use dynlayer::inference::{ControlFrom, Controller};
use std::sync::{Arc, Mutex};

const WIDTH: usize = 48;
const INPUTS: [RouterInput; 5] = [
    RouterInput::Hidden,
    RouterInput::Embedding,
    RouterInput::Position,
    RouterInput::Constant,
    RouterInput::ShuffledHidden,
];

/// The layer, shape and values of the features that a router was given.
type Seen = Vec<(usize, [usize; 3], Vec<f32>)>;

/// A router that records its features, and runs a layer where the first feature is positive.
#[derive(Module, Debug)]
struct Spy {
    #[module(skip)]
    seen: Arc<Mutex<Seen>>,
}

impl Router for Spy {
    fn logits(&self, layer: usize, features: Tensor<3>) -> Tensor<2> {
        let [rows, tokens, _] = features.dims();
        let values = features.clone().into_data().try_into_vec_as::<f32>().unwrap();
        self.seen.lock().unwrap().push((layer, features.dims(), values));
        features.narrow(2, 0, 1).reshape([rows, tokens])
    }
}

fn standardised(x: &[f32]) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    x.iter().map(|x| (f64::from(*x) - mean) / variance.sqrt()).collect()
}

fn close(found: &[f32], expected: &[f64]) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-4)
}

/// One observed site: the layer, and per row its id, position, state and embedding.
type Sites = Vec<(usize, Vec<(u64, usize, Vec<f32>, Vec<f32>)>)>;

fn spied(input: RouterInput) -> (Sites, Seen, u64, Vec<String>) {
    let model = small();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let options_ = RouterOptions { input, ends: Ends::Free, ..RouterOptions::default() };
    let mut controller = Routed::new(Spy { seen: Arc::clone(&seen) }, options_);
    let mut sites: Sites = Vec::new();
    let watched = watch(&mut controller, |site| {
        let values = |x: Tensor<2>| x.into_data().try_into_vec_as::<f32>().unwrap();
        let (states, tokens) = (values(site.last_hidden()), site.embedded().dims()[1]);
        let embedded = values(site.embedded().clone().narrow(1, tokens - 1, 1).squeeze_dim::<2>(1));
        let rows = site.rows().iter().zip(states.chunks(WIDTH)).zip(embedded.chunks(WIDTH));
        let rows = rows.map(|((row, state), token)| (row.id, row.position, state.to_vec(), token.to_vec()));
        sites.push((site.layer(), rows.collect()));
    });
    let (done, report) = run(&model, watched, &prompts(), options(vec![], ControlFrom::All));
    let routes = done.iter().flat_map(|done| done.routes.iter().map(ToString::to_string)).collect();
    let seen = seen.lock().unwrap().clone();
    (sites, seen, report.prefill.host_reads + report.decode.host_reads, routes)
}

#[test]
fn routers_see_the_last_token_standardised() {
    for input in [RouterInput::Hidden, RouterInput::Embedding, RouterInput::Position] {
        let (sites, seen, reads, routes) = spied(input);
        assert_eq!((seen.len(), reads), (sites.len(), sites.len() as u64), "asked once a layer, one read each");
        for ((layer, rows), (at, dims, features)) in sites.iter().zip(&seen) {
            assert_eq!((layer, *dims), (at, [rows.len(), 1, WIDTH]));
            for ((_, position, state, token), features) in rows.iter().zip(features.chunks(WIDTH)) {
                let sinusoid = |i: usize| {
                    let angle = *position as f64 / 10_000f64.powf((i - i % 2) as f64 / WIDTH as f64);
                    (if i.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
                };
                let position: Vec<f32> = (0..WIDTH).map(sinusoid).collect();
                let expected = match input {
                    RouterInput::Hidden => state,
                    RouterInput::Embedding => token,
                    _ => &position,
                };
                assert!(close(features, &standardised(expected)), "{input:?} at layer {layer}");
            }
        }
        assert!(routes.iter().any(|route| route.contains('.')) && routes.iter().any(|route| route.contains('#')));
    }
}

#[test]
fn a_constant_is_asked_for_once() {
    let (_, seen, reads, routes) = spied(RouterInput::Constant);
    assert_eq!((seen.len(), reads), (LAYERS, LAYERS as u64));
    assert!(seen.iter().all(|(_, dims, x)| *dims == [1, 1, WIDTH] && x.iter().all(|x| *x == 1.0)));
    assert!(routes.iter().all(|route| route == "#####"));
}

#[test]
fn shuffled_states_are_some_state_of_the_same_sequence_and_layer() {
    let (sites, seen, ..) = spied(RouterInput::ShuffledHidden);
    let mut others = 0;
    for (i, ((layer, rows), (_, dims, features))) in sites.iter().zip(&seen).enumerate() {
        assert_eq!(*dims, [rows.len(), 1, WIDTH]);
        for ((id, _, state, _), features) in rows.iter().zip(features.chunks(WIDTH)) {
            let so_far = sites[..=i].iter().filter(|(at, _)| at == layer).flat_map(|(_, rows)| rows);
            let mut states = so_far.filter(|(other, ..)| other == id).map(|(_, _, state, _)| state);
            assert!(states.any(|state| close(features, &standardised(state))), "sequence {id} at layer {layer}");
            others += usize::from(!close(features, &standardised(state)));
        }
    }
    assert!(others > 10, "{others} of another token");
}

#[test]
fn the_threshold_is_a_probability() {
    let model = small();
    // The first feature of a standardised state is the logit.
    let depth = |threshold| {
        let options_ = RouterOptions { threshold, ends: Ends::Free, ..RouterOptions::default() };
        let router = Spy { seen: Arc::default() };
        run(&model, Routed::new(router, options_), &prompts(), options(vec![], ControlFrom::LastPromptToken))
            .1
            .mean_depth()
    };
    assert_eq!((depth(1e-6), depth(1.0 - 1e-6)), (Some(5.0), Some(0.0)));
    // One row, one layer, by hand: p = 1 / (1 + exp(-logit)) against the threshold, at every site.
    for threshold in [0.3f32, 0.5, 0.8] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let options_ = RouterOptions { threshold, ends: Ends::Kept, ..RouterOptions::default() };
        let routed = Routed::new(Spy { seen: Arc::clone(&seen) }, options_);
        let (done, _) = run(&model, routed, &[vec![1, 2, 3]], options(vec![], ControlFrom::LastPromptToken));
        let layers = done[0].routes.iter().flat_map(|route| route.layers().iter().enumerate());
        let middle = layers.filter(|(layer, ran)| {
            let end = *layer == 0 || *layer == LAYERS - 1;
            assert!(!end || **ran != Ran::default(), "the ends always run");
            !end
        });
        let found: Vec<bool> = middle.map(|(_, ran)| *ran != Ran::default()).collect();
        let seen = seen.lock().unwrap();
        let expected: Vec<bool> =
            seen.iter().map(|(_, _, x)| 1.0 / (1.0 + (-f64::from(x[0])).exp()) > f64::from(threshold)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn routers_do_not_depend_on_the_batch() {
    let model = small();
    for input in INPUTS {
        for from in some(ControlFrom::ALL, 1) {
            let options = RouterOptions { input, ends: Ends::Free, ..RouterOptions::default() };
            let linear =
                |seed| Routed::new(LinearRouter::new([LAYERS, WIDTH], 0.0, seed, &crate::support::device()), options);
            assert_batch_equals_solo(&model, &format!("{input:?}"), from, || linear(1));
            let mlp = || Routed::new(MlpRouter::new([LAYERS, WIDTH], 0.0, 1, &crate::support::device()), options);
            assert_batch_equals_solo(&model, &format!("{input:?}, MLP"), from, mlp);
        }
    }
}

#[test]
fn new_routers_run_everything_or_nothing_as_their_bias_says() {
    let model = small();
    let device = crate::support::device();
    for (bias, depth) in [(2.0, 5.0), (-2.0, 2.0)] {
        let linear = LinearRouter::new([LAYERS, WIDTH], bias, 0, &device);
        let mlp = MlpRouter::new([LAYERS, WIDTH], bias, 0, &device);
        for router in [AnyRouter::from(linear), AnyRouter::from(mlp)] {
            let routed = Routed::new(router, RouterOptions::default());
            let (_, report) = run(&model, routed, &prompts(), options(vec![], ControlFrom::LastPromptToken));
            assert_eq!(report.mean_depth(), Some(depth));
        }
    }
}

#[test]
fn a_saved_router_decides_the_same() {
    let model = small();
    let folder = tempfile::tempdir().unwrap();
    let resources = Resources::new().folder(folder.path());
    let spec: ControllerSpec = "router:gates.safetensors".parse().unwrap();
    for router in [
        AnyRouter::from(LinearRouter::new([LAYERS, WIDTH], 0.0, 3, &crate::support::device())),
        AnyRouter::from(MlpRouter::new([LAYERS, WIDTH], 0.0, 3, &crate::support::device())),
    ] {
        let options_ = RouterOptions { input: RouterInput::Embedding, ends: Ends::Free, ..RouterOptions::default() };
        let routed = Routed::new(router, options_);
        routed.save(folder.path().join("gates.safetensors")).unwrap();
        let loaded = spec.build(&model, &resources).unwrap();
        let o = || options(vec![], ControlFrom::LastPromptToken);
        let (first, _) = run(&model, routed, &prompts(), o());
        assert!(first.iter().flat_map(|done| &done.routes).any(|route| route.depth() < 5.0));
        assert_eq!(run(&model, loaded, &prompts(), o()).0, first);
    }
}

#[test]
fn routers_of_another_model() {
    let model = small();
    let folder = tempfile::tempdir().unwrap();
    let resources = Resources::new().folder(folder.path());
    let spec: ControllerSpec = "router:gates.safetensors".parse().unwrap();
    let missing = spec.build(&model, &resources).map(|_| ()).unwrap_err();
    assert!(chain(&missing).contains("gates.safetensors: cannot be read"), "{}", chain(&missing));
    let other =
        || Routed::new(LinearRouter::new([7, WIDTH], 0.0, 3, &crate::support::device()), RouterOptions::default());
    other().save(folder.path().join("gates.safetensors")).unwrap();
    let part = "the router is for 7 layers of width 48; the model has 5 of width 48";
    let built = spec.build(&model, &resources).map(|_| ()).unwrap_err();
    assert!(chain(&built).contains(part), "{}", chain(&built));
    let begun = super::error(&model, other(), ControlFrom::All);
    assert!(chain(&begun).contains(part), "{begun}");
}

#[test]
fn logits_of_a_wrong_shape_and_options_out_of_range() {
    #[derive(Module, Debug)]
    struct Wide;
    impl Router for Wide {
        fn logits(&self, _: usize, features: Tensor<3>) -> Tensor<2> {
            features.narrow(1, 0, 1).squeeze_dim::<2>(1)
        }
    }
    let model = small();
    let error =
        |options: RouterOptions| chain(&super::error(&model, Routed::new(Wide, options), ControlFrom::LastPromptToken));
    let wide = error(RouterOptions::default());
    assert!(wide.contains("logits at layer 1 have shape [4, 48]; expected [4, 1]"), "{wide}");
    for threshold in [0.0, 1.0, f32::NAN] {
        let found = error(RouterOptions { threshold, ..RouterOptions::default() });
        assert!(found.contains("the router's threshold is"), "{found}");
    }
    let found = error(RouterOptions { temperature: 0.0, ..RouterOptions::default() });
    assert!(found.contains("the router's temperature is 0"), "{found}");
}

/// A boxed controller of a loaded router can be sent to another thread.
#[test]
fn routed_is_send() {
    fn send<T: Controller + Send>(_: &T) {}
    send(&Routed::new(LinearRouter::new([1, 1], 0.0, 0, &crate::support::device()), RouterOptions::default()));
}
