//! One step of a session: a prompt chunk of one sequence, or one token of every sequence that is generating.

use super::member::{Member, Next, Part};
use super::{PassOrder, Session};
use crate::control::{
    Controller, ControllerError, Event, Logits, Outcome, Phase, Route, RowLogits, RowOutcome, Verified, VerifiedRow,
};
use crate::controllers::FullDepth;
use crate::engine::{self, Chooser, PassInput, PassOutput, PolicyCache};
use crate::generation::{GenerateError, TokenEvent};
use burn::tensor::{Tensor, s};
use dynlayer_metrics::cost::Dimensions;
use dynlayer_model::Llama;
use std::ops::Range;
use std::time::Instant;

/// The result of a step, one entry per row that predicted a token.
#[derive(Default)]
pub(in crate::generation) struct Stepped {
    pub(in crate::generation) events: Vec<TokenEvent>,
    /// The logits and states of each event, as far as the session keeps them.
    pub(in crate::generation) kept: Vec<Kept>,
}

/// The logits and states of a row that predicted a token, as far as they are kept.
#[derive(Default)]
pub(in crate::generation) struct Kept {
    /// The logits, `[vocab_size]`.
    pub(in crate::generation) logits: Vec<f32>,
    /// The states entering each layer and the final normed state, `[n_layers + 1, d_model]`.
    pub(in crate::generation) states: Option<Tensor<2>>,
}

/// The predictions of a pass, before they are committed.
pub(super) struct Predicted<'a> {
    pub(super) next: Vec<Next<'a>>,
    kept: Vec<Kept>,
}

/// The event by which a controller learns of a predicted token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// [`Event::Outcome`]: the pass was the controller's own.
    Outcome,
    /// [`Event::Verified`]: the pass was one of speculation, at full depth and without drafts.
    Verified,
}

impl<'a, C: Controller> Session<'a, C> {
    /// Runs the next pass, if a sequence has anything to run. An error leaves all sequences as they were before.
    pub(super) fn run_pass(&mut self) -> Result<Stepped, GenerateError> {
        let started = Instant::now();
        self.members.iter_mut().try_for_each(|member| member.expire(started))?;
        let Some((rows, parts)) = self.choose() else { return Ok(Stepped::default()) };
        self.passes += 1;
        let _awake = dynlayer_model::awake();
        let phase = parts[0].phase;
        let stepped = if phase == Phase::Decode && self.pace.is_some() {
            self.round(&rows, &parts, started)?
        } else {
            self.pass_alone(&rows, &parts, Told::Outcome)?
        };
        self.report.phase_mut(phase).seconds += started.elapsed().as_secs_f64();
        Ok(stepped)
    }

    /// Runs a pass and adds the tokens that come out: under the controller, or at full depth if it is a round of speculation.
    pub(super) fn pass_alone(&mut self, rows: &[usize], parts: &[Part], told: Told) -> Result<Stepped, GenerateError> {
        let (context, n_layers) = (self.model.config().max_positions, self.model.layers().len());
        let result = match told {
            Told::Outcome => self.pass(rows, parts, self.keep.states && parts[0].predicts),
            Told::Verified => self.full_pass(rows, parts, 0..n_layers, None),
        };
        let result = result
            .and_then(|pass| self.predict(rows, parts, pass, told, |member, logits| member.next(logits, context)));
        let (pass, predicted) = result.inspect_err(|_| self.undo(rows))?;
        Ok(self.commit(rows, parts, pass, predicted))
    }

    /// Chooses the sequences of the next pass, as ascending indices, with the part of each that runs.
    fn choose(&mut self) -> Option<(Vec<usize>, Vec<Part>)> {
        let run = self.options.run;
        let parts = self.members.iter().map(|member| member.part(run.control_from, run.prefill_chunk));
        let parts: Vec<(usize, Part)> =
            parts.enumerate().filter_map(|(row, part)| part.map(|part| (row, part))).collect();
        let decodes = |(_, part): &&(usize, Part)| part.phase == Phase::Decode;
        // Prompts take turns, chunk by chunk, so that a long one does not hold up a short one.
        let prompts = parts.iter().filter(|part| !decodes(part));
        let prompt = prompts.min_by_key(|(row, _)| self.members[*row].waits_since);
        let any_decodes = parts.iter().any(|part| decodes(&part));
        let prompt =
            prompt.filter(|_| !any_decodes || self.options.order == PassOrder::PromptsFirst || self.decoded_last);
        self.decoded_last = prompt.is_none();
        if let Some((row, part)) = prompt {
            self.members[*row].waits_since = self.passes + 1;
            return Some((vec![*row], vec![*part]));
        }
        any_decodes.then(|| parts.iter().filter(decodes).copied().unzip())
    }

    /// Runs a pass over parts of these rows under the controller.
    pub(super) fn pass(
        &mut self,
        rows: &[usize],
        parts: &[Part],
        keep_states: bool,
    ) -> Result<PassOutput, GenerateError> {
        let layers = 0..self.model.layers().len();
        let Self { model, drafter, cache, members, chooser, report, controller, .. } = self;
        let model = drafter.as_ref().filter(|_| parts[0].phase == Phase::Decode).unwrap_or(model);
        let parts = PassParts { model, cache, members, chooser: *chooser, dimensions: report.dimensions, rows, parts };
        parts.run(layers, None, keep_states, controller)
    }

    /// Runs some layers for parts of these rows, on `hidden` if it is given and else on their tokens. The controller learns
    /// nothing of it.
    pub(super) fn full_pass(
        &mut self,
        rows: &[usize],
        parts: &[Part],
        layers: Range<usize>,
        hidden: Option<Tensor<3>>,
    ) -> Result<PassOutput, GenerateError> {
        let Self { model, cache, members, chooser, report, .. } = self;
        let parts = PassParts { model, cache, members, chooser: *chooser, dimensions: report.dimensions, rows, parts };
        parts.run(layers, hidden, false, &mut FullDepth)
    }

    /// Computes the logits, chooses the next tokens and tells the controller.
    pub(super) fn predict(
        &mut self,
        rows: &[usize],
        parts: &[Part],
        mut pass: PassOutput,
        told: Told,
        mut choose: impl FnMut(&Member<'a>, RowLogits<'_>) -> Result<Next<'a>, GenerateError>,
    ) -> Result<(PassOutput, Option<Predicted<'a>>), GenerateError> {
        if !parts[0].predicts {
            return Ok((pass, None));
        }
        let last_token = |x: &Tensor<3>| x.clone().narrow(1, x.dims()[1] - 1, 1); // [rows, 1, d_model]
        let hidden = last_token(&pass.hidden);
        let logits = pass.logits(&self.model, &hidden);
        self.read_if_needed(rows, &logits)?;
        let next = rows.iter().zip(logits.rows()).map(|(row, logits)| choose(&self.members[*row], logits));
        let next: Vec<Next<'a>> = next.collect::<Result<_, _>>()?;
        let (telling, on_host) = (Instant::now(), logits.on_host());
        match told {
            Told::Outcome => {
                let outcomes = pass.rows.iter().zip(&pass.routes).zip(&next).zip(logits.rows());
                let outcomes = outcomes.map(|(((row, route), next), logits)| RowOutcome {
                    row,
                    token: next.token,
                    stopped: next.stop.is_some(),
                    route,
                    logits,
                });
                let Part { phase, controlled, .. } = parts[0];
                let (rows, norm) = (outcomes.collect(), &self.model.norm);
                let outcome = Outcome { phase, controlled, rows, of: None, hidden: &hidden, norm, logits: &logits };
                self.controller.on(&Event::Outcome(&outcome))?;
            }
            Told::Verified => {
                let verified = pass.rows.iter().zip(&next).enumerate().map(|(at, (row, next))| VerifiedRow {
                    row,
                    drafted: &[],
                    tokens: std::slice::from_ref(&next.token),
                    stopped: next.stop.is_some(),
                    logits: &logits,
                    places: (at, 1),
                });
                self.controller.on(&Event::Verified(&Verified { rows: verified.collect() }))?;
            }
        }
        pass.tally.host_reads += u64::from(logits.on_host() && !on_host);
        pass.tally.controller_seconds += telling.elapsed().as_secs_f64();
        let states = (self.keep.states && told == Told::Outcome).then(|| {
            let states = pass.states.iter().map(last_token).chain([self.model.final_norm(hidden)]);
            Tensor::<3>::cat(states.collect(), 1) // [rows, n_layers + 1, d_model]
        });
        let kept = logits.rows().enumerate().map(|(at, logits)| {
            let logits = if self.keep.logits { logits.read()?.to_vec() } else { Vec::new() };
            let states = states.as_ref().map(|states| states.clone().slice(s![at..=at, .., ..]).squeeze_dim::<2>(0));
            Ok(Kept { logits, states })
        });
        let kept = kept.collect::<Result<_, ControllerError>>()?;
        Ok((pass, Some(Predicted { next, kept })))
    }

    /// Reads the logits now if a row needs them, so that the choice of the tokens waits for the device once.
    pub(super) fn read_if_needed(&self, rows: &[usize], logits: &Logits) -> Result<(), GenerateError> {
        if rows.iter().any(|row| self.members[*row].needs_logits()) {
            logits.row(0).read()?;
        }
        Ok(())
    }

    /// Makes the results of a pass part of the sequences.
    fn commit(
        &mut self,
        rows: &[usize],
        parts: &[Part],
        pass: PassOutput,
        predicted: Option<Predicted<'a>>,
    ) -> Stepped {
        for (row, part) in rows.iter().zip(parts) {
            let member = &mut self.members[*row];
            member.cached = part.end;
            // A prompt that is not to be continued has run to its end.
            member.running = part.predicts || part.end < member.tokens.len();
        }
        let reported: Vec<usize> = rows.iter().map(|row| self.members[*row].reported).collect();
        pass.tally.add_to(&mut self.report, parts[0].phase, &reported);
        self.report.owed_bytes = self.cache.owed_bytes();
        let Some(Predicted { next, kept }) = predicted else { return Stepped::default() };
        let by_row = rows.iter().zip(next).zip(pass.routes);
        Stepped { events: by_row.map(|((row, next), route)| self.emit(*row, next, route)).collect(), kept }
    }

    /// Makes a token part of a sequence.
    pub(super) fn emit(&mut self, row: usize, next: Next<'a>, route: Route) -> TokenEvent {
        let member = &mut self.members[row];
        let Next { token, stream, text, stop, log_probability, likeliest } = next;
        let event = TokenEvent { sequence: member.id, token, route, text, stop, log_probability, likeliest };
        member.text = stream;
        member.tokens.push(token);
        member.running = event.stop.is_none();
        member.completion.push(&event);
        self.report.sequences[member.reported].generated_tokens += 1;
        event
    }

    /// Drops what a failed pass left in the cache, and tells the controller to forget it.
    pub(super) fn undo(&mut self, rows: &[usize]) {
        for row in rows {
            let (id, tokens) = (self.members[*row].id, self.members[*row].cached);
            self.cache.truncate(*row, tokens);
            // The controller has failed already; the step's own error is the one to report.
            let _ = self.controller.on(&Event::Rewind { id, tokens });
        }
    }
}

/// The parts of a session that a pass over some of its rows needs.
struct PassParts<'p, 'a> {
    model: &'p Llama,
    cache: &'p mut PolicyCache,
    members: &'p [Member<'a>],
    chooser: Chooser,
    dimensions: Dimensions,
    rows: &'p [usize],
    parts: &'p [Part],
}

impl PassParts<'_, '_> {
    /// Runs some layers, on `hidden` if it is given and else on the tokens.
    fn run(
        self,
        layers: Range<usize>,
        hidden: Option<Tensor<3>>,
        keep_states: bool,
        controller: &mut dyn Controller,
    ) -> Result<PassOutput, GenerateError> {
        let Self { model, cache, members, chooser, dimensions, rows, parts } = self;
        let members = rows.iter().map(|row| &members[*row]).zip(parts);
        let tokens: Vec<&[u32]> =
            members.clone().map(|(member, part)| &member.tokens[member.cached..part.end]).collect();
        let positions: Vec<Vec<usize>> =
            members.clone().map(|(member, part)| (member.cached..part.end).collect()).collect();
        let frame = cache.frame(model, rows, &positions);
        let Part { phase, controlled, .. } = parts[0];
        let input = PassInput {
            model,
            hidden: hidden.unwrap_or_else(|| model.embed(model.tokens(&tokens))),
            layers,
            frame: &frame,
            rows: members.map(|(member, part)| member.row(*part)).collect(),
            phase,
            controlled,
            chooser,
            dimensions,
            keep_states,
        };
        Ok(engine::run(input, controller, cache)?)
    }
}
