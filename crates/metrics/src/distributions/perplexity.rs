//! Perplexity of a text, in windows.

use crate::TensorError;
use crate::numbers::ToF64;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A way to cut a text into windows of `length` tokens, `stride` apart.
///
/// With `stride` = `length` windows do not overlap. Tokens at the start of a window are then predicted from few tokens,
/// and the first of each window, which would be predicted from none, is not scored. With a smaller stride every token
/// but the text's first is scored exactly once, by the first window that predicts it, given at least `length` -
/// `stride` tokens; this costs `length` / `stride` times as much. Perplexities are comparable only between equal
/// windows, so quote both numbers. This is the procedure of the transformers documentation, "Perplexity of fixed-length
/// models".
///
/// ```
/// use dynlayer_metrics::distributions::Windows;
///
/// let windows: Vec<_> = Windows::new(4, 2)?.over(7).collect();
/// assert_eq!(windows.iter().map(|w| w.tokens.clone()).collect::<Vec<_>>(), [0..4, 2..6, 4..7]);
/// assert_eq!(windows.iter().map(|w| w.scored.clone()).collect::<Vec<_>>(), [1..4, 4..6, 6..7]);
/// # Ok::<(), dynlayer_metrics::distributions::WindowsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Windows {
    length: usize,
    stride: usize,
}

#[derive(Deserialize)]
struct Unchecked {
    length: usize,
    stride: usize,
}

impl TryFrom<Unchecked> for Windows {
    type Error = WindowsError;

    fn try_from(windows: Unchecked) -> Result<Self, WindowsError> {
        Self::new(windows.length, windows.stride)
    }
}

/// One window over a text, as indices of its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Window {
    /// The tokens that the model sees.
    pub tokens: Range<usize>,
    /// The part of `tokens` that is scored.
    pub scored: Range<usize>,
}

/// The result of [`perplexity`], with the windows that it depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Perplexity {
    /// The perplexity, exp(`mean_nll`).
    pub perplexity: f64,
    /// Mean negative log-likelihood per scored token, in nats.
    pub mean_nll: f64,
    /// Number of scored tokens.
    pub tokens: usize,
    /// The windows' length and stride.
    pub windows: Windows,
    /// The mean negative log-likelihood of each window.
    pub window_nll: Vec<f64>,
}

/// The error for a length or a stride out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("windows of {length} tokens, {stride} apart; at least 2 tokens, and 1 to {length} apart, are needed")]
pub struct WindowsError {
    /// The windows' length.
    pub length: usize,
    /// The distance between the starts of two windows.
    pub stride: usize,
}

/// The error for a perplexity that cannot be computed. `E` is the error of the function that computes the losses.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PerplexityError<E = TensorError> {
    /// The text is too short: its first token is not predicted.
    #[error("the text has {found} tokens; at least 2 are needed")]
    TooShort {
        /// Its number of tokens.
        found: usize,
    },
    /// The number of losses of a window differs from its number of tokens minus 1.
    #[error(
        "{found} losses for the window of tokens {start} to {end}; one for each but the first, {expected}, is needed"
    )]
    Losses {
        /// Number of losses.
        found: usize,
        /// Number of losses that was expected.
        expected: usize,
        /// The window's first token.
        start: usize,
        /// The token after its last.
        end: usize,
    },
    /// A loss is NaN or infinite.
    #[error("the loss of token {token} is {value}")]
    NotFinite {
        /// The token's index in the text.
        token: usize,
        /// The loss.
        value: f64,
    },
    /// The mean loss is so large that its exponential is not finite.
    #[error("the mean loss is {mean_nll}, whose exponential is not finite")]
    TooLarge {
        /// The mean loss.
        mean_nll: f64,
    },
    /// The losses could not be computed.
    #[error("computing the losses of a window failed")]
    Model(#[source] E),
}

impl Windows {
    /// Windows of `length` tokens, `stride` apart.
    ///
    /// # Errors
    ///
    /// [`WindowsError`] unless `length` is at least 2 and `stride` from 1 to `length`.
    pub fn new(length: usize, stride: usize) -> Result<Self, WindowsError> {
        if length < 2 || stride == 0 || stride > length {
            return Err(WindowsError { length, stride });
        }
        Ok(Self { length, stride })
    }

    /// The number of tokens per window.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The number of tokens from the start of one window to the start of the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The windows over a text of `tokens` tokens. The last may be shorter; windows without scored tokens are left out.
    pub fn over(self, tokens: usize) -> impl Iterator<Item = Window> {
        let mut scored_to = 1;
        (0..tokens).step_by(self.stride).filter_map(move |start| {
            let end = (start + self.length).min(tokens);
            let scored = scored_to.max(start + 1)..end;
            scored_to = end.max(scored_to);
            (!scored.is_empty()).then_some(Window { tokens: start..end, scored })
        })
    }
}

/// The perplexity of a text: the exponential of the mean negative log-likelihood of its tokens.
///
/// `nll` gets the tokens of one window and returns the losses of all but the first, each given the tokens before it in
/// the window; [`super::LogProbs::nll`] computes them from a model's logits.
///
/// ```
/// use dynlayer_metrics::distributions::{Windows, perplexity};
/// use std::convert::Infallible;
///
/// // A model that finds every one of 50 tokens equally likely.
/// let uniform = |window: &[u32]| Ok::<_, Infallible>(vec![50.0_f64.ln(); window.len() - 1]);
/// let text: Vec<u32> = (0..1000).map(|i| i % 50).collect();
/// let found = perplexity(&text, Windows::new(512, 256)?, uniform)?;
/// assert!((found.perplexity - 50.0).abs() < 1e-9);
/// assert_eq!(found.tokens, 999);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// If the text has fewer than two tokens, `nll` fails or returns the wrong number of losses or one that is not finite,
/// or the mean loss is above about 709, where the exponential overflows.
pub fn perplexity<E>(
    tokens: &[u32],
    windows: Windows,
    mut nll: impl FnMut(&[u32]) -> Result<Vec<f64>, E>,
) -> Result<Perplexity, PerplexityError<E>> {
    if tokens.len() < 2 {
        return Err(PerplexityError::TooShort { found: tokens.len() });
    }
    let mut window_nll = Vec::new();
    let (mut sum, mut count) = (0.0, 0_usize);
    for Window { tokens: Range { start, end }, scored } in windows.over(tokens.len()) {
        let losses = nll(&tokens[start..end]).map_err(PerplexityError::Model)?;
        let expected = end - start - 1;
        if losses.len() != expected {
            return Err(PerplexityError::Losses { found: losses.len(), expected, start, end });
        }
        let losses = &losses[scored.start - start - 1..];
        if let Some(at) = losses.iter().position(|loss| !loss.is_finite()) {
            return Err(PerplexityError::NotFinite { token: scored.start + at, value: losses[at] });
        }
        let window_sum = losses.iter().sum::<f64>();
        window_nll.push(window_sum / losses.len().to_f64());
        sum += window_sum;
        count += losses.len();
    }
    let mean_nll = sum / count.to_f64();
    let perplexity = mean_nll.exp();
    if !perplexity.is_finite() {
        return Err(PerplexityError::TooLarge { mean_nll });
    }
    Ok(Perplexity { perplexity, mean_nll, tokens: count, windows, window_nll })
}

#[cfg(test)]
mod tests {
    use super::{PerplexityError, Windows, WindowsError, perplexity};
    use proptest::prelude::*;

    type Error = PerplexityError<&'static str>;

    fn windows(length: usize, stride: usize) -> Windows {
        Windows::new(length, stride).unwrap()
    }

    proptest! {
        /// Every token but the first is scored once, given at least `length - stride` tokens. Without overlap, the
        /// first token of each window is not scored.
        #[test]
        fn tokens_are_scored_once(length in 2_usize..20, stride in 1_usize..20, tokens in 2_usize..100) {
            prop_assume!(stride <= length);
            let mut times = vec![0; tokens];
            for window in windows(length, stride).over(tokens) {
                prop_assert!(window.tokens.len() <= length);
                for token in window.scored {
                    times[token] += 1;
                    prop_assert!(token - window.tokens.start >= (length - stride).min(token).max(1));
                }
            }
            for (token, times) in times.into_iter().enumerate() {
                let first = token == 0 || (stride == length && token % stride == 0);
                prop_assert_eq!(times, usize::from(!first), "token {}", token);
            }
        }
    }

    #[test]
    fn losses_are_averaged_over_tokens_not_windows() {
        // Tokens 1, 2 and 3 have a loss of 1 each, and token 5 has one of 4.
        let found = perplexity(&[0; 6], windows(4, 4), |window| {
            Ok::<_, &str>(vec![if window.len() == 4 { 1.0 } else { 4.0 }; window.len() - 1])
        })
        .unwrap();
        assert_eq!((found.mean_nll, found.tokens, found.window_nll), (7.0 / 4.0, 4, vec![1.0, 4.0]));
    }

    #[test]
    fn invalid_windows_and_losses_are_refused() {
        assert!(matches!(Windows::new(1, 1), Err(WindowsError { length: 1, .. })));
        assert!(matches!(Windows::new(8, 0), Err(WindowsError { stride: 0, .. })));
        assert!(matches!(Windows::new(8, 9), Err(WindowsError { stride: 9, .. })));
        assert!(serde_json::from_str::<Windows>(r#"{"length":8,"stride":0}"#).is_err());
        let eight = windows(8, 8);
        let with =
            |tokens: &[u32], losses: Result<Vec<f64>, &'static str>| perplexity(tokens, eight, |_| losses.clone());
        assert_eq!(with(&[], Ok(vec![])), Err(Error::TooShort { found: 0 }));
        assert_eq!(with(&[1], Ok(vec![])), Err(Error::TooShort { found: 1 }));
        assert_eq!(with(&[1, 2], Err("no")), Err(Error::Model("no")));
        assert!(matches!(with(&[1, 2], Ok(vec![])), Err(Error::Losses { found: 0, expected: 1, .. })));
        assert!(matches!(with(&[1, 2, 3], Ok(vec![0.0, f64::NAN])), Err(Error::NotFinite { token: 2, .. })));
        assert!(matches!(with(&[1, 2], Ok(vec![800.0])), Err(Error::TooLarge { .. })));
    }
}
