//! Longest common subsequences, 64 cells of the table at a time.
//!
//! With t(i, j) the length for the first i tokens of the reference and the first j of the candidate, a row's differences
//! t(i, j) - t(i, j - 1) are 0 or 1. One row of them is a bit vector, and the next one follows by an addition
//! (Crochemore, Iliopoulos, Pinzon and Reid 2001, "A fast and practical bit-vector algorithm for the longest common
//! subsequence problem"; the form of Hyyrö 2004, "Bit-parallel LCS-length computation revisited", figure 4).

/// A candidate, ready to be compared with references.
pub(super) struct Candidate<'a> {
    tokens: &'a [u32],
    /// Token t stands at `positions[starts[t]..starts[t + 1]]`.
    starts: Vec<usize>,
    positions: Vec<usize>,
}

impl<'a> Candidate<'a> {
    /// A candidate whose tokens, and those of the references, are below `vocabulary`.
    pub fn new(tokens: &'a [u32], vocabulary: usize) -> Self {
        let mut starts = vec![0; vocabulary + 1];
        for &token in tokens {
            starts[token as usize + 1] += 1;
        }
        for token in 0..vocabulary {
            starts[token + 1] += starts[token];
        }
        let mut next = starts.clone();
        let mut positions = vec![0; tokens.len()];
        for (position, &token) in tokens.iter().enumerate() {
            positions[next[token as usize]] = position;
            next[token as usize] += 1;
        }
        Self { tokens, starts, positions }
    }

    fn positions(&self, token: u32) -> &[usize] {
        &self.positions[self.starts[token as usize]..self.starts[token as usize + 1]]
    }

    /// The length of the longest common subsequence, in memory linear in both texts.
    pub fn lcs_length(&self, reference: &[u32]) -> usize {
        let mut row = Row::new(self.tokens.len());
        for &token in reference {
            row.advance(self.positions(token));
        }
        clear_bits(&row.words, self.tokens.len())
    }

    /// Marks in `found` which tokens of the reference are in the longest common subsequence that rouge-score reads out.
    ///
    /// Among several of equal length it is the one that `_backtrack_norec` of rouge-score 0.1.2 finds, going back from
    /// the ends of both: past a match in both; else in the candidate if t(i, j - 1) > t(i - 1, j); else in the
    /// reference. The table takes one bit per cell.
    pub fn mark_lcs(&self, reference: &[u32], found: &mut [bool]) {
        let mut current = Row::new(self.tokens.len());
        let width = current.words.len();
        let mut table = current.words.clone();
        for &token in reference {
            current.advance(self.positions(token));
            table.extend_from_slice(&current.words);
        }
        let row = |i: usize| &table[i * width..(i + 1) * width];
        let t = |i: Option<usize>, j: usize| i.map_or(0, |i| clear_bits(row(i), j));

        let (mut i, mut j) = (reference.len(), self.tokens.len());
        let mut here = t(Some(i), j);
        let mut above = t(i.checked_sub(1), j);
        while i > 0 && j > 0 {
            let left = here - step(row(i), j - 1);
            let above_left = above - step(row(i - 1), j - 1);
            if reference[i - 1] == self.tokens[j - 1] {
                found[i - 1] = true;
                (i, j) = (i - 1, j - 1);
                here = above_left;
                above = t(i.checked_sub(1), j);
            } else if left > above {
                j -= 1;
                (here, above) = (left, above_left);
            } else {
                i -= 1;
                here = above;
                above = t(i.checked_sub(1), j);
            }
        }
    }
}

/// One row of the table: bit j is *clear* where t(i, j + 1) - t(i, j) is 1.
struct Row {
    words: Vec<u64>,
    matches: Vec<u64>,
}

impl Row {
    fn new(columns: usize) -> Self {
        let words = columns.div_ceil(64);
        Self { words: vec![u64::MAX; words], matches: vec![0; words] }
    }

    /// Goes to the next row, whose reference token stands at these positions of the candidate.
    fn advance(&mut self, positions: &[usize]) {
        // Without a match the row stays as it is.
        if positions.is_empty() {
            return;
        }
        for &position in positions {
            self.matches[position / 64] |= 1 << (position % 64);
        }
        let mut carry = false;
        for (row, matches) in self.words.iter_mut().zip(&mut self.matches) {
            let common = *row & *matches;
            let (sum, first) = row.overflowing_add(common);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            carry = first || second;
            *row = sum | (*row & !*matches);
            *matches = 0;
        }
    }
}

/// How many of the first `n` bits of a row are clear: t(i, n).
fn clear_bits(row: &[u64], n: usize) -> usize {
    let whole: usize = row[..n / 64].iter().map(|word| word.count_zeros() as usize).sum();
    let rest = if n.is_multiple_of(64) { 0 } else { (!row[n / 64] & ((1 << (n % 64)) - 1)).count_ones() as usize };
    whole + rest
}

/// Whether bit `j` of a row is clear: t(i, j + 1) - t(i, j).
fn step(row: &[u64], j: usize) -> usize {
    usize::from((row[j / 64] >> (j % 64)) & 1 == 0)
}

#[cfg(test)]
mod tests {
    use super::Candidate;
    use proptest::prelude::*;

    /// rouge-score's `_lcs_table`.
    fn table(reference: &[u32], candidate: &[u32]) -> Vec<Vec<usize>> {
        let mut table = vec![vec![0; candidate.len() + 1]; reference.len() + 1];
        for (i, r) in reference.iter().enumerate() {
            for (j, c) in candidate.iter().enumerate() {
                table[i + 1][j + 1] = if r == c { table[i][j] + 1 } else { table[i][j + 1].max(table[i + 1][j]) };
            }
        }
        table
    }

    /// rouge-score's `_backtrack_norec`.
    fn backtrack(table: &[Vec<usize>], reference: &[u32], candidate: &[u32]) -> Vec<bool> {
        let mut found = vec![false; reference.len()];
        let (mut i, mut j) = (reference.len(), candidate.len());
        while i > 0 && j > 0 {
            if reference[i - 1] == candidate[j - 1] {
                found[i - 1] = true;
                i -= 1;
                j -= 1;
            } else if table[i][j - 1] > table[i - 1][j] {
                j -= 1;
            } else {
                i -= 1;
            }
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// More than 64 and more than 128 columns, so that carries cross words.
        #[test]
        fn bits_equal_the_table(
            reference in prop::collection::vec(0_u32..6, 0..150),
            candidate in prop::collection::vec(0_u32..6, 0..200),
        ) {
            let table = table(&reference, &candidate);
            let compared = Candidate::new(&candidate, 6);
            prop_assert_eq!(compared.lcs_length(&reference), table[reference.len()][candidate.len()]);
            let mut found = vec![false; reference.len()];
            compared.mark_lcs(&reference, &mut found);
            prop_assert_eq!(found, backtrack(&table, &reference, &candidate));
        }
    }
}
