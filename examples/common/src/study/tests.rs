//! Tests of a small study with a model that can count.

use super::{Measure, Study, StudyError, StudyProgress, StudyReport, StudyTask, Verdict};
use crate::stored::StoredError;
use dynlayer::burn::module::Module;
use dynlayer::burn::tensor::Device;
use dynlayer::inference::conformance::small_model;
use dynlayer::inference::controllers::{FullDepth, LinearRouter, RouterInput};
use dynlayer::inference::training::{
    AdamWOptions, DepthLoss, PassOptions, RouterTraining, StepLoss, StepPart, Trainer, TrainerOptions, TrainingBatch,
    TrainingError, TrainingFolder, TrainingItem, pass,
};
use dynlayer::inference::{Completion, ControlFrom, GenerateOptions, ScoreItem};
use dynlayer::model::Llama;
use std::sync::OnceLock;

/// Returns items that count up modulo 20: `a a+1 a+2` continues with `a+3 a+4 a+5`.
fn counting(first: u64, n: u64) -> Vec<TrainingItem> {
    let item = |id: u64| {
        let number = |i: u64| u32::try_from((id * 7 + i) % 20).unwrap();
        TrainingItem { id, prompt: (0..3).map(number).collect(), answer: (3..6).map(number).collect() }
    };
    (first..first + n).map(item).collect()
}

fn counting_batch(model: &Llama, at: StepPart, n: u64) -> Result<TrainingBatch, TrainingError> {
    TrainingBatch::new(model, counting((at.step + (at.part << 20)) * n, n))
}

/// Returns a model of six layers that was trained to count, for which few of them are enough.
fn counting_model() -> &'static Llama {
    static MODEL: OnceLock<Llama> = OnceLock::new();
    MODEL.get_or_init(|| {
        let mut options = TrainerOptions::new(80, 5e-3);
        options.adamw = AdamWOptions { weight_decay: 0.0, ..AdamWOptions::default() };
        let loss = |model: &Llama, at: StepPart| {
            let batch = counting_batch(model, at, 16)?;
            let pass = pass(model, &mut FullDepth, &batch, PassOptions::default())?;
            Ok(StepLoss { loss: pass.cross_entropy(model, &batch), metrics: Vec::new() })
        };
        let random = small_model(&Device::flex()).unwrap();
        let mut last = f64::NAN;
        let model = Trainer::new(random.train(), options).unwrap().run(loss, |report| last = report.loss);
        assert!(last < 0.1, "the model did not learn to count: {last}");
        model.unwrap().valid()
    })
}

struct Counting {
    items: Vec<ScoreItem>,
}

impl Counting {
    fn new() -> Self {
        let text = |item: TrainingItem| ScoreItem { prompt: item.prompt, continuation: item.answer };
        Self { items: counting(1000, 12).into_iter().map(text).collect() }
    }
}

impl StudyTask for Counting {
    type Router = LinearRouter;

    fn router(&self, seed: u64) -> LinearRouter {
        LinearRouter::new([6, 32], 2.0, seed, &Device::flex())
    }

    fn batch(&self, seed: u64, at: StepPart) -> Result<TrainingBatch, TrainingError> {
        TrainingBatch::new(counting_model(), counting((seed * 1000 + at.step) * 8, 8))
    }

    fn items(&self) -> &[ScoreItem] {
        &self.items
    }

    fn options(&self) -> GenerateOptions<'_> {
        GenerateOptions { max_new_tokens: 3, ..GenerateOptions::default() }
    }

    fn quality(&self, item: usize, output: &Completion) -> f64 {
        f64::from(u8::from(output.tokens == self.items[item].continuation))
    }
}

fn study() -> Study {
    let mut training = RouterTraining::new(12, 2e-2, DepthLoss::Price { alpha: 0.0 });
    training.control_from = ControlFrom::LastPromptToken;
    let mut study = Study::new(training, [0.1, 3.0].map(|alpha| DepthLoss::Price { alpha }), 0..2);
    study.inputs = vec![RouterInput::Hidden, RouterInput::Constant, RouterInput::ShuffledHidden];
    study.bootstrap.resamples = 100;
    study.batch = 5;
    study
}

#[test]
fn a_study_is_a_table_and_an_answer() {
    let (study, task) = (study(), Counting::new());
    let folder = tempfile::tempdir().unwrap();
    let kept = Some(TrainingFolder { path: folder.path(), what: "counting" });
    let mut steps = 0;
    let report = study
        .run(counting_model(), &task, kept, |progress| {
            if let StudyProgress::Step { .. } = progress {
                steps += 1;
            }
        })
        .unwrap();
    assert_eq!((report.runs.len(), report.points.len(), steps), (12, 6, 12 * 12));
    assert_eq!(report.full.layers, [6.0; 12]);
    assert!(report.full.quality.iter().sum::<f64>() > 10.0);
    for point in &report.points {
        assert!(point.layers.low <= point.layers.estimate && point.layers.estimate <= point.layers.high);
        assert!((2.0..=6.0).contains(&point.layers.estimate) && (0.0..=1.0).contains(&point.quality.estimate));
    }
    // Hidden and shuffled states are compared with the constant, and with each other, in both measures.
    assert_eq!(report.comparisons.len(), 6);
    let asked = report.hidden_against_constant(Measure::Nll).unwrap();
    assert_eq!(asked.gain.is_none(), asked.verdict() == Verdict::NotComparable);
    let text = report.to_string();
    assert!(text.contains("| hidden | alpha 0.1 |") && text.contains("constant"), "{text}");

    // Runs on disk are not repeated, and give the same report.
    let mut again = 0;
    let count = |progress: StudyProgress<'_>| {
        if let StudyProgress::Step { .. } = progress {
            again += 1;
        }
    };
    assert_eq!(study.run(counting_model(), &task, kept, count).unwrap(), report);
    assert_eq!(again, 0);
    // Shards in a folder of their own leave nothing to do.
    let other = tempfile::tempdir().unwrap();
    let parts = TrainingFolder { path: other.path(), what: "a test" };
    for shard in ["1/2", "0/2"] {
        study.run_shard(counting_model(), &task, parts, shard.parse().unwrap(), |_| {}).unwrap();
    }
    let mut trained = 0;
    let count = |progress: StudyProgress<'_>| trained += u32::from(matches!(progress, StudyProgress::Step { .. }));
    assert_eq!(study.run(counting_model(), &task, Some(parts), count).unwrap(), report);
    assert_eq!(trained, 0);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<StudyReport>(&json).unwrap(), report);
    let differs = |study: &Study, model: &Llama, task: &Counting| match study.run(model, task, kept, |_| {}) {
        Err(StudyError::Stored(StoredError::Other { setting, .. })) => setting,
        other => panic!("{other:?}"),
    };
    let mut other = study.clone();
    other.training.trainer.rate.peak = 1e-3;
    assert_eq!(differs(&other, counting_model(), &task), "recipe");
    assert_eq!(
        differs(&Study { batch: 4, ..study.clone() }, counting_model(), &task),
        "the number of items that are measured together"
    );
    let random = small_model(&Device::flex()).unwrap();
    assert_eq!(differs(&study, &random, &task), "the model's weights");
    let mut others = Counting::new();
    others.items[3].continuation[0] += 1;
    assert_eq!(differs(&study, counting_model(), &others), "the items");
    other.seeds.clear();
    assert!(matches!(other.run(counting_model(), &task, kept, |_| {}), Err(StudyError::Empty { what: "seeds" })));
}
