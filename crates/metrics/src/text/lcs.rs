//! Longest common subsequences, computed 64 cells of the table at a time.
//!
//! Let t(i, j) be the length for the first i tokens of the reference and the first j of the candidate. The differences
//! t(i, j) - t(i, j - 1) in a row of the table are 0 or 1, so a row is stored as a bit vector, and the next row is
//! computed from it by an addition (Crochemore, Iliopoulos, Pinzon and Reid 2001, "A fast and practical bit-vector
//! algorithm for the longest common subsequence problem"; the form of Hyyrö 2004, "Bit-parallel LCS-length computation
//! revisited", figure 4).

/// A candidate text with an index of its tokens, to be compared with references.
pub(super) struct Candidate<'a> {
    tokens: &'a [u32],
    /// Token t occurs at `positions[starts[t]..starts[t + 1]]`.
    starts: Vec<usize>,
    positions: Vec<usize>,
}

impl<'a> Candidate<'a> {
    /// Indexes a candidate. Its tokens, and those of the references, are below `vocabulary`.
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

    /// Marks in `found` the tokens of the reference that are in the longest common subsequence.
    ///
    /// Among several subsequences of equal length, this is the one that `_backtrack_norec` of rouge-score 0.1.2 finds.
    /// It steps back from the ends of both texts: in both at a match, otherwise in the candidate if
    /// t(i, j - 1) > t(i - 1, j), otherwise in the reference.
    pub fn mark_lcs(&self, reference: &[u32], found: &mut [bool]) {
        let whole = reference.len() * self.tokens.len().div_ceil(64) <= WHOLE_TABLE;
        self.mark_lcs_by(if whole { reference.len() } else { reference.len().isqrt() }, reference, found);
    }

    /// Like [`Self::mark_lcs`], with blocks of a given height, which does not change the result.
    fn mark_lcs_by(&self, height: usize, reference: &[u32], found: &mut [bool]) {
        let mut table = Table::new(self, reference, height.max(1));
        let (mut i, mut j) = (reference.len(), self.tokens.len());
        if i == 0 || j == 0 {
            return;
        }
        table.reach(i);
        let (mut here, mut above) = (clear_bits(table.row(i), j), clear_bits(table.row(i - 1), j));
        loop {
            let left = here - step(table.row(i), j - 1);
            let above_left = above - step(table.row(i - 1), j - 1);
            if reference[i - 1] == self.tokens[j - 1] {
                found[i - 1] = true;
                (i, j, here) = (i - 1, j - 1, above_left);
            } else if left > above {
                (j, here, above) = (j - 1, left, above_left);
                if j == 0 {
                    return;
                }
                continue;
            } else {
                (i, here) = (i - 1, above);
            }
            if i == 0 || j == 0 {
                return;
            }
            table.reach(i);
            above = clear_bits(table.row(i - 1), j);
        }
    }
}

/// Number of 64-bit words up to which the whole table is kept: 512 KB.
const WHOLE_TABLE: usize = 1 << 16;

/// The table, one bit per cell, read from its last row to its first. Its rows are divided into blocks. The first row of
/// every block is kept; the other rows are kept for one block at a time, and computed again for each block. With blocks
/// of √n rows this takes memory for about 2·√n of the n rows, and every row is computed twice.
struct Table<'a> {
    candidate: &'a Candidate<'a>,
    reference: &'a [u32],
    /// Rows per block.
    height: usize,
    /// Words per row.
    width: usize,
    /// The first row of every block.
    firsts: Vec<u64>,
    /// The rows of one block, and the first row of the next.
    block: Vec<u64>,
    /// The index of the block's first row.
    start: usize,
}

impl<'a> Table<'a> {
    /// Makes a table, and computes its last block.
    fn new(candidate: &'a Candidate<'a>, reference: &'a [u32], height: usize) -> Self {
        let mut row = Row::new(candidate.tokens.len());
        let width = row.words.len();
        let last = reference.len().saturating_sub(1) / height * height;
        let mut firsts = Vec::with_capacity((last / height + 1) * width);
        for (i, &token) in reference[..last].iter().enumerate() {
            if i.is_multiple_of(height) {
                firsts.extend_from_slice(&row.words);
            }
            row.advance(candidate.positions(token));
        }
        firsts.extend_from_slice(&row.words);
        let mut table = Self { candidate, reference, height, width, firsts, block: Vec::new(), start: last };
        table.fill(row);
        table
    }

    /// Computes the block with rows `i` and `i - 1`, unless it is the current one. `i` is at least 1.
    fn reach(&mut self, i: usize) {
        if i > self.start {
            return;
        }
        let block = (i - 1) / self.height;
        self.start = block * self.height;
        let mut row = Row::new(self.candidate.tokens.len());
        row.words.copy_from_slice(&self.firsts[block * self.width..(block + 1) * self.width]);
        self.fill(row);
    }

    /// Computes the block that begins with a row.
    fn fill(&mut self, mut row: Row) {
        self.block.clear();
        self.block.extend_from_slice(&row.words);
        let end = (self.start + self.height).min(self.reference.len());
        for &token in &self.reference[self.start..end] {
            row.advance(self.candidate.positions(token));
            self.block.extend_from_slice(&row.words);
        }
    }

    /// Row i, which the last call of [`Self::reach`] has computed.
    fn row(&self, i: usize) -> &[u64] {
        &self.block[(i - self.start) * self.width..(i - self.start + 1) * self.width]
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

    /// Advances to the next row, whose reference token occurs at these positions of the candidate.
    fn advance(&mut self, positions: &[usize]) {
        // Without a match the row does not change.
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

/// Number of clear bits among the first `n` of a row: t(i, n).
fn clear_bits(row: &[u64], n: usize) -> usize {
    let whole: usize = row[..n / 64].iter().map(|word| word.count_zeros() as usize).sum();
    let rest = if n.is_multiple_of(64) { 0 } else { (!row[n / 64] & ((1 << (n % 64)) - 1)).count_ones() as usize };
    whole + rest
}

/// 1 if bit `j` of a row is clear, else 0: t(i, j + 1) - t(i, j).
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

        /// The texts may have more than 64 and more than 128 columns, so that carries cross words.
        #[test]
        fn bits_equal_the_table(
            reference in prop::collection::vec(0_u32..6, 0..150),
            candidate in prop::collection::vec(0_u32..6, 0..200),
            height in 1_usize..160,
        ) {
            let table = table(&reference, &candidate);
            let compared = Candidate::new(&candidate, 6);
            prop_assert_eq!(compared.lcs_length(&reference), table[reference.len()][candidate.len()]);
            let mut found = vec![false; reference.len()];
            compared.mark_lcs(&reference, &mut found);
            let expected = backtrack(&table, &reference, &candidate);
            prop_assert_eq!(&found, &expected);
            // The height of the blocks, down to one row, does not change the result.
            found.fill(false);
            compared.mark_lcs_by(height, &reference, &mut found);
            prop_assert_eq!(&found, &expected);
        }
    }
}
