//! Options of sampling.

use super::SamplingError;
use serde::{Deserialize, Serialize};

/// Rules for choosing the next token from the logits. The default is greedy: the token with the largest logit, and the
/// lowest id if several are equal.
///
/// The rules apply in Hugging Face's order: repetition penalty, temperature, top-k, top-p, min-p, then one draw. A draw
/// depends only on the run's [seed](crate::RunSettings::seed), the sequence's id and the position, so a sequence draws
/// the same tokens alone and in a batch.
///
/// ```
/// use dynlayer_inference::sampling::Sampling;
///
/// let sampling = Sampling { temperature: 0.8, top_p: Some(0.95), ..Sampling::default() };
/// assert!(sampling.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Divides the logits by this number; 0 chooses greedily.
    pub temperature: f32,
    /// Keeps the `k` largest logits, and all that are equal to the `k`-th.
    pub top_k: Option<usize>,
    /// Keeps the smallest set of most probable tokens whose total probability reaches `p` (Holtzman et al. 2020).
    pub top_p: Option<f32>,
    /// Keeps tokens at least `p` times as probable as the most probable one (Nguyen et al. 2024).
    pub min_p: Option<f32>,
    /// Divides the positive and multiplies the negative logits of tokens seen in the prompt or the output by this
    /// number (Keskar et al. 2019, section 4.1); 1 changes nothing. The penalty applies to greedy choice too. A penalty
    /// that makes a logit infinite ends the generation with [`SamplingError::Penalty`].
    pub repetition_penalty: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: None, top_p: None, min_p: None, repetition_penalty: 1.0 }
    }
}

impl Sampling {
    /// Checks that every option is in its range.
    ///
    /// # Errors
    /// [`SamplingError::Range`] naming the first field that is out of its range.
    pub fn validate(&self) -> Result<(), SamplingError> {
        let check = |field, value: f32, ok: bool, expected| {
            if ok { Ok(()) } else { Err(SamplingError::Range { field, value, expected }) }
        };
        let t = self.temperature;
        check("temperature", t, t.is_finite() && t >= 0.0, "a finite number of at least 0")?;
        if self.top_k == Some(0) {
            check("top_k", 0.0, false, "at least 1")?;
        }
        if let Some(p) = self.top_p {
            check("top_p", p, p > 0.0 && p <= 1.0, "above 0 and at most 1")?;
        }
        if let Some(p) = self.min_p {
            check("min_p", p, (0.0..=1.0).contains(&p), "from 0 to 1")?;
        }
        let r = self.repetition_penalty;
        check("repetition_penalty", r, r.is_finite() && r > 0.0, "a finite number above 0")
    }

    /// `true` if the choice is the largest of the logits as they are.
    pub(crate) fn takes_likeliest(&self) -> bool {
        self.temperature <= 0.0 && !self.penalises()
    }

    /// `true` if the repetition penalty has an effect.
    #[expect(clippy::float_cmp, reason = "exactly 1 is the documented way to switch the penalty off")]
    pub(crate) fn penalises(&self) -> bool {
        self.repetition_penalty != 1.0
    }

    /// The names of the fields that are set and have no effect: the filters of a draw, if the choice is greedy.
    pub fn without_effect(&self) -> Vec<&'static str> {
        let greedy = self.temperature <= 0.0;
        let filters =
            [("top_k", self.top_k.is_some()), ("top_p", self.top_p.is_some()), ("min_p", self.min_p.is_some())];
        filters.into_iter().filter(|(_, set)| *set && greedy).map(|(name, _)| name).collect()
    }
}
