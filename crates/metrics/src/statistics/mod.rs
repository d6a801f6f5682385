//! Uncertainty of results: bootstrap intervals, a paired test, and corrections for choosing the best of several.

mod bootstrap;
mod cross_fit;
mod error;
mod paired;

pub use bootstrap::{Bootstrap, Interval};
pub use cross_fit::{CrossFitted, Fold, cross_fit_candidates, cross_fit_methods, folds, odd_even};
pub use error::StatisticsError;
pub(crate) use error::check_values;
pub use paired::{PairedTest, paired_bootstrap};
