//! The run of one item: runs the prompt once, and all lanes from there.

use super::candidate::BoxedController;
use super::lane::{Lane, LaneResult, Owner, Task};
use super::lane_controllers::LaneControllers;
use super::results::{MeasuredItem, Output};
use super::scoring::Scoring;
use super::{Candidate, Cost, Item, Measure, OracleError, OracleRun};
use crate::control::Observers;
use crate::controllers::{FullDepth, RandomSkip, SkipLayers};
use crate::generation::{GenerateError, Prefilled, SequenceOptions};
use crate::random;
use crate::report::{RunReport, SequenceReport};
use crate::sampling::Sampling;
use std::collections::HashMap;
use std::time::Instant;

/// An item whose lanes are being run.
struct ItemRun<'r, 'a> {
    run: &'r OracleRun<'a>,
    item: &'r Item,
    prompt: Prefilled<'a>,
    lanes: Vec<Lane>,
    /// The controller of each lane.
    controllers: Vec<BoxedController>,
    /// The results of the lanes that have run.
    results: HashMap<Lane, LaneResult>,
}

impl OracleRun<'_> {
    /// Runs the prompt once and all lanes after it, and scores the lanes.
    pub(super) fn measure_item(&self, item: &Item) -> Result<MeasuredItem, OracleError> {
        let started = Instant::now();
        let failed = |source| OracleError::Item { id: item.id, source };
        let lanes = self.lanes();
        let controllers = lanes.iter().map(|lane| self.controller(lane.owner, item));
        let mut controllers = controllers.collect::<Result<Vec<_>, _>>()?;
        let (model, run, tokenizer) = (self.model, self.options.run, self.options.tokenizer);
        let observers = Observers(&mut controllers);
        let prompt = Prefilled::new(model, observers, item.id, &item.prompt, run, tokenizer).map_err(failed)?;
        let mut run = ItemRun { run: self, item, prompt, lanes, controllers, results: HashMap::new() };
        run.run_all(Task::generates, &[]).map_err(failed)?;
        run.run_all(|task| task == Task::Reference, &item.reference_tokens).map_err(failed)?;
        let full = run.full_output();
        let full_tokens = full.as_ref().map_or(&[][..], |full| &full.tokens);
        run.run_all(|task| task == Task::FullOutput, full_tokens).map_err(failed)?;
        let scoring = Scoring { run: self, item, results: &run.results, full: full.as_ref() };
        let (cells, null) = (scoring.candidates()?, scoring.routes()?);
        let seconds = started.elapsed().as_secs_f64();
        Ok(MeasuredItem { sequence: item.id, digest: item.digest(), full, cells, null, seconds })
    }

    /// All lanes of an item, in the order in which they are run and reported.
    fn lanes(&self) -> Vec<Lane> {
        let (first, halves) = match self.measure {
            Measure::Output { .. } => (Task::Greedy, self.options.halves.is_some()),
            Measure::Likelihood => (Task::Reference, false),
            Measure::Agreement => (Task::FullOutput, false),
        };
        let candidates =
            |task| (0..self.candidates.len()).map(move |index| Lane { owner: Owner::Candidate(index), task });
        let mut lanes: Vec<Lane> = candidates(first).collect();
        if halves {
            lanes.extend(candidates(Task::Sampled(0)).chain(candidates(Task::Sampled(1))));
        }
        let label_free = self.options.label_free && !matches!(self.measure, Measure::Agreement);
        if label_free && first != Task::Greedy {
            lanes.extend(candidates(Task::FullOutput));
        }
        let generated = first == Task::Greedy && self.candidates.iter().any(Candidate::is_full);
        if (label_free || first == Task::FullOutput) && !generated {
            lanes.push(Lane { owner: Owner::Full, task: Task::Greedy });
        }
        let routes = self.routes().map(|(depth, number)| Lane { owner: Owner::Route { depth, number }, task: first });
        lanes.extend(routes);
        lanes
    }

    /// The depth and the number of every random route. Each depth has as many routes as there are candidates.
    pub(super) fn routes(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let depths = self.options.null_depths.iter().copied();
        depths.flat_map(|depth| (0..self.candidates.len()).map(move |number| (depth, number)))
    }

    fn controller(&self, owner: Owner, item: &Item) -> Result<BoxedController, OracleError> {
        Ok(match owner {
            Owner::Full => Box::new(FullDepth),
            Owner::Candidate(index) => self.candidates[index].build()?,
            Owner::Route { depth, number } => {
                let seed = random::derive(random::NULL_ROUTE, self.options.run.seed, [depth as u64, number as u64, 0]);
                let runs = RandomSkip::new(depth).route(self.model.layers().len(), seed, item.id);
                Box::new(SkipLayers::new((0..runs.len()).filter(|layer| !runs[*layer])))
            }
        })
    }

    /// The options of a lane that generates.
    fn sequence_options(&self, task: Task) -> SequenceOptions {
        let seed = self.options.run.seed;
        let (sampling, seed) = match (task, &self.options.halves) {
            (Task::Sampled(half), Some(sampling)) => {
                (sampling.clone(), random::derive(random::HALF, seed, [half, 0, 0]))
            }
            _ => (Sampling::default(), seed),
        };
        SequenceOptions {
            sampling,
            seed: Some(seed),
            max_new_tokens: self.options.max_new_tokens,
            stop_tokens: self.options.stop_tokens.clone(),
            stop_strings: self.options.stop_strings.clone(),
            ..SequenceOptions::default()
        }
    }

    fn cost(&self, spent: &SequenceReport, report: &RunReport) -> f64 {
        let tokens = spent.decode.tokens.max(1) as f64;
        match self.options.cost {
            Cost::Layers => spent.depth().unwrap_or_default(),
            Cost::Gigaflops => report.dimensions.flops(&spent.decode.nominal) / tokens / 1e9,
            Cost::Milliseconds => report.decode.seconds / tokens * 1e3,
        }
    }
}

impl ItemRun<'_, '_> {
    /// Runs all lanes whose task is selected, in batches of the size that the options allow. Lanes that score are given
    /// `tokens`.
    fn run_all(&mut self, selected: impl Fn(Task) -> bool, tokens: &[u32]) -> Result<(), GenerateError> {
        let lanes: Vec<usize> = (0..self.lanes.len()).filter(|lane| selected(self.lanes[*lane].task)).collect();
        let together = if self.run.options.cost == Cost::Milliseconds { 1 } else { self.run.options.lanes };
        lanes.chunks(together.max(1)).try_for_each(|lanes| self.run_together(lanes, tokens))
    }

    /// Runs lanes as one batch; `lanes` are ascending indices.
    fn run_together(&mut self, lanes: &[usize], tokens: &[u32]) -> Result<(), GenerateError> {
        let Self { run, item, prompt, lanes: all, controllers, results } = self;
        let controllers = controllers.iter_mut().enumerate().filter(|(lane, _)| lanes.binary_search(lane).is_ok());
        let controllers = controllers.map(|(_, controller)| controller).collect();
        let controller = LaneControllers { controllers, sequence: item.id, seed: run.options.run.seed };
        let lanes = lanes.iter().map(|lane| all[*lane]);
        let (finished, report): (Vec<LaneResult>, RunReport) = if lanes.clone().all(|lane| lane.task.generates()) {
            let options = (0..).zip(lanes.clone()).map(|(id, lane)| (id, run.sequence_options(lane.task)));
            let (completions, report) = prompt.generate(controller, options.collect())?.finish()?;
            let finished = completions.into_iter().map(|completion| LaneResult {
                output: Output { tokens: completion.tokens, text: completion.text },
                ..LaneResult::default()
            });
            (finished.collect(), report)
        } else {
            let scores = prompt.score(controller, lanes.len(), tokens)?;
            let finished = scores.sequences.into_iter().map(|sequence| LaneResult {
                scored: sequence.tokens.iter().map(|t| (t.log_probability, t.likeliest == t.token)).collect(),
                ..LaneResult::default()
            });
            (finished.collect(), scores.report)
        };
        let costs = report.sequences.iter().map(|spent| run.cost(spent, &report));
        let finished = finished.into_iter().zip(costs).map(|(result, cost)| LaneResult { cost, ..result });
        results.extend(lanes.zip(finished));
        Ok(())
    }

    /// The full model's own output, if it was generated.
    fn full_output(&self) -> Option<Output> {
        let full = self.run.candidates.iter().position(Candidate::is_full);
        let owner = full.map_or(Owner::Full, Owner::Candidate);
        let greedy = |owner| self.results.get(&Lane { owner, task: Task::Greedy });
        greedy(owner).or_else(|| greedy(Owner::Full)).map(|result| result.output.clone())
    }
}
