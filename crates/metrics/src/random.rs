//! Random generators and seeds that are independent of each other, derived from one seed.
//!
//! Adding a number to a seed ties runs to each other: draw `i` of one seed is draw `i - 1` of the next. Using one seed
//! for two kinds of draws ties these. So each draw names its seed, its purpose and its indices, and [`at`] turns them
//! into a generator that no other seed, purpose or index has. [`derive()`] turns them into a seed, for functions that take
//! one.
//!
//! A purpose is eight bytes, one for each kind of draw. Those of dynlayer are in small letters, so begin yours with a
//! capital.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The random generator of a seed for one purpose and three indices, such as a sequence, a position and a layer. An
/// index that is not needed is 0.
///
/// The key of the `ChaCha` stream is the 32 bytes `seed | first index | second index | purpose`, little-endian, and the
/// third index is its 64-bit stream number. Nothing is hashed, so two generators are equal only if all arguments are.
///
/// ```
/// use dynlayer_metrics::random;
/// use rand::Rng;
///
/// let draw = |seed, item| random::at(*b"Shuffles", seed, [item, 0, 0]).random::<u64>();
/// assert_eq!(draw(7, 1), draw(7, 1));
/// assert_ne!(draw(7, 1), draw(8, 0));
/// ```
pub fn at(purpose: [u8; 8], seed: u64, indices: [u64; 3]) -> ChaCha8Rng {
    let [first, second, third] = indices;
    let parts = [seed.to_le_bytes(), first.to_le_bytes(), second.to_le_bytes(), purpose];
    let mut key = [0u8; 32];
    for (place, part) in key.chunks_exact_mut(8).zip(parts) {
        place.copy_from_slice(&part);
    }
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(third);
    rng
}

/// The seed for one purpose and three indices, for a function that takes a seed: the first number of the generator
/// [`at`] the same place. Two places have equal seeds only by chance, once in 2^64.
///
/// ```
/// use dynlayer_metrics::random;
/// use dynlayer_metrics::statistics::Bootstrap;
///
/// // One bootstrap for each of three tables; seed 8 shares none of them.
/// let bootstraps = [0, 1, 2].map(|table| Bootstrap::new(random::derive(*b"ByTable.", 7, [table, 0, 0])));
/// assert_ne!(bootstraps[0], bootstraps[1]);
/// ```
pub fn derive(purpose: [u8; 8], seed: u64, indices: [u64; 3]) -> u64 {
    at(purpose, seed, indices).random()
}

/// Declares the purposes of a crate as constants, and `PURPOSES`, the list of all of them, for the test that looks for
/// equal ones.
///
/// Public only for the other crates of the workspace; not part of the stable interface.
#[doc(hidden)]
#[macro_export]
macro_rules! purposes {
    ($($(#[$about:meta])* $visible:vis $name:ident = $bytes:literal;)+) => {
        $($(#[$about])* $visible const $name: [u8; 8] = *$bytes;)+

        /// All purposes of this crate's random draws.
        #[doc(hidden)]
        pub const PURPOSES: &[[u8; 8]] = &[$($name),+];
    };
}

purposes! {
    /// The items of a bootstrap's resamples; the index is the number of items.
    pub(crate) RESAMPLES = b"resample";
    /// The order in which items are dealt to folds; the indices are the numbers of items and of folds.
    pub(crate) FOLDS = b"crossfit";
    /// The order of the losses that a bet is made on; the index is their number.
    pub(crate) BETS = b"lossbets";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn places_do_not_share_a_generator() {
        let mut seen = HashSet::new();
        for (purpose, seed, indices) in [
            (*b"sampling", 0, [0, 0, 0]),
            (*b"sampling", 1, [0, 0, 0]),
            (*b"sampling", 0, [1, 0, 0]),
            (*b"sampling", 0, [0, 1, 0]),
            (*b"sampling", 0, [0, 0, 1]),
            (*b"bernoull", 0, [0, 0, 0]),
        ] {
            let first: u128 = at(purpose, seed, indices).random();
            assert_eq!(first, at(purpose, seed, indices).random::<u128>());
            assert!(seen.insert(first), "{seed} {indices:?}");
        }
    }

    /// Another layout would change all results of all seeds.
    #[test]
    fn the_layout_is_the_documented_one() {
        let mut key = [0; 32];
        (key[0], key[8], key[16], key[23]) = (1, 2, 3, 4);
        key[24..].copy_from_slice(b"sampling");
        let mut expected = ChaCha8Rng::from_seed(key);
        expected.set_stream(5);
        assert_eq!(at(*b"sampling", 1, [2, 3 | (4 << 56), 5]), expected);
        assert_eq!(derive(*b"sampling", 1, [2, 3 | (4 << 56), 5]), expected.random::<u64>());
    }
}
