//! Do hidden states help a router? The second experiment of arXiv 2410.20022 as one call.
//!
//! [`Study::run`] trains the same router with several inputs ([`RouterInput`](crate::controllers::RouterInput): hidden
//! states, a constant, positions, embeddings, hidden states of other tokens), at several prices of depth and with several
//! seeds, and measures each by decoding: without noise, every skip real. The [`StudyReport`] holds quality and likelihood
//! against layers per token with confidence intervals, and says whether hidden states helped over the constant and by how
//! much.
//!
//! # How inputs are compared
//!
//! At equal depth. An input's means over items and seeds, one point per price, and the full model's make a curve of
//! quality against layers: the upper convex hull of the points that no other dominates, as lines between two settings are
//! what drawing one of them for each sequence reaches. The gain of one input over another is the mean distance of the two
//! curves over the depths that both reach. Intervals are percentile bootstraps over items and seeds: both are drawn with
//! replacement, the same for all inputs, so that a hard item blurs no difference. With few seeds the part that is due to
//! them is underestimated.

mod curves;
mod error;
mod evaluation;
mod report;
mod runs;
mod store;
mod task;

pub use error::StudyError;
pub use evaluation::{Evaluation, evaluate};
pub use report::{Comparison, Measure, StudyPoint, StudyReport, Verdict};
pub use runs::{Study, StudyProgress, StudyRun};
pub use task::StudyTask;
