//! Which candidate each sequence should have had: the oracle, from a table of what was measured.
//!
//! [`Evidence`] holds quality and cost of every candidate (a controller, a depth, a route) for every sequence; [`Drive`]
//! measures it. An [`Allocator`] gives each sequence one candidate: most quality within a budget, least cost for a
//! quality, or the whole [`Frontier`]. [`ControlsRun`] computes what must stand beside such a number,
//! [`OracleController`] runs the choice, and [`PromptRouter`] tries to tell it from the prompt.
//!
//! # An oracle alone means nothing
//!
//! The oracle chooses by the very scores that it is judged by. Quality of one output is noisy: two outputs of the same
//! depth differ, and the best of `K` scores is above their mean even where nothing that was varied matters. For `K`
//! independent normal scores of standard deviation `s` the best is, in the mean, about `s sqrt(2 ln K)` above (for
//! `K = 24`, more exactly, 1.95 `s`). So an oracle over 24 candidates shows a gain on pure noise. Beside it stand
//! therefore, in [`Controls`]:
//!
//! - the *null oracle*: for every depth the best of as many random routes of that depth as there are candidates. It
//!   chooses as often, among routes of which none was meant for anything;
//! - the *cross-fitted oracle*: chosen on one half of the score, judged on the other. On pure noise it gains nothing;
//! - the *label-free oracle*: chosen without the reference, judged by it;
//! - the best *single candidate* for all sequences within the same budget;
//! - the oracle's own candidates *dealt out at random*: as deep in the mean, blind to the sequence;
//! - confidence intervals, as another sample of sequences would give other numbers.
//!
//! What an oracle gains is worth reporting as far as it exceeds the null oracle and lasts in the cross-fitted one.
//!
//! ```
//! use dynlayer_inference::oracle::{ControlsRun, Evidence, Record};
//! use rand::{Rng, SeedableRng};
//!
//! // Depth does not matter here: every score is noise.
//! let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
//! let mut noise = || rng.random::<f64>() - 0.5;
//! let evidence = Evidence::new((0..300).flat_map(|sequence| (1..=24).map(move |depth| (sequence, depth))).map(
//!     |(sequence, depth)| {
//!         let halves = [noise(), noise()];
//!         let quality = (halves[0] + halves[1]) / 2.0;
//!         Record { halves: Some(halves), ..Record::new(sequence, format!("uniform:{depth}"), quality, f64::from(depth)) }
//!     },
//! ))?;
//! let controls = ControlsRun::new(&evidence, 12.0).run()?;
//! let cross_fitted = controls.cross_fitted.ok_or("there are halves")?;
//! assert!(controls.oracle.quality.low > 0.3, "the oracle gains");
//! assert!(cross_fitted.quality.covers(0.0), "but only by luck");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod allocate;
mod controls;
mod driver;
mod evidence;
mod numbers;
mod replay;
mod router;

pub use allocate::{Allocation, AllocationError, Allocator, Frontier, FrontierAnswer, FrontierPoint, Proof};
pub use controls::{
    Bootstrap, ControlRow, ControllerRow, Controls, ControlsError, ControlsRun, Interval, NullDepth, Outcome, StaticRow,
};
pub use driver::{
    Candidate, Cost, Drive, DriveError, DriveOptions, DriveProgress, Driven, Item, Judged, Measure, Measured,
    MeasuredCell, Output, OutputMeasure,
};
pub use evidence::{Cell, Column, Evidence, EvidenceBuilder, EvidenceError, Place, Record};
pub use replay::{OracleController, ReplayError};
pub use router::{PromptPredictor, PromptRouter, PromptStates, RouterTrial, RouterTrialError};
