//! Controllers that draw layers at random.

use super::{LAYERS, assert_batch_equals_solo, options, prompts, run, small};
use dynlayer::inference::controllers::{BernoulliSkip, Ends, RandomSkip};
use dynlayer::inference::report::{Ran, Route};
use dynlayer::inference::{ControlFrom, GenerateOptions};
use std::collections::HashSet;

fn runs(route: &Route) -> Vec<bool> {
    route.layers().iter().map(|ran| *ran != Ran::default()).collect()
}

#[test]
fn a_random_route_is_one_per_sequence_and_costs_the_budget() {
    let model = small();
    for (ends, budgets) in [(Ends::Kept, 2..=LAYERS), (Ends::Free, 0..=LAYERS)] {
        for budget in budgets {
            let controller = RandomSkip::new(budget).ends(ends);
            let (done, _) =
                run(&model, controller.clone(), &prompts(), options(vec![30, 7, 11, 2], ControlFrom::LastPromptToken));
            for done in &done {
                let expected = controller.route(LAYERS, 0, done.sequence);
                assert!(done.routes.iter().all(|route| runs(route) == expected), "{budget} {ends}");
                assert_eq!(expected.iter().filter(|runs| **runs).count(), budget);
                assert!(ends == Ends::Free || (expected[0] && expected[LAYERS - 1]));
            }
        }
    }
}

#[test]
fn seeds_change_random_routes() {
    let model = small();
    let routes = |seed| {
        let mut options: GenerateOptions<'_> = options(vec![], ControlFrom::LastPromptToken);
        options.run.seed = seed;
        run(&model, RandomSkip::new(3), &prompts(), options).0.into_iter().map(|done| done.routes[0].clone()).collect()
    };
    let seen: HashSet<Vec<Route>> = (0..6).map(routes).collect();
    assert!(seen.len() > 3, "{seen:?}");
}

#[test]
fn a_bernoulli_route_is_one_per_token() {
    let model = small();
    let (done, _) = run(&model, BernoulliSkip::new(0.5), &prompts(), options(vec![], ControlFrom::LastPromptToken));
    let routes: HashSet<Vec<bool>> = done.iter().flat_map(|done| done.routes.iter().map(runs)).collect();
    assert!(routes.len() > 4, "{routes:?}");
    assert!(routes.iter().all(|route| route[0] && route[LAYERS - 1]));

    let free = BernoulliSkip::new(0.5).ends(Ends::Free);
    let (done, _) = run(&model, free, &prompts(), options(vec![], ControlFrom::LastPromptToken));
    let routes: Vec<Vec<bool>> = done.iter().flat_map(|done| done.routes.iter().map(runs)).collect();
    assert!(routes.iter().any(|route| !route[0]) && routes.iter().any(|route| !route[LAYERS - 1]));
}

#[test]
fn probabilities_0_and_1() {
    let model = small();
    for (probability, ends, depth) in [(0.0, Ends::Kept, 2.0), (0.0, Ends::Free, 0.0), (1.0, Ends::Free, 5.0)] {
        let controller = BernoulliSkip::new(probability).ends(ends);
        let (_, report) = run(&model, controller, &prompts(), options(vec![], ControlFrom::LastPromptToken));
        assert_eq!(report.mean_depth(), Some(depth));
    }
}

#[test]
fn random_draws_do_not_depend_on_the_batch() {
    let model = small();
    for from in ControlFrom::ALL {
        for ends in [Ends::Kept, Ends::Free] {
            assert_batch_equals_solo(&model, "random", from, || RandomSkip::new(3).ends(ends));
            assert_batch_equals_solo(&model, "bernoulli", from, || BernoulliSkip::new(0.5).ends(ends));
        }
    }
}
