//! Sequences that outlive a call: they join, are stepped together, continue, are copied, and leave.

mod member;
mod options;
mod round;
mod step;

pub use options::{LogitsHook, PassOrder, SequenceOptions, SessionOptions};
pub(super) use step::{Kept, Stepped};

use super::speculation::Pace;
use super::text::TextStream;
use super::{Completion, GenerateError, TokenEvent};
use crate::control::{Controller, Event, KvPolicy, Phase, Sequence, Setup};
use crate::engine::{self, Chooser, PolicyCache};
use crate::report::{RunReport, SequenceReport};
use crate::shared::Shared;
use crate::tokens;
use dynlayer_model::Llama;
use member::Member;
use std::sync::Arc;

/// The largest number of slots for new tokens that a sequence's cache begins with. It grows when they are used up.
const FIRST_SLOTS: usize = 256;

/// Sequences that are generated together under one controller, and everything that outlives a pass: their caches,
/// tokens, options and texts.
///
/// A sequence joins with [`push`](Self::push) at any time between two steps. Each [`step`](Self::step) runs one pass: a
/// chunk of one prompt, or one token of every sequence that is generating; with
/// [`speculation`](SessionOptions::speculation) the passes of one round, which can give each sequence several tokens. A sequence whose turn has ended stays in the
/// session with its cache: it can be continued ([`append`](Self::append), [`resume`](Self::resume)), shortened
/// ([`truncate`](Self::truncate)), copied ([`fork`](Self::fork)), or taken out
/// ([`take_finished`](Self::take_finished), [`cancel`](Self::cancel)).
///
/// A sequence's tokens, text, routes and counts do not depend on the other sequences, nor on when they come and go. (With
/// [`speculation`](SessionOptions::speculation) the counts do, and under [`Accept::Rejection`](crate::Accept) the tokens.)
/// Every sequence has memory of its own, which grows with its tokens and is freed when it leaves.
///
/// The session borrows the model or shares it: with an `Arc<Llama>` it is `Session<'static, C>` and can stand in a
/// struct beside its model, or move to another thread. [`PerSequence`](crate::controllers::PerSequence) is the
/// controller that gives each sequence one of its own.
///
/// ```
/// use burn::tensor::Device;
/// use dynlayer_inference::controllers::UniformSkip;
/// use dynlayer_inference::{SequenceOptions, Session, SessionOptions, conformance};
/// use std::sync::Arc;
///
/// let model = Arc::new(conformance::small_model(&Device::flex())?);
/// let mut session = Session::new(model, UniformSkip::new(4), SessionOptions::default())?;
/// let options = SequenceOptions { max_new_tokens: 5, ..SequenceOptions::default() };
/// session.push(1, &[1, 2, 3], options.clone())?;
/// session.step()?; // the prompt
/// session.push(2, &[4, 5], options)?; // joins while sequence 1 is generating
/// while !session.is_idle() {
///     for event in session.step()? {
///         println!("sequence {}: token {}", event.sequence, event.token);
///     }
/// }
/// session.append(1, &[6, 7])?; // the next turn continues from the cache
/// while !session.is_idle() {
///     session.step()?;
/// }
/// let finished = session.take_finished();
/// assert_eq!(finished.len(), 2);
/// assert_eq!(finished[0].completion.tokens.len(), 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session<'a, C> {
    model: Shared<'a, Llama>,
    /// The model with its adapter, which drafts, if the other passes run without the adapter.
    drafter: Option<Llama>,
    controller: C,
    options: SessionOptions<'a>,
    keep: Keep,
    chooser: Chooser,
    /// Row `i` of the cache belongs to member `i`.
    cache: PolicyCache,
    members: Vec<Member<'a>>,
    report: RunReport,
    /// Decides how many tokens to draft; `None` without speculation.
    pace: Option<Pace>,
    /// The number of passes so far.
    passes: u64,
    /// `true` if the latest pass was a decode pass.
    decoded_last: bool,
    /// `true` during a change. If it stays, the change panicked.
    busy: bool,
}

/// The parts that are kept of every pass that predicts tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keep {
    pub(super) logits: bool,
    pub(super) states: bool,
}

/// A sequence that was taken out of a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Taken {
    /// The output of the latest turn.
    pub completion: Completion,
    /// All tokens of the sequence: prompt, output, and the turns before.
    pub tokens: Vec<u32>,
    /// The work of all turns.
    pub report: SequenceReport,
}

impl<'a, C: Controller> Session<'a, C> {
    /// Starts a session without sequences.
    ///
    /// # Errors
    /// If the controller refuses the model, [`RunSettings::prefill_chunk`](crate::RunSettings::prefill_chunk) is 0, or the
    /// settings of speculation are out of their range.
    pub fn new(
        model: impl Into<Shared<'a, Llama>>,
        mut controller: C,
        options: SessionOptions<'a>,
    ) -> Result<Self, GenerateError> {
        if options.run.prefill_chunk == 0 {
            return Err(GenerateError::PrefillChunk);
        }
        if let Some(speculation) = options.speculation {
            speculation.check(options.run.control_from)?;
        }
        let model = model.into();
        controller.on(&Event::Start(&Setup { model: &model, settings: options.run }))?;
        let policy = match options.run.kv_policy {
            // The same keys and values, but none for drafts that no later draft reads.
            KvPolicy::Propagate if options.speculation.is_some() => KvPolicy::Deferred,
            policy => policy,
        };
        let cache = PolicyCache::new(&model, policy, options.run.kv_dtype);
        let report = RunReport::new(engine::dimensions(&model), options.run, Vec::new());
        Ok(Self::with(model, controller, options, cache, report))
    }

    fn with(
        model: Shared<'a, Llama>,
        controller: C,
        options: SessionOptions<'a>,
        cache: PolicyCache,
        report: RunReport,
    ) -> Self {
        let adapted = options.speculation.and_then(|_| model.adapter());
        let drafter = adapted.map(|_| (*model).clone());
        let model = drafter.as_ref().map_or(model, |drafter| Arc::new(drafter.without_adapter()).into());
        Self {
            pace: options.speculation.map(Pace::new),
            chooser: Chooser::new(options.run.partial_skips, &model.device()),
            model,
            drafter,
            controller,
            options,
            keep: Keep::default(),
            cache,
            members: Vec::new(),
            report,
            passes: 0,
            decoded_last: false,
            busy: false,
        }
    }

    /// Sets the parts of passes that [`advance`](Self::advance) returns beside the events.
    pub(super) fn keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    /// The model; with speculation, the model without its adapter.
    pub fn model(&self) -> &Llama {
        &self.model
    }

    /// The controller.
    pub fn controller(&self) -> &C {
        &self.controller
    }

    /// The controller, to be changed between steps: to give a sequence that is about to join a controller of its own,
    /// or to change a threshold.
    pub fn controller_mut(&mut self) -> &mut C {
        &mut self.controller
    }

    /// The work so far: of all passes, and of each sequence that has not been taken out.
    pub fn report(&self) -> &RunReport {
        &self.report
    }

    /// The memory of the cached keys and values, in bytes.
    pub fn cache_bytes(&self) -> u64 {
        self.cache.bytes()
    }

    /// The number of tokens that the sequences may come to hold in the cache, which
    /// [`SessionOptions::max_cached_tokens`] limits.
    pub fn claimed_tokens(&self) -> usize {
        let context = self.model.config().max_positions;
        self.members.iter().map(|member| member.may_hold(context)).sum()
    }

    /// The ids of all sequences, in the order in which they joined.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.members.iter().map(|member| member.id)
    }

    /// Returns `true` if a sequence's turn goes on, `false` if the sequence waits or is not in the session.
    pub fn is_running(&self, id: u64) -> bool {
        self.member(id).is_some_and(|member| member.running)
    }

    /// Returns `true` if no sequence has anything to run.
    pub fn is_idle(&self) -> bool {
        self.members.iter().all(|member| !member.running)
    }

    /// The output of a sequence's latest turn so far.
    pub fn completion(&self, id: u64) -> Option<&Completion> {
        self.member(id).map(|member| &member.completion)
    }

    /// All tokens of a sequence: prompt, output, and the turns before.
    pub fn tokens(&self, id: u64) -> Option<&[u32]> {
        self.member(id).map(|member| &member.tokens[..])
    }

    /// Adds a sequence. Nothing runs until the next step.
    ///
    /// # Errors
    /// If the id is taken, the tokens are none, too many for the model or not in its vocabulary, an option is out of
    /// its range, the limit on cached tokens leaves no room, or the controller refuses the sequence. The session is as
    /// before.
    pub fn push(&mut self, id: u64, tokens: &[u32], options: SequenceOptions) -> Result<(), GenerateError> {
        let member = self.new_member(id, options)?;
        self.change(|session| session.begin_turn(Member { tokens: tokens.to_vec(), ..member }, None))
    }

    /// Adds tokens to a sequence whose turn has ended, and begins its next turn. Its earlier tokens keep their keys and
    /// values.
    ///
    /// The new tokens are a prompt: [`ControlFrom`](crate::ControlFrom) applies to them as to the first one.
    ///
    /// # Errors
    /// The errors of [`push`](Self::push), and [`GenerateError::Running`] if the sequence is still generating. The
    /// session is as before.
    pub fn append(&mut self, id: u64, tokens: &[u32]) -> Result<(), GenerateError> {
        let row = self.waiting(id)?;
        if tokens.is_empty() {
            return Err(GenerateError::Tokens { sequence: id, problem: tokens::TokenProblem::Empty });
        }
        let member = &self.members[row];
        let member = Member { tokens: [&member.tokens[..], tokens].concat(), ..member.clone() };
        self.change(|session| session.begin_turn(member, Some(row)))
    }

    /// Begins a sequence's next turn with a text that is given whole, such as a conversation. The longest beginning that
    /// the sequence has already is kept, the rest of the sequence is dropped, and what is left of the text is appended.
    /// Returns the number of tokens that are kept in the cache.
    ///
    /// # Errors
    /// The errors of [`append`](Self::append). The session is as before, unless the controller failed: then the sequence is
    /// shortened to what was to be kept.
    pub fn resume(&mut self, id: u64, tokens: &[u32]) -> Result<usize, GenerateError> {
        let row = self.waiting(id)?;
        let problem = |problem| GenerateError::Tokens { sequence: id, problem };
        tokens::check(&self.model, tokens).map_err(problem)?;
        let member = &self.members[row];
        let common = member.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        // The last token runs again, since it predicts the next one.
        let kept = common.min(tokens.len() - 1);
        let cached = member.cached.min(kept);
        self.check_room(id, tokens.len(), member.options.max_new_tokens)?;
        self.truncate(id, kept)?;
        self.append(id, &tokens[kept..])?;
        Ok(cached)
    }

    /// Shortens a sequence to its first `tokens` tokens. Its turn ends, and its completion is empty.
    ///
    /// # Errors
    /// If there is no such sequence, it has fewer tokens, or the controller fails.
    pub fn truncate(&mut self, id: u64, tokens: usize) -> Result<(), GenerateError> {
        let row = self.row(id)?;
        let has = self.members[row].tokens.len();
        if tokens > has {
            return Err(GenerateError::Truncate { sequence: id, tokens: has, wanted: tokens });
        }
        self.change(|session| {
            let member = &mut session.members[row];
            let rewinds = tokens < member.cached;
            member.tokens.truncate(tokens);
            member.running = false;
            member.completion = Completion::new(id);
            member.cached = member.cached.min(tokens);
            session.cache.truncate(row, tokens);
            if rewinds {
                session.controller.on(&Event::Rewind { id, tokens })?;
            }
            Ok(())
        })
    }

    /// Adds a copy of a sequence, with its tokens so far. The copy waits for its next turn. It shares the original's
    /// memory until one of the two writes.
    ///
    /// # Errors
    /// The errors of [`push`](Self::push), and [`GenerateError::NoSequence`] if there is no sequence `id`. The session is
    /// as before.
    pub fn fork(&mut self, id: u64, copy: u64, options: SequenceOptions) -> Result<(), GenerateError> {
        let row = self.row(id)?;
        let original = &self.members[row];
        let (stream, seed) = (options.stream.unwrap_or(original.stream), options.seed.unwrap_or(original.seed));
        let (tokens, cached) = (original.tokens.clone(), original.cached);
        let member = Member { stream, seed, tokens, cached, ..self.new_member(copy, options)? };
        self.check_room(copy, member.tokens.len(), 0)?;
        self.change(|session| {
            session.tell(&member, true, Some(id))?;
            session.join(member);
            session.cache.copy_row(row);
            Ok(())
        })
    }

    /// Changes the options of a sequence from its next token on; its seed and stream stay.
    ///
    /// # Errors
    /// If there is no such sequence, an option is out of its range, or the limit on cached tokens leaves no room.
    pub fn set_options(&mut self, id: u64, options: SequenceOptions) -> Result<(), GenerateError> {
        let row = self.row(id)?;
        self.check_options(id, &options)?;
        let needed = self.members[row].may_hold_under(&options, self.model.config().max_positions);
        self.check_room(id, needed, 0)?;
        let member = &mut self.members[row];
        member.options = options;
        if let Some(text) = &mut member.text {
            text.set_stops(&member.options.stop_strings);
        }
        Ok(())
    }

    /// Runs the next pass, or the passes of the next round of speculation, and returns the tokens that came out, those of
    /// each sequence in order; none if a chunk of a prompt ran, or if the session is idle.
    ///
    /// # Errors
    /// If the controller fails or breaks its contract, the device fails, or the logits allow no choice. No sequence has
    /// changed then, and the controller was told to forget the pass. [`GenerateError::sequence`] tells whom to cancel if
    /// the others shall go on.
    pub fn step(&mut self) -> Result<Vec<TokenEvent>, GenerateError> {
        Ok(self.advance()?.events)
    }

    /// Runs the next pass like [`step`](Self::step), and returns also what [`keep`](Self::keep) asked for.
    pub(super) fn advance(&mut self) -> Result<Stepped, GenerateError> {
        self.change(Self::run_pass)
    }

    /// Takes out all sequences whose latest turn has generated its last token, in the order in which they joined, and
    /// frees their memory.
    ///
    /// Copies, shortened sequences and prompts without new tokens stay; they wait for their next turn.
    pub fn take_finished(&mut self) -> Vec<Taken> {
        let finished = self.members.iter().filter(|member| member.completion.stop.is_some());
        let ids: Vec<u64> = finished.map(|member| member.id).collect();
        ids.into_iter().filter_map(|id| self.cancel(id)).collect()
    }

    /// Takes out a sequence, whether its turn has ended or not, and frees its memory. Returns `None` if there is no such
    /// sequence. What the controller answers to [`Event::End`] is ignored.
    pub fn cancel(&mut self, id: u64) -> Option<Taken> {
        let member = self.leave(id)?;
        let report = self.report.sequences.remove(member.reported);
        for other in &mut self.members {
            other.reported -= usize::from(other.reported > member.reported);
        }
        Some(Taken { completion: member.completion, tokens: member.tokens, report })
    }

    /// Takes out a sequence, but leaves its entry in the report.
    pub(super) fn release(&mut self, id: u64) -> Option<Completion> {
        self.leave(id).map(|member| member.completion)
    }

    fn leave(&mut self, id: u64) -> Option<Member<'a>> {
        let row = self.members.iter().position(|member| member.id == id)?;
        self.cache.remove_row(row);
        let member = self.members.remove(row);
        let _ = self.controller.on(&Event::End { id });
        Some(member)
    }

    /// Returns `true` if the next pass is a chunk of a prompt.
    pub(super) fn has_prompts(&self) -> bool {
        let run = self.options.run;
        let mut parts = self.members.iter().filter_map(|member| member.part(run.control_from, run.prefill_chunk));
        parts.any(|part| part.phase == Phase::Prefill)
    }

    /// Starts a session of copies of one sequence, which go on from where it is, under another controller that learns
    /// of neither start nor sequences. Its report is empty.
    pub(super) fn lanes<D: Controller>(
        &self,
        id: u64,
        controller: D,
        lanes: Vec<(u64, SequenceOptions)>,
    ) -> Result<Session<'a, D>, GenerateError> {
        let row = self.row(id)?;
        let report = RunReport::new(self.report.dimensions, self.options.run, Vec::new());
        let cache = self.cache.copies(row, lanes.len());
        let mut session = Session::with(self.model.clone(), controller, self.options.clone(), cache, report);
        let original = &self.members[row];
        for (id, options) in lanes {
            self.check_options(id, &options)?;
            let seed = options.seed.unwrap_or(original.seed);
            let text = session.text(&options);
            let completion = Completion::new(id);
            session.join(Member { id, seed, options, text, completion, ..original.clone() });
        }
        Ok(session)
    }

    /// Starts a session of the same sequences, which go on from where they are, under another controller that learns of
    /// neither start nor sequences. Its report begins as this one's; what is known of speculation is not kept.
    pub(super) fn under<D: Controller>(&self, controller: D) -> Session<'a, D> {
        let (cache, report) = (self.cache.copy(), self.report.clone());
        let mut session = Session::with(self.model.clone(), controller, self.options.clone(), cache, report);
        session.keep = self.keep;
        session.members.clone_from(&self.members);
        (session.passes, session.decoded_last) = (self.passes, self.decoded_last);
        session
    }

    /// Makes a change, unless an earlier one panicked and left the session half changed.
    fn change<R>(&mut self, change: impl FnOnce(&mut Self) -> Result<R, GenerateError>) -> Result<R, GenerateError> {
        if std::mem::replace(&mut self.busy, true) {
            return Err(GenerateError::Interrupted);
        }
        let result = change(self);
        self.busy = false;
        result
    }

    fn member(&self, id: u64) -> Option<&Member<'a>> {
        self.members.iter().find(|member| member.id == id)
    }

    fn row(&self, id: u64) -> Result<usize, GenerateError> {
        let row = self.members.iter().position(|member| member.id == id);
        row.ok_or(GenerateError::NoSequence { sequence: id })
    }

    /// The row of a sequence whose turn has ended.
    fn waiting(&self, id: u64) -> Result<usize, GenerateError> {
        let row = self.row(id)?;
        if self.members[row].running { Err(GenerateError::Running { sequence: id }) } else { Ok(row) }
    }

    /// Makes a sequence without tokens, and checks its id and its options.
    fn new_member(&self, id: u64, options: SequenceOptions) -> Result<Member<'a>, GenerateError> {
        if self.member(id).is_some() {
            return Err(GenerateError::SequenceExists { sequence: id });
        }
        self.check_options(id, &options)?;
        Ok(Member {
            id,
            stream: options.stream.unwrap_or(id),
            seed: options.seed.unwrap_or(self.options.run.seed),
            text: self.text(&options),
            options,
            tokens: Vec::new(),
            cached: 0,
            prompt: 0,
            running: false,
            reported: 0,
            waits_since: self.passes,
            completion: Completion::new(id),
        })
    }

    /// Refuses options that this sequence cannot run with.
    fn check_options(&self, id: u64, options: &SequenceOptions) -> Result<(), GenerateError> {
        options.check(self.options.tokenizer.as_deref())?;
        tokens::check_vocabulary(&self.model, &options.given)
            .map_err(|problem| GenerateError::Tokens { sequence: id, problem })
    }

    fn text(&self, options: &SequenceOptions) -> Option<TextStream<'a>> {
        let tokenizer = self.options.tokenizer.clone();
        tokenizer.map(|tokenizer| TextStream::new(tokenizer, &options.stop_strings))
    }

    /// Begins a turn of a sequence, all of whose tokens are given: that of an existing row, or of a new one.
    fn begin_turn(&mut self, member: Member<'a>, row: Option<usize>) -> Result<(), GenerateError> {
        let (id, new) = (member.id, member.options.max_new_tokens);
        tokens::check(&self.model, &member.tokens)
            .map_err(|problem| GenerateError::Tokens { sequence: id, problem })?;
        self.check_room(id, member.tokens.len(), new)?;
        let member = Member {
            prompt: member.tokens.len(),
            running: true,
            waits_since: self.passes,
            text: self.text(&member.options),
            completion: Completion::new(id),
            ..member
        };
        self.tell(&member, row.is_none(), None)?;
        let Some(row) = row else {
            self.cache.add_row((member.prompt + new.min(FIRST_SLOTS)).min(self.model.config().max_positions));
            self.join(member);
            return Ok(());
        };
        let appended = member.prompt - self.members[row].tokens.len();
        self.report.sequences[member.reported].prompt_tokens += appended as u64;
        self.members[row] = member;
        Ok(())
    }

    /// Adds a member, with an entry in the report.
    fn join(&mut self, member: Member<'a>) {
        let prompt_tokens = member.tokens.len() as u64;
        self.report.sequences.push(SequenceReport { id: member.id, prompt_tokens, ..Default::default() });
        self.members.push(Member { reported: self.report.sequences.len() - 1, ..member });
    }

    /// Tells the controller that a sequence joins or begins its next turn.
    fn tell(&mut self, member: &Member<'a>, joins: bool, copy_of: Option<u64>) -> Result<(), GenerateError> {
        let setup = Setup { model: &self.model, settings: self.options.run };
        let Member { id, stream, seed, tokens, cached, .. } = member;
        let sequence =
            Sequence { setup, id: *id, stream: *stream, seed: *seed, tokens, cached: *cached, joins, copy_of };
        Ok(self.controller.on(&Event::Begin(&sequence))?)
    }

    /// Refuses a sequence for which the limit on cached tokens leaves no room.
    fn check_room(&self, id: u64, tokens: usize, new: usize) -> Result<(), GenerateError> {
        let Some(limit) = self.options.max_cached_tokens else { return Ok(()) };
        let context = self.model.config().max_positions;
        let others = self.members.iter().filter(|member| member.id != id);
        let free = limit.saturating_sub(others.map(|member| member.may_hold(context)).sum());
        let needed = tokens.saturating_add(new).min(context);
        if needed <= free { Ok(()) } else { Err(GenerateError::CacheFull { sequence: id, needed, free, limit }) }
    }
}
