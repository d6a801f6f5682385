//! What a controller is, sees and answers.

mod action;
mod batch;
mod controller;
mod decision;
mod error;
mod part;
mod settings;
mod site;
mod split;

pub use action::Action;
pub use batch::Batch;
pub use controller::{Controller, ControllerFn, controller_fn};
pub use decision::Decision;
pub use error::ControllerError;
pub use settings::{ControlFrom, KvPolicy, PartialSkips, RunSettings};
pub(crate) use site::Watch;
pub use site::{Phase, Row, Site};
pub(crate) use split::{Share, Split};
