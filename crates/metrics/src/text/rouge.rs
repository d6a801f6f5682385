//! ROUGE.

use super::lcs::Candidate;
use super::summary_lcs;
use super::vocabulary::Vocabulary;
use super::{Score, TextError, ngrams, tokenize};
use crate::numbers::ToF64;
use serde::{Deserialize, Serialize};

/// ROUGE as Google's rouge-score 0.1.2 computes it, with its default tokenizer (Lin 2004, "ROUGE: a package for
/// automatic evaluation of summaries").
///
/// - ROUGE-1, ROUGE-2: n-grams in common, clipped to the smaller count (section 2).
/// - ROUGE-L: the longest common subsequence of the whole texts, with newlines as spaces (section 3.1). Memory is
///   linear in the numbers of tokens, and time is proportional to their product divided by 64.
/// - ROUGE-Lsum: per sentence of the reference, the union of its longest common subsequences with all sentences of the
///   prediction (section 3.2); sentences are lines. Among several longest subsequences, the one that
///   rouge-score's backtracking finds is used. For long lines of n and m tokens this takes about √n·m/4 bytes.
///
/// Texts are lower-cased and split at all characters except a-z and 0-9. Text in other scripts has no tokens, and a
/// text without tokens scores 0. If no reference has a token, every score is 0 and says nothing: [`tokenize`] tells.
///
/// [`tokenize`]: Self::tokenize
///
/// ```
/// use dynlayer_metrics::text::Rouge;
///
/// let rouge = Rouge::stemmed();
/// let scores = rouge.score("the cat sat on the mat", "The cats sat there.");
/// assert_eq!(scores.rouge1.precision, 0.75);
/// assert_eq!(scores.rouge1.recall, 0.5);
///
/// // Several references: the best for each variant, or the mean.
/// let references = ["the cat sat on the mat", "cats sat there"];
/// assert_eq!(rouge.score_best(&references, "The cats sat there.")?.rouge_l.recall, 1.0);
/// # Ok::<(), dynlayer_metrics::text::TextError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rouge {
    /// If true, words of more than three characters are reduced to their stems, by Porter's algorithm with NLTK's
    /// extensions.
    pub stem: bool,
}

/// A variant of ROUGE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RougeVariant {
    /// Shared words.
    Rouge1,
    /// Shared pairs of neighbouring words.
    Rouge2,
    /// The longest common subsequence of whole texts.
    RougeL,
    /// Unions of longest common subsequences of lines.
    RougeLsum,
}

impl RougeVariant {
    /// All variants.
    pub const ALL: [Self; 4] = [Self::Rouge1, Self::Rouge2, Self::RougeL, Self::RougeLsum];

    /// The variant's name in rouge-score.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rouge1 => "rouge1",
            Self::Rouge2 => "rouge2",
            Self::RougeL => "rougeL",
            Self::RougeLsum => "rougeLsum",
        }
    }
}

/// The scores of all variants, serialised under rouge-score's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RougeScores {
    /// Shared words.
    pub rouge1: Score,
    /// Shared pairs of neighbouring words.
    pub rouge2: Score,
    /// The longest common subsequence of whole texts.
    #[serde(rename = "rougeL")]
    pub rouge_l: Score,
    /// Unions of longest common subsequences of lines.
    #[serde(rename = "rougeLsum")]
    pub rouge_lsum: Score,
}

impl RougeScores {
    /// One variant's score.
    pub fn get(&self, variant: RougeVariant) -> Score {
        match variant {
            RougeVariant::Rouge1 => self.rouge1,
            RougeVariant::Rouge2 => self.rouge2,
            RougeVariant::RougeL => self.rouge_l,
            RougeVariant::RougeLsum => self.rouge_lsum,
        }
    }

    fn from_fn(mut score: impl FnMut(RougeVariant) -> Score) -> Self {
        Self {
            rouge1: score(RougeVariant::Rouge1),
            rouge2: score(RougeVariant::Rouge2),
            rouge_l: score(RougeVariant::RougeL),
            rouge_lsum: score(RougeVariant::RougeLsum),
        }
    }
}

impl Rouge {
    /// ROUGE of unstemmed words.
    pub fn plain() -> Self {
        Self { stem: false }
    }

    /// ROUGE of stems.
    pub fn stemmed() -> Self {
        Self { stem: true }
    }

    /// The tokens of a text; none if it has no letter a-z and no digit 0-9, like a text in Chinese.
    ///
    /// ```
    /// use dynlayer_metrics::text::Rouge;
    ///
    /// let references = ["今天下雨", "他说不"];
    /// let blind = references.iter().all(|reference| Rouge::plain().tokenize(reference).is_empty());
    /// assert!(blind, "ROUGE scores 0 whatever the predictions are");
    /// ```
    pub fn tokenize(self, text: &str) -> Vec<String> {
        tokenize::tokenize(text, self.stem)
    }

    /// Scores a prediction against one reference, with all variants.
    pub fn score(self, reference: &str, prediction: &str) -> RougeScores {
        let mut vocabulary = Vocabulary::default();
        let reference_tokens = vocabulary.tokens(reference, self.stem);
        let prediction_tokens = vocabulary.tokens(prediction, self.stem);
        RougeScores::from_fn(|variant| match variant {
            RougeVariant::Rouge1 => n_gram_score(&reference_tokens, &prediction_tokens, 1),
            RougeVariant::Rouge2 => n_gram_score(&reference_tokens, &prediction_tokens, 2),
            RougeVariant::RougeL => lcs_score(&reference_tokens, &prediction_tokens, vocabulary.len()),
            RougeVariant::RougeLsum => summary_lcs::score(reference, prediction, self.stem),
        })
    }

    /// Scores a prediction against one reference, with one variant.
    pub fn score_variant(self, variant: RougeVariant, reference: &str, prediction: &str) -> Score {
        if variant == RougeVariant::RougeLsum {
            return summary_lcs::score(reference, prediction, self.stem);
        }
        let mut vocabulary = Vocabulary::default();
        let reference = vocabulary.tokens(reference, self.stem);
        let prediction = vocabulary.tokens(prediction, self.stem);
        match variant {
            RougeVariant::Rouge1 => n_gram_score(&reference, &prediction, 1),
            RougeVariant::Rouge2 => n_gram_score(&reference, &prediction, 2),
            _ => lcs_score(&reference, &prediction, vocabulary.len()),
        }
    }

    /// Returns, for each variant, the score against the reference with the highest F1 (the first one on a tie), as
    /// rouge-score's `score_multi` does.
    ///
    /// # Errors
    ///
    /// [`TextError::NoReference`] if there are no references.
    pub fn score_best(self, references: &[impl AsRef<str>], prediction: &str) -> Result<RougeScores, TextError> {
        let scores = self.score_each(references, prediction)?;
        Ok(RougeScores::from_fn(|variant| {
            scores
                .iter()
                .map(|score| score.get(variant))
                .reduce(|best, s| if s.f1 > best.f1 { s } else { best })
                .unwrap_or_default()
        }))
    }

    /// Returns, for each variant, the means of precision, recall and F1 over the references.
    ///
    /// # Errors
    ///
    /// [`TextError::NoReference`] if there are no references.
    pub fn score_mean(self, references: &[impl AsRef<str>], prediction: &str) -> Result<RougeScores, TextError> {
        let scores = self.score_each(references, prediction)?;
        Ok(RougeScores::from_fn(|variant| {
            let mean = |part: fn(&Score) -> f64| {
                scores.iter().map(|score| part(&score.get(variant))).sum::<f64>() / scores.len().to_f64()
            };
            Score { precision: mean(|s| s.precision), recall: mean(|s| s.recall), f1: mean(|s| s.f1) }
        }))
    }

    fn score_each(self, references: &[impl AsRef<str>], prediction: &str) -> Result<Vec<RougeScores>, TextError> {
        if references.is_empty() {
            return Err(TextError::NoReference);
        }
        Ok(references.iter().map(|reference| self.score(reference.as_ref(), prediction)).collect())
    }
}

fn n_gram_score(reference: &[u32], prediction: &[u32], n: usize) -> Score {
    let hits = ngrams::overlap(reference, prediction, n);
    Score::from_counts(hits, ngrams::count(prediction.len(), n), ngrams::count(reference.len(), n))
}

fn lcs_score(reference: &[u32], prediction: &[u32], vocabulary: usize) -> Score {
    let hits = Candidate::new(prediction, vocabulary).lcs_length(reference);
    Score::from_counts(hits, prediction.len(), reference.len())
}
