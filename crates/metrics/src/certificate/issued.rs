//! Issued certificates.

use super::guarantee::{Tested, cost};
use super::{CertificateError, Guarantee};
use crate::allocation::Evidence;
use crate::numbers::ToF64;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The result of a calibration: the candidates whose risk is at most the level, and everything that the promise depends on.
///
/// Its text says what is promised, for whom, and what is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The guarantee, with its levels, loss and rule.
    pub guarantee: Guarantee,
    /// The measure of quality, in words; empty unless the caller sets it.
    #[serde(default)]
    pub quality: String,
    /// The number of sequences that were tested on.
    pub sequences: usize,
    /// The tested candidates, in the order of the tests.
    pub candidates: Vec<Candidate>,
    /// The things that must be the same where the certificate is used, such as the digests of model and prompts. See
    /// [`check`](Self::check).
    pub conditions: BTreeMap<String, String>,
}

/// A tested candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its mean cost over all sequences.
    pub cost: f64,
    /// Its mean loss over the sequences of the test.
    pub loss: f64,
    /// The upper bound of its risk, which holds with probability `1 - delta` for this candidate alone.
    pub bound: f64,
    /// The p-value of the hypothesis that its risk is above `alpha`.
    pub p_value: f64,
    /// `true` if it is certified.
    pub certified: bool,
}

impl Guarantee {
    /// Tests the candidates of the table. `full` names the one at full depth, which is certified only if it is tested too.
    ///
    /// # Errors
    /// If a level is out of its range, there is no candidate `full`, a sequence lacks a candidate, a quality is not
    /// between 0 and 1, or the rule does not fit the candidates.
    pub fn certify(&self, evidence: &Evidence, full: &str) -> Result<Certificate, CertificateError> {
        let Tested { losses, p_value, p_values, candidates, certified } = self.test(evidence, full)?;
        let sequences = losses.first().map_or(0, Vec::len);
        let tested = candidates.into_iter().zip(losses).zip(p_values).zip(certified);
        let candidates = tested.map(|(((candidate, losses), p), certified)| {
            Ok(Candidate {
                name: evidence.candidates()[candidate].clone(),
                cost: cost(evidence, candidate),
                loss: losses.iter().sum::<f64>() / losses.len().to_f64(),
                bound: p_value.bound(&losses, self.delta)?,
                p_value: p,
                certified,
            })
        });
        Ok(Certificate {
            candidates: candidates.collect::<Result<_, CertificateError>>()?,
            guarantee: Self { p_value: Some(p_value), ..self.clone() },
            quality: String::new(),
            sequences,
            conditions: BTreeMap::new(),
        })
    }
}

impl Certificate {
    /// The name of the cheapest certified candidate, if there is one. Any other certified one may be used as well.
    pub fn chosen(&self) -> Option<&str> {
        self.cheapest().map(|candidate| candidate.name.as_str())
    }

    fn cheapest(&self) -> Option<&Candidate> {
        self.candidates.iter().filter(|candidate| candidate.certified).min_by(|a, b| a.cost.total_cmp(&b.cost))
    }

    /// Checks that the certificate applies: that all its conditions are the same here.
    ///
    /// # Errors
    /// The first condition that differs.
    pub fn check(&self, here: &BTreeMap<String, String>) -> Result<(), CertificateError> {
        let differs = self.conditions.iter().find(|(what, value)| here.get(*what) != Some(value));
        match differs {
            None => Ok(()),
            Some((what, expected)) => Err(CertificateError::Other {
                what: what.clone(),
                expected: expected.clone(),
                found: here.get(what).cloned().unwrap_or_else(|| "nothing".to_owned()),
            }),
        }
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Guarantee { alpha, delta, loss, .. } = &self.guarantee;
        let n = self.sequences;
        let Some(Candidate { name, cost, loss: mean, .. }) = self.cheapest() else {
            let tested = self.candidates.len();
            return write!(
                f,
                "No candidate is certified: for none of the {tested}, the {n} sequences show that the mean over sequences of \
                 {loss} is at most {alpha}, at an error probability of {delta}."
            );
        };
        write!(
            f,
            "{name}: the mean over sequences of {loss} is at most {alpha} for sequences like the {n} that it was tested on \
             (where it was {mean:.4}), at a mean cost of {cost:.2}. The probability that these {n} mislead is at most {delta}. \
             Nothing is said of a single sequence, or of sequences of another kind."
        )?;
        if self.quality.is_empty() { Ok(()) } else { write!(f, " Quality is the {}.", self.quality) }
    }
}
