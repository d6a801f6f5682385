//! The vocabulary of dynamic depth: controllers, the sites they see, their decisions, routes, and settings of a run.

mod action;
mod batch;
mod controller;
mod decision;
mod dispatch;
mod error;
mod part;
mod route;
mod settings;
mod site;

pub use action::Action;
pub use batch::Batch;
pub use controller::{Controller, ControllerFn, controller_fn};
pub use decision::Decision;
pub(crate) use dispatch::{Assignment, Dispatcher};
pub use error::ControllerError;
pub(crate) use error::PassError;
pub use route::{Ran, Route};
pub use settings::{ControlFrom, KvPolicy, PartialSkips, RunSettings};
pub(crate) use site::SiteLog;
pub use site::{Phase, Row, Site};
