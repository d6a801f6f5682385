//! The layer loop: the one place that turns decisions into launches.
//!
//! `pass` is the loop, `plan` interprets a decision, `sublayers` runs the sublayers, `policy_cache` applies the KV
//! policy to rows that skip an attention (with `owed` for deferred keys and values), `partial` chooses how to run a
//! sublayer that only some rows run, `rows` puts such rows back into their batch, `stream` holds the residual stream,
//! and `tally` counts the work.

mod owed;
mod partial;
mod pass;
mod plan;
mod policy_cache;
mod rows;
mod stream;
mod sublayers;
mod tally;

pub(crate) use partial::Chooser;
pub(crate) use pass::{PassInput, PassOutput, run};
pub(crate) use policy_cache::PolicyCache;
pub(crate) use tally::dimensions;

#[cfg(test)]
mod tests;
