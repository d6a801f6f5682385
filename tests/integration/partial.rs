//! Layers that some rows of a batch run and others skip.

use crate::support::{device, small};
use dynlayer::inference::report::RunReport;
use dynlayer::inference::{
    Action, Completion, Decision, GenerateOptions, PartialSkips, RunSettings, Site, controller_fn, generate,
};

fn run(partial_skips: PartialSkips) -> (Vec<Completion>, RunReport) {
    let model = small(&device());
    // Sequence 0 skips layers 1 and 3.
    let controller = controller_fn(|site: &Site<'_>| {
        let skips = |id: u64| id == 0 && site.layer() % 2 == 1;
        Decision::per_row(site.rows().iter().map(|row| if skips(row.id) { Action::Skip } else { Action::Run }))
    });
    let options = GenerateOptions {
        run: RunSettings { partial_skips, ..RunSettings::default() },
        max_new_tokens: 5,
        ..GenerateOptions::default()
    };
    generate(&model, controller, &[vec![1, 2], vec![3], vec![4, 5, 6]], options).unwrap().finish().unwrap()
}

#[test]
fn partial_skips_change_the_work_and_not_the_tokens() {
    // Four decode passes of three rows with five layers each, of which one row asks for three.
    let (asked, everything) = (4 * (3 + 5 + 5), 4 * 15);
    let executed = |skips| {
        let (done, report) = run(skips);
        let (nominal, executed) = (report.decode.spent.nominal, report.decode.spent.executed);
        assert_eq!((nominal.attention, nominal.mlp), (asked, asked), "{skips:?}");
        assert_eq!(executed.attention, executed.mlp, "{skips:?}");
        (done, executed.mlp)
    };
    let (expected, all) = executed(PartialSkips::RunAll);
    assert_eq!(all, everything);
    for (skips, layers) in [
        (PartialSkips::Gather, asked),
        // A row of this model saves about ten thousand multiply-adds: not worth the copies on a processor.
        (PartialSkips::Modelled, everything),
    ] {
        let (done, ran) = executed(skips);
        assert_eq!(ran, layers, "{skips:?}");
        assert_eq!(
            done.iter().map(|done| &done.tokens).collect::<Vec<_>>(),
            expected.iter().map(|done| &done.tokens).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_report_says_what_was_executed_beside_what_was_asked_for() {
    let (_, report) = run(PartialSkips::RunAll);
    let text = report.to_string();
    assert!(text.contains("layers per token 4.33 of 5 (5.00 executed)"), "{text}");
    let summary = report.decode_summary().work;
    assert_eq!((summary.sublayers, summary.sublayers_executed), ([52, 52], [60, 60]));
    assert!(summary.flops_executed > summary.flops);
}
