//! The layer loop: the one place that turns decisions into launches.

mod kv_policy;
mod pass;
mod plan;

pub use kv_policy::KvPolicy;
pub(crate) use pass::{PassInput, run};
