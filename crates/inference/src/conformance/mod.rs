//! Conformance checks for controllers.
//!
//! Users of a controller rely on the promises of the trait: rows do not influence each other, a run can be repeated,
//! and a run does not depend on the previous one. [`check`] runs a controller over texts of different lengths and
//! reports the first promise that it breaks, each of which is a [`Rule`].
//!
//! ```
//! use burn::tensor::Device;
//! use dynlayer_inference::conformance::{self, Rule};
//! use dynlayer_inference::{Action, controller_fn};
//!
//! let model = conformance::small_model(&Device::flex())?;
//! let sound = || controller_fn(|site| if site.layer() % 2 == 1 { Action::Skip } else { Action::Run });
//! conformance::check(&model, Rule::ALL, sound)?;
//!
//! // This controller decides about the whole batch by the first row.
//! let unsound = || controller_fn(|site| if site.rows()[0].position % 2 == 1 { Action::Exit } else { Action::Run });
//! let broken = conformance::check(&model, Rule::ALL, unsound).unwrap_err();
//! assert_eq!(broken.rule, Rule::BatchEqualsSolo);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod rule;
mod runs;

pub use check::{check, small_model};
pub use rule::{Broken, Rule};
