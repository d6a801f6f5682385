//! The vocabulary of dynamic depth: controllers, the sites they see, their decisions, the events they learn of, routes,
//! and settings of a run.

mod action;
mod closure;
mod controller;
mod decision;
mod error;
mod event;
mod logits;
mod observers;
mod outcome;
mod part;
mod route;
mod row;
mod settings;
mod site;
mod verified;

pub use action::Action;
pub(crate) use action::one_per_row;
pub use closure::{Answer, ControllerFn, controller_fn};
pub use controller::Controller;
pub use decision::Decision;
pub use error::ControllerError;
pub use event::{Event, Pass, Sequence, Setup};
pub(crate) use logits::{Logits, RowLogits, read};
pub(crate) use observers::Observers;
pub use outcome::{Outcome, RowOutcome};
pub use route::{Ran, Route};
pub use row::{Phase, Row};
pub use settings::{ControlFrom, KvPolicy, PartialSkips, RunSettings};
pub(crate) use site::SiteLog;
pub use site::{Place, Site};
pub use verified::{Verified, VerifiedRow};
