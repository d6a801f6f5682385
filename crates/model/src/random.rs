//! The derivation of random generators, the same as in `dynlayer_metrics::random`, which this crate does not depend on.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The weights of a model.
pub(crate) const WEIGHTS: [u8; 8] = *b"weights\0";
/// The first factors of an adapter.
pub(crate) const ADAPTER: [u8; 8] = *b"adapters";

/// The generator of a seed for one purpose. No other draw from an equal seed shares it.
pub(crate) fn generator(purpose: [u8; 8], seed: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[24..].copy_from_slice(&purpose);
    ChaCha8Rng::from_seed(key)
}
