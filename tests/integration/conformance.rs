//! The conformance suite: sound controllers pass, and each rule is broken by some controller.

use crate::support::{SPECS, on_flex, some};
use dynlayer::inference::conformance::{Rule, check, small_model};
use dynlayer::inference::controllers::{
    ControllerSpec, FullDepth, LinearRouter, Passes, Recorded, Resources, Routed, RouterInput, RouterOptions, Sequences,
};
use dynlayer::inference::{Action, Controller, ControllerError, Decision, Event, Row, Site, controller_fn};
use dynlayer::model::Llama;
use std::cell::Cell;
use std::collections::HashMap;

fn model() -> Llama {
    small_model(&crate::support::device()).unwrap()
}

fn broken<C: Controller>(make: impl FnMut() -> C) -> Rule {
    check(&model(), Rule::ALL, make).unwrap_err().rule
}

#[test]
fn sound_controllers_pass() {
    check(&model(), Rule::ALL, || FullDepth).unwrap();
    check(&model(), Rule::ALL, || -> Box<dyn Controller + Send> { Box::new(FullDepth) }).unwrap();
    // By position and layer, row by row.
    let odd = || {
        controller_fn(|site| {
            Decision::per_row(
                site.rows()
                    .iter()
                    .map(|row| if (row.position + site.layer()) % 2 == 1 { Action::SkipMlp } else { Action::Run }),
            )
        })
    };
    check(&model(), Rule::ALL, odd).unwrap();
}

#[test]
fn too_few_answers() {
    let error = check(&model(), Rule::ALL, || controller_fn(|_| Decision::PerRow(vec![Action::Run]))).unwrap_err();
    assert_eq!(error.rule, Rule::Answers);
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("one action per row, 4, found 1"));
}

#[test]
fn chance_without_a_seed() {
    let count = Cell::new(0);
    let rule = broken(|| {
        count.set(count.get() + 1);
        let skips = count.get() % 2 == 0;
        controller_fn(move |_| if skips { Action::Skip } else { Action::Run })
    });
    assert_eq!(rule, Rule::Deterministic);
}

/// Skips every fifth layer that a sequence is asked about, counted over all passes. If `resets` is set, a new run
/// begins new counts.
struct Counting {
    /// The position of each question.
    asked: HashMap<u64, Vec<usize>>,
    resets: bool,
}

impl Counting {
    fn new(resets: bool) -> Self {
        Self { asked: HashMap::new(), resets }
    }
}

impl Controller for Counting {
    fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
        let action = |row: &Row| {
            let asked = self.asked.entry(row.id).or_default();
            asked.push(row.position);
            if asked.len().is_multiple_of(5) { Action::Skip } else { Action::Run }
        };
        Ok(Decision::per_row(site.rows().iter().map(action)))
    }

    fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
        match event {
            Event::Start(_) if self.resets => self.asked.clear(),
            Event::Rewind { id, tokens } => self.asked.entry(*id).or_default().retain(|position| position < tokens),
            Event::Begin(sequence) => {
                let original = sequence.copy_of.and_then(|id| self.asked.get(&id)).cloned();
                self.asked.extend(original.map(|asked| (sequence.id, asked)));
            }
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn state_left_over_from_the_run_before() {
    assert_eq!(broken(|| Counting::new(false)), Rule::StartResets);
    check(&model(), Rule::ALL, || Counting::new(true)).unwrap();
}

#[test]
fn the_first_row_speaks_for_all() {
    let rule =
        broken(|| controller_fn(|site| if site.rows()[0].position % 2 == 1 { Action::Exit } else { Action::Run }));
    assert_eq!(rule, Rule::BatchEqualsSolo);
}

/// A controller cannot tell whether it is boxed, so this test makes every third controller a different one.
#[test]
fn a_box_that_does_something_else() {
    let count = Cell::new(0);
    let rule = broken(|| {
        count.set(count.get() + 1);
        let skips = count.get() == 3;
        controller_fn(move |_| if skips { Action::Skip } else { Action::Run })
    });
    assert_eq!(rule, Rule::BoxedEqualsUnboxed);
}

/// All controllers of the library keep the rules.
#[test]
fn the_library_s_own_controllers_pass() {
    let model = model();
    let resources = Resources::new().texts(vec![(0..60).map(|i| i * 7 % 64).collect()]);
    for spec in some(SPECS, 2) {
        let spec: ControllerSpec = spec.parse().unwrap();
        check(&model, Rule::ALL, || spec.build(&model, &resources).unwrap())
            .unwrap_or_else(|broken| panic!("{spec}: {broken}"));
        if on_flex() {
            check(&model, Rule::ALL, || Recorded::new(spec.build(&model, &resources).unwrap())).unwrap();
        }
    }
    let router = LinearRouter::new([6, 32], 0.5, 1, &crate::support::device());
    let inputs = [RouterInput::Hidden, RouterInput::Position, RouterInput::Constant, RouterInput::ShuffledHidden];
    for input in some(inputs, 1) {
        let options = RouterOptions { input, ..RouterOptions::default() };
        check(&model, Rule::ALL, || Routed::new(router.clone(), options))
            .unwrap_or_else(|broken| panic!("{input:?}: {broken}"));
    }
}

/// Counts passes in one place for all sequences, or keeps what it saw of a token that is gone.
#[test]
fn what_sessions_break_is_found() {
    let model = small_model(&crate::support::device()).unwrap();

    /// Forgets all sequences when one joins.
    #[derive(Default)]
    struct ForgetsOthers(HashMap<u64, usize>);
    impl Controller for ForgetsOthers {
        fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
            let late = |id| self.0.get(&id).is_some_and(|passes| *passes > 1);
            let action = |id| if late(id) { Action::Skip } else { Action::Run };
            Ok(Decision::per_row(site.rows().iter().map(|row| action(row.id))))
        }
        fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
            match event {
                Event::Start(_) | Event::Begin(_) => self.0.clear(),
                Event::Pass(pass) if pass.controlled() => {
                    pass.rows().iter().for_each(|row| *self.0.entry(row.id).or_default() += 1);
                }
                _ => {}
            }
            Ok(())
        }
    }
    let rules = [Rule::Answers, Rule::Deterministic, Rule::StartResets, Rule::BoxedEqualsUnboxed];
    check(&model, &rules, ForgetsOthers::default).unwrap();
    let broken = check(&model, &[Rule::JoiningKeepsOthers], ForgetsOthers::default).unwrap_err();
    assert_eq!(broken.rule, Rule::JoiningKeepsOthers);

    /// Skips more the more tokens a sequence has produced, also those that were dropped.
    #[derive(Default)]
    struct Remembers(HashMap<u64, usize>);
    impl Controller for Remembers {
        fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
            let seen = |id| self.0.get(&id).copied().unwrap_or_default();
            let action = |id| if site.layer() < seen(id) { Action::Skip } else { Action::Run };
            Ok(Decision::per_row(site.rows().iter().map(|row| action(row.id))))
        }
        fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
            match event {
                Event::Start(_) => self.0.clear(),
                Event::Outcome(outcome) => {
                    outcome.rows().iter().for_each(|row| *self.0.entry(row.row().id).or_default() += 1);
                }
                Event::Begin(sequence) => {
                    let original = sequence.copy_of.and_then(|id| self.0.get(&id)).copied();
                    self.0.extend(original.map(|tokens| (sequence.id, tokens)));
                }
                Event::End { id } => drop(self.0.remove(id)),
                _ => {}
            }
            Ok(())
        }
    }
    let others: Vec<Rule> = Rule::ALL.iter().copied().filter(|rule| *rule != Rule::RewindForgets).collect();
    check(&model, &others, Remembers::default).unwrap();
    let broken = check(&model, Rule::ALL, Remembers::default).unwrap_err();
    assert_eq!(broken.rule, Rule::RewindForgets);

    /// Thins a sequence after its first tokens, and begins anew with a copy.
    #[derive(Default)]
    struct ForgetsOriginal(Sequences<Passes<()>>);
    impl Controller for ForgetsOriginal {
        fn decide(&mut self, site: &Site<'_>) -> Result<Decision, ControllerError> {
            let thin = |id| site.layer() == 3 && self.0.get(id).is_some_and(|passes| passes.len() > 2);
            let action = |id| if thin(id) { Action::Skip } else { Action::Run };
            Ok(Decision::per_row(site.rows().iter().map(|row| action(row.id))))
        }
        fn on(&mut self, event: &Event<'_>) -> Result<(), ControllerError> {
            match event {
                Event::Begin(_) => {}
                _ => self.0.on(event),
            }
            if let Event::Outcome(outcome) = event {
                outcome.rows().iter().for_each(|row| self.0.entry(row.id()).push(row.row().position, ()));
            }
            Ok(())
        }
    }
    let broken = check(&model, Rule::ALL, ForgetsOriginal::default).unwrap_err();
    assert_eq!(broken.rule, Rule::CopyContinues);
    let routes = check(&model, Rule::LEARNING, ForgetsOriginal::default).unwrap();
    assert_eq!(routes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["######", "###.##"]);
}
