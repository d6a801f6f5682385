//! What the embedded model was trained to do.

use rand::Rng;
use rand::seq::SliceRandom;
use std::fmt;
use std::str::FromStr;

/// Letters that tables and strings are made of.
const LETTERS: [char; 10] = ['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J'];
/// Letters of a lookup table.
const TABLE: usize = 8;

/// A kind of problem with an answer that a program can check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Task {
    /// Eight digits in ascending order: `sort 52938174=` has `12345789`.
    Sort,
    /// Eight letters again: `copy DBACJFIA=` has `DBACJFIA`.
    Copy,
    /// Eight letters from the last to the first: `reverse DBACJFIA=` has `AIFJCABD`.
    Reverse,
    /// How often A, B and C occur among ten: `count ABBCABCCAB=` has `343`.
    Count,
    /// The sum of two numbers of three digits, with four digits: `add 357+468=` has `0825`.
    Add,
    /// One step in a table: `follow AD DB BG GA CF FE EH HC,B1=` has `G`.
    Follow1,
    /// Two steps in a table: `follow AD DB BG GA CF FE EH HC,B2=` has `A`.
    Follow2,
    /// Three steps in a table.
    Follow3,
    /// Four steps in a table.
    Follow4,
}

impl Task {
    /// All tasks.
    pub const ALL: [Self; 9] = [
        Self::Sort,
        Self::Copy,
        Self::Reverse,
        Self::Count,
        Self::Add,
        Self::Follow1,
        Self::Follow2,
        Self::Follow3,
        Self::Follow4,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sort => "sort",
            Self::Copy => "copy",
            Self::Reverse => "reverse",
            Self::Count => "count",
            Self::Add => "add",
            Self::Follow1 => "follow-1",
            Self::Follow2 => "follow-2",
            Self::Follow3 => "follow-3",
            Self::Follow4 => "follow-4",
        }
    }

    /// A random prompt and its answer, without any regard to what is held out.
    pub(super) fn draw(self, rng: &mut impl Rng) -> (String, String) {
        match self {
            Self::Sort => {
                let mut digits: Vec<u8> = (0..8).map(|_| rng.random_range(b'0'..=b'9')).collect();
                let given = text(&digits);
                digits.sort_unstable();
                (format!("sort {given}="), text(&digits))
            }
            Self::Copy => {
                let letters = letters(8, LETTERS.len(), rng);
                (format!("copy {letters}="), letters)
            }
            Self::Reverse => {
                let letters = letters(8, LETTERS.len(), rng);
                let reversed = letters.chars().rev().collect();
                (format!("reverse {letters}="), reversed)
            }
            Self::Count => {
                // At most nine of each, so that a count is a digit.
                let letters = loop {
                    let letters = letters(10, 3, rng);
                    if counts(&letters).iter().all(|n| *n < 10) {
                        break letters;
                    }
                };
                let answer = counts(&letters).iter().map(ToString::to_string).collect();
                (format!("count {letters}="), answer)
            }
            Self::Add => {
                let (a, b) = (rng.random_range(0..1000), rng.random_range(0..1000));
                (format!("add {a:03}+{b:03}="), format!("{:04}", a + b))
            }
            Self::Follow1 => follow(1, rng),
            Self::Follow2 => follow(2, rng),
            Self::Follow3 => follow(3, rng),
            Self::Follow4 => follow(4, rng),
        }
    }
}

/// A table that leads once around its letters, in random order, and where some steps from a letter lead.
fn follow(steps: usize, rng: &mut impl Rng) -> (String, String) {
    let mut circle = LETTERS[..TABLE].to_vec();
    circle.shuffle(rng);
    let mut pairs: Vec<String> = (0..TABLE).map(|i| format!("{}{}", circle[i], circle[(i + 1) % TABLE])).collect();
    pairs.shuffle(rng);
    let start = rng.random_range(0..TABLE);
    let prompt = format!("follow {},{}{steps}=", pairs.join(" "), circle[start]);
    (prompt, circle[(start + steps) % TABLE].to_string())
}

fn letters(n: usize, of: usize, rng: &mut impl Rng) -> String {
    (0..n).map(|_| LETTERS[rng.random_range(0..of)]).collect()
}

fn counts(letters: &str) -> [usize; 3] {
    ['A', 'B', 'C'].map(|letter| letters.matches(letter).count())
}

fn text(ascii: &[u8]) -> String {
    ascii.iter().map(|byte| char::from(*byte)).collect()
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|task| task.name() == text).ok_or_else(|| format!("{text:?} is none of {}", known()))
    }
}
