//! The schedule, whose budget depends on the position.

use super::{LAYERS, options, prompts, run, small};
use dynlayer::inference::ControlFrom;
use dynlayer::inference::controllers::Schedule;
use dynlayer::inference::report::Ran;

#[test]
fn tokens_run_what_the_schedule_says_for_their_position() {
    let model = small();
    let schedule = Schedule { max: 5, min: 2, from: 2, to: 9, warm_up: 1 };
    let (done, _) = run(&model, schedule, &prompts(), options(vec![], ControlFrom::LastPromptToken));
    let mut depths = std::collections::BTreeSet::new();
    for (prompt, done) in prompts().iter().zip(done) {
        for (i, route) in done.routes.iter().enumerate() {
            // The first token comes from the pass of the prompt's last token.
            let position = prompt.len() - 1 + i;
            for (layer, ran) in route.layers().iter().enumerate() {
                assert_eq!(*ran != Ran::default(), schedule.runs(layer, position, LAYERS), "{layer} at {position}");
            }
            assert_eq!(route.depth(), schedule.budget(position) as f64);
            depths.insert(schedule.budget(position));
        }
    }
    assert_eq!(depths.into_iter().collect::<Vec<_>>(), [2, 3, 4, 5], "all budgets were met");
}
