//! Certificates: statistical guarantees for the choice of a controller by measured losses.
//!
//! A threshold or a depth that was chosen on some prompts looks better there than it is: the more candidates there are, the
//! luckier the best one. A [`Guarantee`] chooses so that the promise holds for new prompts of the same kind: with
//! probability `1 - delta` over the prompts that were measured, the mean loss of every certified candidate is at most
//! `alpha` (Learn then Test, Angelopoulos et al. 2021, arXiv 2110.01052). [`risk_control`] chooses so that the mean loss is
//! at most `alpha` in expectation (conformal risk control, Angelopoulos et al. 2022, arXiv 2208.02814).
//!
//! The unit is a sequence: the tokens of a text depend on each other. Losses are between 0 and 1. The candidates, their
//! order, the levels and the loss must be fixed before the data are seen.
//!
//! ```
//! use dynlayer_metrics::allocation::{Evidence, Record};
//! use dynlayer_metrics::certificate::{Guarantee, Loss};
//!
//! // 300 prompts: an exit after two layers is wrong for 10 % of them, and one after five for 1 %.
//! let evidence = Evidence::new((0..300).flat_map(|prompt| {
//!     let right = |period: u64| if prompt % period == 0 { 0.0 } else { 1.0 };
//!     [
//!         Record::new(prompt, "full", 1.0, 12.0),
//!         Record::new(prompt, "exit:5", right(100), 5.0),
//!         Record::new(prompt, "exit:2", right(10), 2.0),
//!     ]
//! }))?;
//! let certificate = Guarantee::new(0.05, 0.1).loss(Loss::QualityGap).certify(&evidence, "full")?;
//! assert_eq!(certificate.chosen(), Some("exit:5"));
//! println!("{certificate}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod guarantee;
mod issued;
mod loss;
mod p_value;
mod risk;
mod rule;

pub use error::CertificateError;
pub use guarantee::{Guarantee, Order};
pub use issued::{Candidate, Certificate};
pub use loss::Loss;
pub use p_value::PValue;
pub use risk::risk_control;
pub use rule::Rule;
