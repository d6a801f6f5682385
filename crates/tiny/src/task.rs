//! The tasks of the embedded model.

use rand::Rng;
use rand::seq::SliceRandom;
use std::fmt;
use std::str::FromStr;

/// The letters of prompts.
const LETTERS: [char; 10] = ['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J'];
/// The number of places in a lookup table.
const TABLE: usize = 8;

/// A kind of problem with an answer that a program can check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Task {
    /// Eight digits in ascending order: the answer to `sort 52938174=` is `12345789`.
    Sort,
    /// The same eight letters: the answer to `copy DBACJFIA=` is `DBACJFIA`.
    Copy,
    /// Eight letters from the last to the first: the answer to `reverse DBACJFIA=` is `AIFJCABD`.
    Reverse,
    /// The number of As, Bs and Cs among eight letters: the answer to `count ABBCABCC=` is `233`.
    Count,
    /// The sum of two numbers of three digits, with four digits: the answer to `add 357+468=` is `0825`.
    Add,
    /// One step in a table of eight places, counted from 0: the answer to `follow 35071642,3+1=` is `7`.
    Follow1,
    /// Two steps in a table: the answer to `follow 35071642,3+2=` is `2`, the digit in place 7.
    Follow2,
    /// Three steps in a table: the answer to `follow 35071642,3+3=` is `0`.
    Follow3,
}

impl Task {
    /// All tasks.
    pub const ALL: [Self; 8] =
        [Self::Sort, Self::Copy, Self::Reverse, Self::Count, Self::Add, Self::Follow1, Self::Follow2, Self::Follow3];

    /// Returns the name of the task, such as `follow-1`.
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
        }
    }

    /// Draws a prompt, which may be held out or not, and its answer.
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
                let letters = letters(8, 3, rng);
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
        }
    }
}

/// Draws a table whose steps go through all places in a circle; returns a prompt, and the place after `steps` steps.
fn follow(steps: usize, rng: &mut impl Rng) -> (String, String) {
    let mut circle: Vec<usize> = (0..TABLE).collect();
    circle.shuffle(rng);
    let mut table = [0; TABLE];
    for i in 0..TABLE {
        table[circle[i]] = circle[(i + 1) % TABLE];
    }
    let start = rng.random_range(0..TABLE);
    let digits: String = table.iter().map(ToString::to_string).collect();
    (format!("follow {digits},{}+{steps}=", circle[start]), circle[(start + steps) % TABLE].to_string())
}

fn letters(n: usize, kinds: usize, rng: &mut impl Rng) -> String {
    (0..n).map(|_| LETTERS[rng.random_range(0..kinds)]).collect()
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
        Self::ALL
            .into_iter()
            .find(|task| task.name() == text)
            .ok_or_else(|| format!("unknown task {text:?}; known are {}", known()))
    }
}
