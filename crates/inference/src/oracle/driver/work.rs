//! One item's work: its prompt once, and every lane from there.

use super::candidate::Boxed;
use super::judge::Judge;
use super::lane::{Done, Lane, Of, Task};
use super::lanes::{Lanes, Watching};
use super::measured::{Measured, Output};
use super::{Candidate, Cost, DriveError, DriveOptions, Item, Measure};
use crate::controllers::{FullDepth, RandomSkip, SkipLayers};
use crate::generation::{ForkSettings, GenerateError, GenerateOptions, LaneSampling, Prefilled};
use crate::report::{RunReport, SequenceReport};
use crate::sampling::Sampling;
use dynlayer_model::Llama;
use std::time::Instant;

/// What all items share.
pub(super) struct Work<'a> {
    pub(super) model: &'a Llama,
    pub(super) candidates: &'a [Candidate<'a>],
    pub(super) measure: &'a Measure<'a>,
    pub(super) options: &'a DriveOptions<'a>,
}

impl Work<'_> {
    /// Runs the prompt once and all lanes after it, and judges them.
    pub(super) fn run(&self, item: &Item) -> Result<Measured, DriveError> {
        let started = Instant::now();
        let failed = |source| DriveError::Item { id: item.id, source };
        let mut lanes: Vec<Lane> = self.lanes();
        let mut controllers = lanes.iter().map(|lane| self.controller(lane.of, item)).collect::<Result<Vec<_>, _>>()?;
        let settings = ForkSettings {
            run: self.options.run,
            new_tokens: self.options.max_new_tokens.max(item.reference_tokens.len()),
        };
        let mut watching = Watching(&mut controllers);
        let prefilled = Prefilled::new(self.model, &mut watching, item.id, &item.prompt, settings).map_err(failed)?;
        let mut run = Run { work: self, item, prefilled: &prefilled, lanes: &mut lanes, controllers: &mut controllers };
        run.all(Task::generates, &[]).map_err(failed)?;
        run.all(|task| task == Task::Reference, &item.reference_tokens).map_err(failed)?;
        let full = self.full(&lanes);
        let mut run = Run { work: self, item, prefilled: &prefilled, lanes: &mut lanes, controllers: &mut controllers };
        run.all(|task| task == Task::FullOutput, &full.clone().unwrap_or_default().tokens).map_err(failed)?;
        let judge = Judge {
            candidates: self.candidates,
            measure: self.measure,
            options: self.options,
            item,
            lanes: &lanes,
            full: full.as_ref(),
        };
        let (cells, null) = (judge.of_candidates()?, judge.of_routes()?);
        let seconds = started.elapsed().as_secs_f64();
        Ok(Measured { sequence: item.id, digest: item.digest(), full, cells, null, seconds })
    }

    /// All lanes of an item, in the order in which they are reported.
    fn lanes(&self) -> Vec<Lane> {
        let (first, halves) = match self.measure {
            Measure::Output(_) => (Task::Greedy, self.options.halves.is_some()),
            Measure::Likelihood => (Task::Reference, false),
            Measure::Agreement => (Task::FullOutput, false),
        };
        let candidates = || (0..self.candidates.len()).map(Of::Candidate);
        let lane = |task| move |of| Lane { of, task, done: None };
        let mut lanes: Vec<Lane> = candidates().map(lane(first)).collect();
        for half in 0..if halves { 2 } else { 0 } {
            lanes.extend(candidates().map(lane(Task::Sampled(half))));
        }
        let label_free = self.options.label_free && !matches!(self.measure, Measure::Agreement);
        if label_free && first != Task::Greedy {
            lanes.extend(candidates().map(lane(Task::FullOutput)));
        }
        let generated = first == Task::Greedy && self.candidates.iter().any(Candidate::is_full);
        if (label_free || first == Task::FullOutput) && !generated {
            lanes.push(lane(Task::Greedy)(Of::Full));
        }
        for depth in self.options.null_depths.iter().copied() {
            lanes.extend((0..self.candidates.len()).map(|number| lane(first)(Of::Route { depth, number })));
        }
        lanes
    }

    fn controller(&self, of: Of, item: &Item) -> Result<Boxed, DriveError> {
        Ok(match of {
            Of::Full => Box::new(FullDepth),
            Of::Candidate(index) => {
                let candidate = &self.candidates[index];
                let named =
                    |source| DriveError::Candidate { candidate: candidate.name().to_owned(), source: Box::new(source) };
                candidate.controller().map_err(named)?
            }
            Of::Route { depth, number } => {
                // Another seed for every route: as many different draws for the same sequence.
                let seed = self.options.run.seed.wrapping_add(number as u64);
                let runs = RandomSkip::new(depth).route(self.model.layers().len(), seed, item.id);
                Box::new(SkipLayers::new((0..runs.len()).filter(|layer| !runs[*layer])))
            }
        })
    }

    /// The full model's own output.
    fn full(&self, lanes: &[Lane]) -> Option<Output> {
        let full = |of| match of {
            Of::Full => true,
            Of::Candidate(index) => self.candidates[index].is_full(),
            Of::Route { .. } => false,
        };
        let lane = lanes.iter().find(|lane| lane.task == Task::Greedy && full(lane.of));
        lane.and_then(|lane| lane.done.as_ref()).map(|done| done.output.clone())
    }
}

/// The lanes of an item as they run.
struct Run<'a, 'w> {
    work: &'a Work<'w>,
    item: &'a Item,
    prefilled: &'a Prefilled<'w>,
    lanes: &'a mut [Lane],
    controllers: &'a mut [Boxed],
}

impl Run<'_, '_> {
    /// Runs all lanes of these tasks, so many together as the options say; `given` are the tokens of those that step
    /// through some.
    fn all(&mut self, of: impl Fn(Task) -> bool, given: &[u32]) -> Result<(), GenerateError> {
        let chosen: Vec<usize> = (0..self.lanes.len()).filter(|lane| of(self.lanes[*lane].task)).collect();
        let together = if self.work.options.cost == Cost::Milliseconds { 1 } else { self.work.options.lanes };
        chosen.chunks(together.max(1)).try_for_each(|chosen| self.together(chosen, given))
    }

    fn together(&mut self, chosen: &[usize], given: &[u32]) -> Result<(), GenerateError> {
        let ids: Vec<u64> = (0..chosen.len() as u64).collect();
        // Ascending, as `chosen` is.
        let controllers =
            self.controllers.iter_mut().enumerate().filter(|(lane, _)| chosen.binary_search(lane).is_ok());
        let mut controller = Lanes::new(controllers.map(|(_, controller)| controller).collect(), self.item.id);
        let tasks = chosen.iter().map(|lane| self.lanes[*lane].task);
        let (done, report) = if tasks.clone().all(Task::generates) {
            let samplings = tasks.map(|task| self.work.sampling(task)).collect();
            let generation = self.prefilled.generate(controller, &ids, samplings, self.work.generate_options());
            let (completions, report) = generation.finish()?;
            let done = completions.into_iter().map(|completion| Done {
                output: Output { tokens: completion.tokens, text: completion.text },
                ..Done::default()
            });
            (done.collect::<Vec<_>>(), report)
        } else {
            let scores = self.prefilled.score(&mut controller, &ids, given)?;
            let done = scores.sequences.into_iter().map(|sequence| Done {
                scored: sequence.tokens.iter().map(|t| (t.log_probability, t.likeliest == t.token)).collect(),
                ..Done::default()
            });
            (done.collect(), scores.report)
        };
        for ((lane, done), spent) in chosen.iter().zip(done).zip(&report.sequences) {
            self.lanes[*lane].done = Some(Done { cost: self.work.cost(spent, &report), ..done });
        }
        Ok(())
    }
}

impl<'a> Work<'a> {
    fn generate_options(&self) -> GenerateOptions<'a> {
        GenerateOptions {
            max_new_tokens: self.options.max_new_tokens,
            stop_tokens: self.options.stop_tokens.clone(),
            stop_strings: self.options.stop_strings.clone(),
            tokenizer: self.options.tokenizer,
            ..GenerateOptions::default()
        }
    }

    fn sampling(&self, task: Task) -> LaneSampling {
        let seed = self.options.run.seed;
        match (task, &self.options.halves) {
            (Task::Sampled(half), Some(sampling)) => {
                LaneSampling { sampling: sampling.clone(), seed: seed.wrapping_add(half) }
            }
            _ => LaneSampling { sampling: Sampling::default(), seed },
        }
    }

    fn cost(&self, spent: &SequenceReport, report: &RunReport) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 tokens")]
        let tokens = spent.decode.tokens.max(1) as f64;
        match self.options.cost {
            Cost::Layers => spent.depth().unwrap_or_default(),
            Cost::Gigaflops => report.dimensions.flops(&spent.decode.nominal) / tokens / 1e9,
            Cost::Milliseconds => report.decode.seconds / tokens * 1e3,
        }
    }
}
