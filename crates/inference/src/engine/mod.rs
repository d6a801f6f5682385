//! The layer loop: the one place that turns decisions into launches.

mod kv_policy;
mod logits;
mod pass;
mod plan;

pub use kv_policy::KvPolicy;
pub(crate) use logits::read_logits;
pub(crate) use pass::{PassInput, run};
