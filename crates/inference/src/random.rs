//! Random generators whose seed depends only on the place where their numbers are used.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Makes the random generator for one purpose at one place, which is a sequence, a position and a stream (usually a
/// layer).
///
/// The key of the `ChaCha` stream is the 32 bytes `seed | sequence | position | purpose`, little-endian, and `stream`
/// is its 64-bit stream number. Nothing is hashed, so different places never share a generator. The batch and the order
/// of calls have no influence, so a row draws the same numbers alone and in a batch.
pub(crate) fn at(purpose: [u8; 8], seed: u64, sequence: u64, position: u64, stream: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&sequence.to_le_bytes());
    key[16..24].copy_from_slice(&position.to_le_bytes());
    key[24..].copy_from_slice(&purpose);
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(stream);
    rng
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use std::collections::HashSet;

    #[test]
    fn places_do_not_share_a_generator() {
        let mut seen = HashSet::new();
        for (purpose, seed, sequence, position, stream) in [
            (*b"sampling", 0, 0, 0, 0),
            (*b"sampling", 1, 0, 0, 0),
            (*b"sampling", 0, 1, 0, 0),
            (*b"sampling", 0, 0, 1, 0),
            (*b"sampling", 0, 0, 0, 1),
            (*b"bernoull", 0, 0, 0, 0),
        ] {
            let first: u64 = at(purpose, seed, sequence, position, stream).random();
            assert_eq!(first, at(purpose, seed, sequence, position, stream).random::<u64>());
            assert!(seen.insert(first));
        }
    }
}
