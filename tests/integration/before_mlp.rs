//! The question between the attention and the MLP.

use crate::support::{device, small};
use dynlayer::inference::{
    Action, ControlFrom, Controller, ControllerError, Decision, GenerateError, KvPolicy, PartialSkips, Place,
    RunSettings, ScoreItem, ScoreOptions, Scores, Site, controller_fn, score, score_batch,
};
use dynlayer::model::Llama;
use proptest::prelude::*;

/// The answers of one row and layer: directly, or at the two places.
#[derive(Clone, Copy, Debug)]
struct Answers {
    direct: Action,
    before: Action,
    between: Action,
}

fn answers(draw: u8) -> Answers {
    let (direct, before, between) = match draw % 6 {
        0 => (Action::Run, Action::AskBeforeMlp, Action::Run),
        1 => (Action::SkipMlp, Action::AskBeforeMlp, Action::Skip),
        2 => (Action::SkipMlp, Action::AskBeforeMlp, Action::SkipMlp),
        3 => (Action::Skip, Action::Skip, Action::Exit),
        4 => (Action::SkipAttention, Action::SkipAttention, Action::SkipAttention),
        _ => (Action::Run, Action::Run, Action::Exit),
    };
    Answers { direct, before, between }
}

fn scored(model: &Llama, items: &[ScoreItem], run: RunSettings, controller: impl Controller) -> Scores {
    let options = ScoreOptions { run, keep_logits: true, ..ScoreOptions::default() };
    score_batch(model, controller, items, &options).unwrap()
}

proptest! {
    #![proptest_config(crate::support::cases(24))]

    #[test]
    fn asking_twice_equals_answering_once(
        draws in prop::collection::vec(any::<u8>(), 64),
        policy in prop::sample::select(KvPolicy::ALL.to_vec()),
        from in prop::sample::select(ControlFrom::ALL.to_vec()),
        gathers: bool,
    ) {
        let model = small(&device());
        let items = [(3, 4), (1, 6), (5, 2)].map(|(prompt, continuation)| ScoreItem {
            prompt: (1..=prompt).collect(),
            continuation: (7..7 + continuation).collect(),
        });
        let partial_skips = if gathers { PartialSkips::Gather } else { PartialSkips::RunAll };
        let run = RunSettings { control_from: from, kv_policy: policy, partial_skips, ..RunSettings::default() };
        // The last answers of a pass are exits, so that some rows exit at either place.
        let of = |site: &Site<'_>, row: usize| {
            let row = &site.rows()[row];
            answers(draws[(row.id as usize * 29 + row.position * 5 + site.layer()) % draws.len()])
        };
        let exits_at = |id: u64| 2 + id as usize; // the layer at which the row exits before the MLP
        let once = controller_fn(|site: &Site<'_>| {
            Decision::per_row((0..site.rows().len()).map(|row| match site.layer().cmp(&exits_at(site.rows()[row].id)) {
                std::cmp::Ordering::Less => of(site, row).direct,
                std::cmp::Ordering::Equal => Action::SkipMlp,
                std::cmp::Ordering::Greater => Action::Exit,
            }))
        });
        let twice = controller_fn(|site: &Site<'_>| {
            Decision::per_row((0..site.rows().len()).map(|row| {
                let asked = site.rows()[row].asked;
                match (site.layer().cmp(&exits_at(site.rows()[row].id)), site.place()) {
                    (std::cmp::Ordering::Less, Place::Layer) => of(site, row).before,
                    (std::cmp::Ordering::Less, _) if asked => of(site, row).between,
                    // The answers of rows that did not ask do not count, whatever they are.
                    (std::cmp::Ordering::Equal, Place::Layer) | (std::cmp::Ordering::Less, _) => Action::AskBeforeMlp,
                    _ => Action::Exit,
                }
            }))
        });
        let (once, twice) = (scored(&model, &items, run, once), scored(&model, &items, run, twice));
        for (once, twice) in once.sequences.iter().zip(&twice.sequences) {
            for (once, twice) in once.tokens.iter().zip(&twice.tokens) {
                prop_assert_eq!(&once.route, &twice.route);
                prop_assert_eq!(&once.logits, &twice.logits);
            }
        }
        prop_assert_eq!(once.report.decode.spent, twice.report.decode.spent);
        prop_assert_eq!(once.report.prefill.spent, twice.report.prefill.spent);
    }
}

#[test]
fn the_state_between_is_what_the_attention_left() {
    let model = small(&device());
    let block = &model.layers()[0];
    let mut cache = model.cache(1, 1);
    let frame = model.frame(&cache, &[0], &[vec![0]]);
    let embedded = model.embed(model.tokens(&[&[9]]));
    let expected = block.attention(embedded.clone(), &frame, cache.layer_mut(0)).into_data();
    let mut seen = 0;
    let controller = controller_fn(|site: &Site<'_>| {
        if site.layer() > 0 {
            return Action::Run;
        }
        if site.place() == Place::Layer {
            assert_eq!(site.hidden().clone().into_data(), embedded.clone().into_data());
            return Action::AskBeforeMlp;
        }
        assert_eq!(site.hidden().clone().into_data(), expected);
        assert_eq!(site.embedded().clone().into_data(), embedded.clone().into_data());
        seen += 1;
        Action::Run
    });
    let run = RunSettings { control_from: ControlFrom::All, ..RunSettings::default() };
    let options = ScoreOptions { run, ..ScoreOptions::default() };
    score(&model, controller, &[9], &[1], &options).unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn answers_that_mean_nothing_between_the_sublayers_are_refused() {
    let model = small(&device());
    for (answer, found) in [
        (Action::SkipAttention.into(), "skip-attention"),
        (Action::AskBeforeMlp.into(), "ask-before-mlp"),
        (Decision::PerRow(vec![Action::Run; 2]), "2"),
    ] {
        let controller =
            controller_fn(
                |site: &Site<'_>| {
                    if site.place() == Place::Mlp { answer.clone() } else { Action::AskBeforeMlp.into() }
                },
            );
        let error = score(&model, controller, &[1, 2], &[3, 4], &ScoreOptions::default()).unwrap_err();
        let GenerateError::Contract { layer: 0, found: told, .. } = &error else { panic!("{error}") };
        assert_eq!(told, found);
    }
    let gate = |site: &Site<'_>| -> Result<Decision, ControllerError> {
        if site.place() == Place::Layer {
            return Ok(Action::AskBeforeMlp.into());
        }
        Ok(Decision::Gate(site.last_hidden().narrow(1, 0, 1)))
    };
    let error = score(&model, controller_fn(gate), &[1, 2], &[3, 4], &ScoreOptions::default()).unwrap_err();
    assert!(error.to_string().contains("found a gate"), "{error}");
}
