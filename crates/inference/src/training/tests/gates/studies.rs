//! The study, small.

use super::{counting, counting_model};
use crate::controllers::{LinearRouter, RouterInput};
use crate::training::study::{Measure, Study, StudyError, StudyProgress, StudyTask, Verdict};
use crate::training::{
    DepthLoss, RouterTraining, StepPart, TrainingBatch, TrainingError, TrainingFolder, TrainingItem,
};
use crate::{Completion, ControlFrom, GenerateOptions, ScoreItem};
use burn::tensor::Device;

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
    // Hidden and shuffled against the constant, and against each other, in both measures.
    assert_eq!(report.comparisons.len(), 6);
    let asked = report.hidden_against_constant(Measure::Nll).unwrap();
    assert_eq!(asked.gain.is_none(), asked.verdict() == Verdict::NotComparable);
    let text = report.to_string();
    assert!(text.contains("| hidden | alpha 0.1 |") && text.contains("constant"), "{text}");

    // What is on disk is not done again, and gives the same report.
    let mut again = 0;
    let count = |progress: StudyProgress<'_>| {
        if let StudyProgress::Step { .. } = progress {
            again += 1;
        }
    };
    assert_eq!(study.run(counting_model(), &task, kept, count).unwrap(), report);
    assert_eq!(again, 0);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<crate::training::study::StudyReport>(&json).unwrap(), report);
    let mut other = study.clone();
    other.training.trainer.rate.peak = 1e-3;
    let refused = other.run(counting_model(), &task, kept, |_| {});
    assert!(matches!(refused, Err(StudyError::Stored { .. })), "{refused:?}");
    other.seeds.clear();
    assert!(matches!(other.run(counting_model(), &task, kept, |_| {}), Err(StudyError::Empty { what: "seeds" })));
}
