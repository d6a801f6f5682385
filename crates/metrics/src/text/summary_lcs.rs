//! ROUGE-Lsum.

use super::Score;
use super::lcs::Candidate;
use super::vocabulary::Vocabulary;

/// Scores line by line (Lin 2004, section 3.2), as `_summary_level_lcs` of rouge-score 0.1.2 does.
///
/// A token counts at most as often as it occurs in the reference, and at most as often as it occurs in the prediction.
/// This rule is not in the paper, but in ROUGE 1.5.5.
pub(super) fn score(reference: &str, prediction: &str, stem: bool) -> Score {
    let mut vocabulary = Vocabulary::default();
    let mut lines = |text: &str| text.split('\n').map(|line| vocabulary.tokens(line, stem)).collect::<Vec<Vec<u32>>>();
    let (reference, prediction) = (lines(reference), lines(prediction));

    // The prediction's lines are in the outer loop, so that each is indexed once.
    let mut union: Vec<Vec<bool>> = reference.iter().map(|line| vec![false; line.len()]).collect();
    for line in &prediction {
        let candidate = Candidate::new(line, vocabulary.len());
        for (line, union) in reference.iter().zip(&mut union) {
            candidate.mark_lcs(line, union);
        }
    }

    let counts = |text: &[Vec<u32>]| {
        let mut counts = vec![0_usize; vocabulary.len()];
        text.iter().flatten().for_each(|&token| counts[token as usize] += 1);
        counts
    };
    let (mut in_reference, mut in_prediction) = (counts(&reference), counts(&prediction));
    let mut hits = 0;
    for (&token, _) in reference.iter().flatten().zip(union.iter().flatten()).filter(|(_, found)| **found) {
        let left = (&mut in_reference[token as usize], &mut in_prediction[token as usize]);
        if *left.0 > 0 && *left.1 > 0 {
            *left.0 -= 1;
            *left.1 -= 1;
            hits += 1;
        }
    }
    let length = |text: &[Vec<u32>]| text.iter().map(Vec::len).sum::<usize>();
    Score::from_counts(hits, length(&prediction), length(&reference))
}
