//! Times of passes, host reads and first passes.

use super::record::Record;
use burn::tensor::{Device, Tensor};
use dynlayer::burn;
use dynlayer::inference::controllers::{ControllerSpec, FullDepth, Resources};
use dynlayer::inference::{GenerateOptions, KvPolicy, generate};
use dynlayer::model::{KvCache, Llama, is_gpu, select_rows};
use dynlayer_examples::Loaded;
use serde_json::json;
use std::error::Error;
use std::time::Instant;

/// The number of prompt tokens of decode measurements.
const PROMPT: usize = 32;

/// A measurement of decode.
pub struct Decode<'a> {
    pub controllers: &'a [String],
    /// The number of new tokens.
    pub tokens: usize,
    pub kv_policy: KvPolicy,
    pub rounds: usize,
}

impl Decode<'_> {
    /// Measures the median milliseconds per pass by controller and number of rows.
    pub fn run(&self, loaded: &Loaded, rows: &[usize], record: &mut Record) -> Result<(), Box<dyn Error>> {
        for &n in rows {
            let mut times = vec![Vec::new(); self.controllers.len()];
            for round in 0..=self.rounds {
                for (spec, times) in self.controllers.iter().zip(&mut times) {
                    let started = Instant::now();
                    let per_pass = self.pass(&loaded.model, spec, n)?;
                    if round == 0 {
                        // The first round warms up.
                        Record::say(format_args!(
                            "{n} rows, {spec}: first run {:.1} s",
                            started.elapsed().as_secs_f64()
                        ));
                    } else {
                        times.push(per_pass * 1e3);
                    }
                }
            }
            let full = median(&mut times[0]);
            for (spec, times) in self.controllers.iter().zip(&mut times) {
                let (ms, count) = (median(times), n as f64);
                let found = json!({"ms_per_pass": ms, "tokens_per_second": count * 1e3 / ms, "of_first": ms / full,
                    "least": times[0], "most": times[times.len() - 1]});
                record.add(&format!("decode, {n} rows, {spec}, {}", self.kv_policy), found);
            }
        }
        Ok(())
    }

    /// Measures the seconds per decode pass.
    fn pass(&self, model: &Llama, spec: &str, rows: usize) -> Result<f64, Box<dyn Error>> {
        let prompts: Vec<Vec<u32>> = (0..rows).map(|row| prompt(row, PROMPT)).collect();
        let controller = spec.parse::<ControllerSpec>()?.build(model, &Resources::new())?;
        let mut options = options(self.tokens + 1);
        options.run.kv_policy = self.kv_policy;
        let (_, report) = generate(model, controller, &prompts, options)?.finish()?;
        if report.decode.passes == 0 {
            return Err("no decode pass".into());
        }
        Ok(report.decode.seconds / report.decode.passes as f64)
    }
}

/// Measures passes over prompts of these lengths, in tokens per second.
pub fn prefill(loaded: &Loaded, lengths: &[usize], record: &mut Record) -> Result<(), Box<dyn Error>> {
    for &length in lengths {
        let mut seconds = Vec::new();
        for round in 0..4 {
            let (_, report) = generate(&loaded.model, FullDepth, &[prompt(0, length)], options(1))?.finish()?;
            if round == 0 {
                Record::say(format_args!("{length} tokens: first run {:.1} s", report.prefill.seconds));
            } else {
                seconds.push(report.prefill.seconds);
            }
        }
        let middle = median(&mut seconds);
        let found = json!({"ms": middle * 1e3, "tokens_per_second": length as f64 / middle});
        record.add(&format!("prefill, {length} tokens"), found);
    }
    Ok(())
}

/// Measures what the engine's choices depend on: a host read, taking rows out of a batch, and a large product.
pub fn costs(loaded: &Loaded, times: u32, rows: usize, record: &mut Record) -> Result<(), Box<dyn Error>> {
    let (device, width) = (loaded.model.device(), loaded.model.config().d_model);
    let state = Tensor::<3>::ones([1, 1, width], &device);
    let one = || state.clone().narrow(2, 0, 1).add_scalar(1.0);
    record.add("host read of one number, us", json!(micros(&device, times, || read(&one()))?));
    let block = &loaded.model.layers()[0];
    let mlp = |x: Tensor<3>| block.feed_forward(x);
    record.add("MLP of one token, queued, us", json!(queued(&device, times, || mlp(state.clone()))?));
    let read_back = || read(&mlp(state.clone()).narrow(2, 0, 1));
    record.add("MLP of one token and a read, us", json!(micros(&device, times, read_back)?));
    let model = &loaded.model;
    let mut cache = model.cache(1, 64);
    let frame = model.frame(&cache, &[0], &[vec![0]]);
    let layer = |cache: &mut KvCache| block.forward(state.clone(), &frame, cache.layer_mut(0));
    record.add("layer of one token, queued, us", json!(queued(&device, times, || layer(&mut cache))?));
    for layers in [1, 8] {
        let layers: Vec<usize> = (0..layers.min(model.config().n_layers)).collect();
        let skipped = |cache: &mut KvCache| model.propagate(&layers, &state, &frame, cache);
        let name = format!("keys and values of one token, {} layers, queued, us", layers.len());
        record.add(&name, json!(queued(&device, times, || skipped(&mut cache))?));
    }
    let logits = || model.logits(state.clone());
    record.add("norm and head of one token, queued, us", json!(queued(&device, times, logits)?));
    record.add("norm and head of one token and a read, us", json!(micros(&device, times, || read(&logits()))?));
    let begun = || (model.frame(&cache, &[0], &[vec![0]]), model.embed(model.tokens(&[&[0]])));
    record.add("frame and embedding of one token, queued, us", json!(queued(&device, times, begun)?));
    let batch = Tensor::<3>::ones([64, 1, width], &device);
    let half: Vec<usize> = (0..64).step_by(2).collect();
    let gathered = || {
        let index: Vec<i64> = half.iter().map(|row| i64::try_from(*row).unwrap_or(0)).collect();
        let index = Tensor::<1, burn::tensor::Int>::from_data(index.as_slice(), &device);
        let some = select_rows(batch.clone(), &half);
        batch.clone().select_assign(0, index, some, burn::tensor::IndexingUpdateOp::Add)
    };
    record.add("gather and scatter of 32 of 64 rows, queued, us", json!(queued(&device, times, gathered)?));
    let many = Tensor::<3>::ones([rows, 1, width], &device);
    let seconds = queued(&device, times.div_ceil(2), || mlp(many.clone()))? * 1e-6;
    let flops = 2.0 * rows as f64 * 3.0 * (width * loaded.model.config().d_ff) as f64;
    record.add(&format!("MLP of {rows} rows, GFLOP/s"), json!(flops / seconds / 1e9));
    Ok(())
}

/// Asks for more memory than any device has, and checks that this is an error and that the next generation works.
pub fn memory(loaded: &Loaded, record: &mut Record) -> Result<(), Box<dyn Error>> {
    let model = &loaded.model;
    if !is_gpu(&model.device()) {
        Record::say(format_args!("SKIPPED: a CPU would fill its swap space"));
        return Ok(());
    }
    let run = || {
        let mut cache = model.cache(1, 30_000_000);
        let frame = model.frame(&cache, &[0], &[vec![0]]);
        let hidden = model.forward(model.tokens(&[&[0]]), &frame, &mut cache);
        model.logits(hidden).try_into_data().map(|data| data.try_into_vec_as::<f32>().map(|logits| logits[0]))
    };
    let found = run();
    record.check("too large a cache is an error", found.is_err(), json!(format!("{found:?}")));
    let (completions, _) = generate(model, FullDepth, &[prompt(0, 9)], options(3))?.finish()?;
    record.check("the next generation works", completions[0].tokens.len() == 3, json!(completions[0].tokens));
    Ok(())
}

/// Measures generations of three tokens after prompts of these lengths, each once: the first one of a process compiles and
/// tunes.
pub fn first(loaded: &Loaded, lengths: &[usize], record: &mut Record) -> Result<(), Box<dyn Error>> {
    for (i, &length) in lengths.iter().enumerate() {
        let started = Instant::now();
        generate(&loaded.model, FullDepth, &[prompt(0, length)], options(3))?.finish()?;
        let seconds = started.elapsed().as_secs_f64();
        record.add(&format!("prompt {i} of {length} tokens, s"), json!(seconds));
    }
    Ok(())
}

fn options(tokens: usize) -> GenerateOptions<'static> {
    GenerateOptions { max_new_tokens: tokens, ..GenerateOptions::default() }
}

/// Some token ids that the row's number decides.
fn prompt(row: usize, tokens: usize) -> Vec<u32> {
    (0..tokens).map(|i| u32::try_from((row * 13 + i * 7) % 31).unwrap_or(0)).collect()
}

/// Returns the median microseconds of `f`.
fn micros<T>(device: &Device, times: u32, mut f: impl FnMut() -> T) -> Result<f64, Box<dyn Error>> {
    for _ in 0..times.min(10) {
        f();
    }
    device.sync()?;
    let mut samples: Vec<f64> = (0..times)
        .map(|_| {
            let started = Instant::now();
            f();
            started.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    Ok(median(&mut samples))
}

/// Returns the mean microseconds of `f` when its launches queue up, until the device has finished.
fn queued<T>(device: &Device, times: u32, mut f: impl FnMut() -> T) -> Result<f64, Box<dyn Error>> {
    for _ in 0..times.min(10) {
        f();
    }
    device.sync()?;
    let started = Instant::now();
    for _ in 0..times {
        f();
    }
    device.sync()?;
    Ok(started.elapsed().as_secs_f64() * 1e6 / f64::from(times))
}

fn read(x: &Tensor<3>) -> Option<f32> {
    x.clone().try_into_data().ok()?.try_into_vec_as::<f32>().ok()?.first().copied()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
