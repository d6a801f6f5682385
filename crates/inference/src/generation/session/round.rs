//! One round of speculation: the controller drafts tokens, and one pass at full depth checks them. A round without drafts
//! is a plain pass at full depth.
//!
//! During a round, the drafted tokens stand at the end of the sequences, as if they had been generated. Before the round
//! ends, by success or by an error, the sequences are as they were; only then the tokens that came out are added.

use super::Session;
use super::member::{Member, Next, Part};
use super::step::{Kept, Predicted, Stepped, Told};
use crate::control::{Controller, Event, Logits, Phase, Ran, Route, Row, RowLogits, Verified, VerifiedRow};
use crate::engine::PassOutput;
use crate::generation::GenerateError;
use crate::generation::speculation::{Accept, DraftLength, Pace, Round, RowResult};
use crate::report::{PhaseReport, SpeculationReport};
use crate::sampling::{Distribution, SamplingError, accepted, drafted};
use burn::tensor::Tensor;
use std::time::Instant;

/// The drafts of a round.
#[derive(Default)]
struct Drafts {
    /// The drafted tokens of each row.
    tokens: Vec<Vec<u32>>,
    /// The distributions that they were drawn from, if they are needed.
    probabilities: Vec<Vec<Option<Vec<f64>>>>,
    passes: Vec<PassOutput>,
    seconds: Vec<f64>,
    /// `true` if one more pass was begun, from which no token could be chosen.
    failed: bool,
}

impl Drafts {
    /// The number of places of each row that the check gives logits for: after each drafted token and before the first.
    fn checked_places(&self) -> usize {
        self.passes.len() + 1
    }
}

/// The results of checking a round's drafts at full depth.
struct Checked<'a> {
    pass: PassOutput,
    /// The tokens that come out, row after row.
    next: Vec<Vec<Next<'a>>>,
    /// For each row, those after each of its tokens.
    logits: Logits,
    /// The number of layers that the drafts shared with the check.
    shared: usize,
}

/// A sequence before a round.
#[derive(Clone, Copy)]
struct Before {
    tokens: usize,
    cached: usize,
}

impl<'a, C: Controller> Session<'a, C> {
    /// Runs the passes of a round for the last tokens of these rows, and adds the tokens that come out.
    pub(super) fn round(&mut self, rows: &[usize], parts: &[Part], started: Instant) -> Result<Stepped, GenerateError> {
        let Some(mut pace) = self.pace.take() else { return Ok(Stepped::default()) };
        let context = self.model.config().max_positions;
        let most = rows.iter().map(|row| self.members[*row].left(context)).min();
        let round = Round::new(rows.len(), most.unwrap_or(0));
        let stepped = if pace.drafts(&round) {
            self.drafting_round(rows, parts, &mut pace, round, started)
        } else {
            // No more than generation without speculation does, so that it takes no longer.
            let stepped = self.pass_alone(rows, parts, Told::Verified);
            stepped.inspect(|_| self.learn_plain(rows.len(), &mut pace, started.elapsed().as_secs_f64()))
        };
        self.pace = Some(pace);
        stepped
    }

    fn drafting_round(
        &mut self,
        rows: &[usize],
        parts: &[Part],
        pace: &mut Pace,
        mut round: Round,
        started: Instant,
    ) -> Result<Stepped, GenerateError> {
        let before = |member: &Member<'a>| Before { tokens: member.tokens.len(), cached: member.cached };
        let before: Vec<Before> = rows.iter().map(|row| before(&self.members[*row])).collect();
        let first: Vec<Row> = parts.iter().zip(rows).map(|(part, row)| self.members[*row].row(*part)).collect();
        let mut checking = started;
        let result = self.draft(rows, &before, pace, &mut round).and_then(|drafts| {
            checking = Instant::now();
            let mut checked = self.check(rows, &before, &drafts, pace)?;
            self.tell_verified(&first, &drafts, &mut checked)?;
            Ok((drafts, checked))
        });
        for (row, before) in rows.iter().zip(before) {
            let member = &mut self.members[*row];
            member.tokens.truncate(before.tokens);
            member.cached = before.cached;
        }
        let (drafts, Checked { pass, next, shared, .. }) = result.inspect_err(|_| self.undo(rows))?;
        let result = |(next, drafted): (&Vec<Next<'a>>, &Vec<u32>)| {
            let same = next.iter().zip(drafted).take_while(|(next, drafted)| next.token == **drafted);
            let (tokens, accepted) = (next.len(), same.count());
            let ended = accepted == tokens && next.last().is_some_and(|next| next.stop.is_some());
            RowResult { tokens, checked: tokens.min(drafted.len()), accepted, ended }
        };
        let results: Vec<RowResult> = next.iter().zip(&drafts.tokens).map(result).collect();
        let drafts = self.count(rows, &first, &results, drafts, pass);
        let stepped = self.add(rows, next);
        self.learn(&round, pace, &results, shared, checking.elapsed().as_secs_f64(), drafts);
        Ok(stepped)
    }

    /// The parts of a pass over the last token of each row.
    fn parts(&self, rows: &[usize]) -> Vec<Part> {
        let end = |row: &usize| self.members[*row].tokens.len();
        rows.iter().map(|row| Part { phase: Phase::Decode, end: end(row), controlled: true, predicts: true }).collect()
    }

    /// Returns `true` if first layers that the drafts ran in full need not run again: those of a model with an adapter give
    /// other states.
    fn shares_layers(&self, pace: &Pace) -> bool {
        pace.speculation().share_layers && self.drafter.is_none()
    }

    /// Drafts tokens under the controller as long as they pay, and adds them to the sequences.
    fn draft(
        &mut self,
        rows: &[usize],
        before: &[Before],
        pace: &mut Pace,
        round: &mut Round,
    ) -> Result<Drafts, GenerateError> {
        let speculation = pace.speculation();
        let mut drafts = Drafts {
            tokens: vec![Vec::new(); rows.len()],
            probabilities: vec![Vec::new(); rows.len()],
            ..Drafts::default()
        };
        while pace.drafts(round) {
            let started = Instant::now();
            let parts = self.parts(rows);
            let pass = self.pass(rows, &parts, self.shares_layers(pace))?;
            let (mut probabilities, mut likeliest) = (Vec::new(), Vec::new());
            let predicted = self.predict(rows, &parts, pass, Told::Outcome, |member, logits| {
                let row = probabilities.len();
                // Only the decision to go on depends on it, and it takes a pass over the vocabulary.
                let found = match speculation.length {
                    DraftLength::Auto { .. } => Distribution::new(logits.read()?).likeliest(1),
                    DraftLength::Fixed(_) => Vec::new(),
                };
                likeliest.push(found.first().map_or(0.0, |(_, log)| log.exp()));
                let ended = drafts.tokens[row].last().filter(|token| member.options.stop_tokens.contains(token));
                let (token, q) = match ended {
                    // This row's further drafts come to nothing; the others go on.
                    Some(end) => (*end, None),
                    None if speculation.accept == Accept::Rejection => member.drafted(logits, before[row].tokens)?,
                    None => (member.choose(logits)?, None),
                };
                probabilities.push(q);
                Ok(Next { token, ..Next::default() })
            });
            let (pass, Some(Predicted { next, .. })) = (match predicted {
                // The full model may well choose a token here.
                Err(GenerateError::Draw { .. }) => {
                    for row in rows {
                        self.cache.truncate(*row, self.members[*row].cached);
                    }
                    drafts.failed = true;
                    pace.failed(started.elapsed().as_secs_f64());
                    break;
                }
                predicted => predicted?,
            }) else {
                break;
            };
            let mut drawn = Vec::with_capacity(rows.len());
            for (at, (row, likeliest)) in rows.iter().zip(likeliest).enumerate() {
                let (member, token) = (&mut self.members[*row], next[at].token);
                member.tokens.push(token);
                member.cached += 1;
                drafts.tokens[at].push(token);
                drawn.push((likeliest, member.options.stop_tokens.contains(&token)));
            }
            for (of, q) in drafts.probabilities.iter_mut().zip(probabilities) {
                of.push(q);
            }
            let seconds = started.elapsed().as_secs_f64();
            pace.drafted(round, seconds, &drawn);
            drafts.passes.push(pass);
            drafts.seconds.push(seconds);
        }
        Ok(drafts)
    }

    /// Runs the drafted tokens at full depth, and finds out which tokens come out.
    fn check(
        &mut self,
        rows: &[usize],
        before: &[Before],
        drafts: &Drafts,
        pace: &Pace,
    ) -> Result<Checked<'a>, GenerateError> {
        let n_layers = self.model.layers().len();
        let in_full = drafts.passes.iter().map(|pass| pass.in_full).min().unwrap_or(0);
        let shared = if self.shares_layers(pace) { in_full } else { 0 };
        // The last drafted token has not run yet: it goes alone through the layers that the drafts before it have run.
        let last = (shared > 0).then(|| self.full_pass(rows, &self.parts(rows), 0..shared, None)).transpose()?;
        for (row, before) in rows.iter().zip(before) {
            self.members[*row].cached = before.cached;
            self.cache.truncate(*row, before.cached);
        }
        let entering = last.as_ref().map(|last| {
            let drafted = drafts.passes.iter().map(|pass| pass.states.get(shared).unwrap_or(&pass.hidden));
            Tensor::cat(drafted.chain([&last.hidden]).cloned().collect(), 1) // [rows, tokens, d_model]
        });
        let mut pass = self.full_pass(rows, &self.parts(rows), shared..n_layers, entering)?;
        if let Some(last) = &last {
            pass.tally.absorb(&last.tally);
        }
        let logits = pass.all_logits(&self.model);
        self.read_if_needed(rows, &logits)?;
        let per_row = drafts.checked_places();
        let context = self.model.config().max_positions;
        let mut next = Vec::with_capacity(rows.len());
        for (at, (row, before)) in rows.iter().zip(before).enumerate() {
            let member = &mut self.members[*row];
            member.tokens.truncate(before.tokens);
            let mut out: Vec<Next<'a>> = Vec::new();
            for place in 0..per_row {
                let logits = logits.row(at * per_row + place);
                let text = out.last().map_or(member.text.as_ref(), |next| next.stream.as_ref());
                let token = match drafts.probabilities[at].get(place) {
                    Some(Some(q)) => member.accepted(drafts.tokens[at][place], q, logits, before.tokens),
                    _ => member.choose(logits),
                };
                let next = match token.and_then(|token| member.with_token(token, logits, text, context)) {
                    Ok(next) => next,
                    Err(error) if out.is_empty() || matches!(error, GenerateError::Device(_)) => return Err(error),
                    // The tokens before are right. The next round begins here, and meets the error again.
                    Err(_) => break,
                };
                let goes_on = next.stop.is_none() && drafts.tokens[at].get(place) == Some(&next.token);
                member.tokens.push(next.token);
                out.push(next);
                if !goes_on {
                    break;
                }
            }
            next.push(out);
        }
        Ok(Checked { pass, next, logits, shared })
    }

    /// Tells the controller what came out, and to forget the drafts that read tokens that did not.
    fn tell_verified(
        &mut self,
        first: &[Row],
        drafts: &Drafts,
        checked: &mut Checked<'a>,
    ) -> Result<(), GenerateError> {
        let (started, on_host) = (Instant::now(), checked.logits.on_host());
        let tokens: Vec<Vec<u32>> =
            checked.next.iter().map(|next| next.iter().map(|next| next.token).collect()).collect();
        let per_row = drafts.checked_places();
        let rows = first.iter().enumerate().map(|(at, row)| VerifiedRow {
            row,
            drafted: &drafts.tokens[at],
            tokens: &tokens[at],
            stopped: checked.next[at].last().is_some_and(|next| next.stop.is_some()),
            logits: &checked.logits,
            places: (at * per_row, per_row),
        });
        self.controller.on(&Event::Verified(&Verified { rows: rows.collect() }))?;
        let asked = drafts.passes.len() + usize::from(drafts.failed);
        for (row, tokens) in first.iter().zip(&tokens) {
            if tokens.len() < asked {
                self.controller.on(&Event::Rewind { id: row.id, tokens: row.position + tokens.len() })?;
            }
        }
        checked.pass.tally.host_reads += u64::from(checked.logits.on_host() && !on_host);
        checked.pass.tally.controller_seconds += started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Adds the tokens that came out to the sequences.
    fn add(&mut self, rows: &[usize], next: Vec<Vec<Next<'a>>>) -> Stepped {
        let full = Route::new(vec![Ran { attention: true, mlp: true }; self.model.layers().len()]);
        let mut stepped = Stepped::default();
        for (row, next) in rows.iter().zip(next) {
            let member = &mut self.members[*row];
            member.cached += next.len();
            self.cache.truncate(*row, member.cached);
            for next in next {
                let event = self.emit(*row, next, full.clone());
                stepped.events.push(event);
                stepped.kept.push(Kept::default());
            }
        }
        stepped
    }

    /// Adds the work of a round to the report. The drafts and the rejected tokens count for the tokens that came out.
    fn count(
        &mut self,
        rows: &[usize],
        first: &[Row],
        results: &[RowResult],
        drafts: Drafts,
        mut check: PassOutput,
    ) -> PhaseReport {
        let reported: Vec<usize> = rows.iter().map(|row| self.members[*row].reported).collect();
        let windows = &self.model.config().windows;
        let came_out = first.iter().zip(results).map(|(row, RowResult { tokens, .. })| Row {
            position: row.position + tokens - 1,
            tokens: *tokens,
            ..row.clone()
        });
        check.tally.count(windows, &came_out.collect::<Vec<_>>());
        check.tally.add_to(&mut self.report, Phase::Decode, &reported);
        let nothing: Vec<Row> = first.iter().map(|row| Row { tokens: 0, ..row.clone() }).collect();
        let mut report = PhaseReport::default();
        for (mut pass, seconds) in drafts.passes.into_iter().zip(drafts.seconds) {
            report += &pass.tally.report();
            report.seconds += seconds;
            pass.tally.count(windows, &nothing);
            pass.tally.add_to(&mut self.report, Phase::Decode, &reported);
        }
        self.report.owed_bytes = self.cache.owed_bytes();
        report
    }

    /// Adds a round to what is known and reported of speculation. `shared` layers of the drafts were not run again, and
    /// checking took `seconds`.
    fn learn(
        &mut self,
        round: &Round,
        pace: &mut Pace,
        results: &[RowResult],
        shared: usize,
        seconds: f64,
        drafts: PhaseReport,
    ) {
        let length = usize::try_from(drafts.passes).unwrap_or(usize::MAX);
        if length == 0 {
            // No token could be chosen from the first draft.
            return self.learn_plain(results.len(), pace, seconds);
        }
        let dimensions = self.report.dimensions;
        let layer = dimensions.attention_weights() + dimensions.mlp_weights();
        // The part of a full pass over one token that the shared layers take.
        let saved = layer * shared as f64 / (layer * dimensions.n_layers as f64 + dimensions.head_weights());
        let (replaced, expected) = pace.end(round, results, saved, seconds);
        let sum = |number: fn(&RowResult) -> usize| results.iter().map(number).sum::<usize>() as u64;
        let mut lengths = vec![0; length + 1];
        lengths[length] = 1;
        let report = SpeculationReport {
            lengths,
            drafted: (length * results.len()) as u64,
            checked: sum(|row| row.checked),
            accepted: sum(|row| row.accepted),
            tokens: sum(|row| row.tokens),
            checking_seconds: seconds,
            plain_seconds: 0.0,
            replaced_seconds: replaced,
            expected: expected * (seconds + drafts.seconds),
            estimate: pace.estimate(),
            drafts,
        };
        self.report.speculation.get_or_insert_default().add(&report);
    }

    /// Adds a round without drafts. It is short in a small model, and changes no estimate that is reported.
    fn learn_plain(&mut self, rows: usize, pace: &mut Pace, seconds: f64) {
        pace.plain(rows, seconds);
        let started = || SpeculationReport { estimate: pace.estimate(), ..SpeculationReport::default() };
        self.report.speculation.get_or_insert_with(started).add_plain(seconds);
    }
}

impl Member<'_> {
    /// Drafts the next token by speculative sampling, in a round that began with `from` tokens. Returns it with the
    /// probabilities that it was drawn from, if it was drawn.
    fn drafted(&self, logits: RowLogits<'_>, from: usize) -> Result<(u32, Option<Vec<f64>>), GenerateError> {
        let Some(q) = self.probabilities(logits)? else { return Ok((self.choose(logits)?, None)) };
        Ok((self.drawn(drafted(&q, self.place(), from))?, Some(q)))
    }

    /// The next token by speculative sampling, if this one was drafted with the probabilities `q`.
    fn accepted(&self, token: u32, q: &[f64], logits: RowLogits<'_>, from: usize) -> Result<u32, GenerateError> {
        let Some(p) = self.probabilities(logits)? else { return self.choose(logits) };
        let index = usize::try_from(token).unwrap_or(usize::MAX);
        self.drawn(accepted(index, &p, q, self.place(), from))
    }

    /// Makes a token of an index that was drawn.
    fn drawn(&self, index: Option<usize>) -> Result<u32, GenerateError> {
        let token = index.and_then(|index| u32::try_from(index).ok());
        token.ok_or_else(|| self.no_choice(SamplingError::Empty))
    }
}
