//! Digests: short values that tell contents apart.

use crate::matrix::Blocks;
use crate::parameters::{VisitParameters, visit};
use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest of contents, which have the same digest only if they are the same.
///
/// As text and in JSON it is 64 hexadecimal digits.
///
/// ```
/// use dynlayer_model::Digest;
///
/// let digest = Digest::of(["a prompt", "its reference"]);
/// assert_ne!(digest, Digest::of(["a prompt its", "reference"]), "parts are kept apart");
/// assert_eq!(digest.to_string().parse(), Ok(digest));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of a list of parts. Each part counts with its length (eight bytes, the lowest first, before
    /// its content), so lists that are cut differently have different digests.
    pub fn of<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            let part = part.as_ref();
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// Returns the digest of a list of texts as token ids: a part per text, of four bytes per id, the lowest first.
    pub fn of_tokens<'t>(texts: impl IntoIterator<Item = &'t [u32]>) -> Self {
        Self::of(texts.into_iter().map(|ids| ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>()))
    }

    /// Returns the digest of a module's weights: the name, element type, shape and bytes of every floating-point
    /// parameter and of every quantised matrix, as stored on its device. Tensors are read one at a time.
    ///
    /// # Errors
    /// If a tensor cannot be read from its device.
    pub fn of_weights(module: &impl Module) -> Result<Self, DeviceReadError> {
        let mut weights = Weights(Vec::new());
        visit(module, &mut weights)?;
        Ok(Self::of(weights.0))
    }
}

/// A visitor that collects a digest per parameter.
struct Weights(Vec<Digest>);

impl Weights {
    /// Adds a parameter: its place, its element type and shape, and what was read from the device.
    fn add<E: fmt::Debug>(
        &mut self,
        path: &[String],
        kind: &str,
        data: Result<TensorData, E>,
    ) -> Result<(), DeviceReadError> {
        let what = path.join(".");
        match data {
            Ok(data) => self.0.push(Digest::of([what.as_bytes(), kind.as_bytes(), data.as_bytes()])),
            Err(error) => return Err(DeviceReadError { what, reason: format!("{error:?}") }),
        }
        Ok(())
    }
}

impl VisitParameters for Weights {
    type Error = DeviceReadError;

    fn parameter<const D: usize>(&mut self, path: &[String], tensor: Tensor<D>) -> Result<(), DeviceReadError> {
        let kind = format!("{:?} {:?}", tensor.dtype(), tensor.dims());
        self.add(path, &kind, tensor.try_into_data())
    }

    fn blocks(&mut self, path: &[String], blocks: &Blocks) -> Result<(), DeviceReadError> {
        let kind = format!("{} {:?}", blocks.ty(), blocks.dims());
        self.add(path, &kind, blocks.bytes().try_into_data())
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let digits = text.chars().take(65).map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
        let digits = digits.collect::<Option<Vec<u8>>>().unwrap_or_default();
        match digits.as_chunks::<2>() {
            (pairs, []) if pairs.len() == 32 => Ok(Self(std::array::from_fn(|i| (pairs[i][0] << 4) | pairs[i][1]))),
            _ => Err(DigestError { found: text.chars().take(65).collect() }),
        }
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The error for a text that is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}; expected a digest, which has 64 hexadecimal digits")]
pub struct DigestError {
    /// The text, or its beginning if it is longer than a digest.
    pub found: String,
}

/// The error for a tensor that cannot be read from its device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading {what} from the device failed: {reason}")]
pub struct DeviceReadError {
    /// A description of the tensor.
    pub what: String,
    /// The device's reason.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;
    use std::collections::HashSet;

    #[test]
    fn parts_are_kept_apart() {
        // SHA-256 of 3 and 0 as eight bytes each, the 3 followed by "abc", by another implementation.
        let expected = "3e2f8940c3a0e0fd6f6e07bbf07f015dd7c147431e5fa14bf3f225d782641540";
        assert_eq!(Digest::of(["abc", ""]).to_string(), expected);
        let lists: [&[&str]; 6] = [&[], &[""], &["abc"], &["abc", ""], &["ab", "c"], &["", "abc"]];
        let digests: HashSet<Digest> = lists.iter().map(|parts| Digest::of(*parts)).collect();
        assert_eq!(digests.len(), lists.len());
        assert_ne!(Digest::of_tokens([&[1, 2][..], &[3]]), Digest::of_tokens([&[1][..], &[2, 3]]));
    }

    #[test]
    fn text_and_json_come_back() {
        let digest = Digest::of(["x"]);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("\"{digest}\""));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert_eq!(digest.to_string().to_uppercase().parse(), Ok(digest));
        let text = digest.to_string();
        for wrong in ["", "12", &text[1..], &format!("{text}0"), &format!("{}g", &text[1..]), &"ä".repeat(32)] {
            let error = wrong.parse::<Digest>().unwrap_err();
            assert_eq!(error, DigestError { found: wrong.to_owned() });
        }
        assert!("0".repeat(1_000_000).parse::<Digest>().unwrap_err().to_string().len() < 200);
    }

    #[cfg(feature = "flex")]
    #[test]
    fn every_weight_counts() {
        use crate::WeightDtype;
        use crate::config::LlamaConfig;
        use crate::matrix::Matrix;
        use burn::tensor::Device;

        let json = r#"{"model_type": "llama", "vocab_size": 20, "hidden_size": 8, "intermediate_size": 12,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}"#;
        let config = LlamaConfig::from_hf_json(json, "a test").unwrap();
        let model = |dtype| config.init(1, dtype, &Device::flex()).unwrap();
        let first = model(WeightDtype::F32);
        assert_eq!(first.weights_digest(), model(WeightDtype::F32).weights_digest());
        let n = first.layers().len();
        let mut digests = HashSet::from([first.weights_digest().unwrap()]);
        let mut add = |model: crate::Llama| assert!(digests.insert(model.weights_digest().unwrap()));
        add(model(WeightDtype::F16));
        add(config.init(2, WeightDtype::F32, &Device::flex()).unwrap());
        let negated = |weight: &Matrix| Matrix::from(Param::from_tensor(weight.tensor().mul_scalar(-1.0)));
        for layer in 0..n {
            let mut changed = first.clone();
            let q_proj = &mut changed.layers[layer].self_attn.q_proj;
            q_proj.weight = negated(&q_proj.weight);
            add(changed);
            let mut changed = first.clone();
            let norm = &mut changed.layers[layer].input_layernorm;
            norm.weight = Param::from_tensor(norm.weight.val() * 1.001).into();
            add(changed);
        }
        let mut changed = first.clone();
        changed.layers.swap(0, 1);
        add(changed);
    }
}
