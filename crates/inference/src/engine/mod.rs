//! The layer loop: the one place that turns decisions into launches.
//!
//! `pass` is the loop, `plan` reads a decision, `sublayers` runs what is to be run, `policy_cache` does what the KV policy
//! says about the rest (`owed`: deferred, `holes`: omitted), `partial` chooses how rows that disagree are run, `tally`
//! counts.

mod holes;
mod logits;
mod owed;
mod partial;
mod pass;
mod plan;
mod policy_cache;
mod rows;
mod stream;
mod sublayers;
mod tally;

pub(crate) use logits::read_logits;
pub(crate) use partial::Chooser;
pub(crate) use pass::{Pass, PassInput, run};
pub(crate) use policy_cache::PolicyCache;
pub(crate) use tally::Tally;
