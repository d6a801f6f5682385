//! Names of tensors in Hugging Face checkpoints: the ways in which they differ from those of a whole model, and tensors
//! that are no part of it.

use crate::config::LlamaConfig;

/// The name of the embedding.
pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";
/// The name of the output head.
pub(super) const HEAD: &str = "lm_head.weight";

/// A checkpoint's way of naming the tensors of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming<'a> {
    /// `model.layers.0...` and `lm_head.weight`, both after this prefix, which a wrapper around the model has added.
    Whole(&'a str),
    /// `layers.0...`: the decoder was saved without its head.
    Decoder,
}

impl<'a> Naming<'a> {
    /// Finds out from the name of the embedding or, in a tied model that is stored with its head alone, of the first
    /// norm.
    pub(super) fn of(names: impl Iterator<Item = &'a str>) -> Self {
        let (mut embeddings, mut norms) = (Vec::new(), Vec::new());
        for name in names {
            embeddings.extend(name.strip_suffix("embed_tokens.weight"));
            norms.extend(name.strip_suffix("layers.0.input_layernorm.weight"));
        }
        let mut prefixes = if embeddings.is_empty() { norms } else { embeddings }.into_iter();
        match (prefixes.next(), prefixes.next()) {
            (Some(""), None) => Self::Decoder,
            (Some(prefix), None) => match prefix.strip_suffix("model.") {
                Some(outer) if outer.is_empty() || outer.ends_with('.') => Self::Whole(outer),
                _ => Self::Whole(""),
            },
            _ => Self::Whole(""),
        }
    }

    /// Returns the name that a tensor has in a whole model.
    pub(super) fn whole(self, name: &str) -> String {
        match self {
            Self::Whole(outer) => name.strip_prefix(outer).unwrap_or(name).to_owned(),
            Self::Decoder if ["layers.", "norm.", "embed_tokens."].iter().any(|part| name.starts_with(part)) => {
                format!("model.{name}")
            }
            Self::Decoder => name.to_owned(),
        }
    }
}

/// A tensor that is no part of the model, by what it means for loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extra {
    /// A table of rotary frequencies, or a head that equals the embedding: what the model has already.
    Known,
    /// A part of a layer after the last one of the configuration.
    Layer(usize),
    /// A part of something beside the decoder, such as the head of another task.
    Beside,
    /// A part that would change the arithmetic of the model.
    Arithmetic,
}

impl Extra {
    /// Judges a tensor, by its name in a whole model, that a model of this configuration does not have.
    pub(super) fn of(name: &str, config: &LlamaConfig) -> Self {
        let layer = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')?.0.parse::<usize>().ok());
        let within = ["model.", "lm_head."].iter().any(|part| name.starts_with(part)) || name.contains("lora_");
        match layer {
            _ if is_table(name) || (name == HEAD && config.tied_embeddings) => Self::Known,
            Some(layer) if layer >= config.n_layers => Self::Layer(layer),
            _ if within => Self::Arithmetic,
            _ => Self::Beside,
        }
    }
}

fn is_table(name: &str) -> bool {
    let name = name.rsplit_once("rotary_emb.").map(|(_, table)| table);
    name.is_some_and(|table| matches!(table, "inv_freq" | "cos_cached" | "sin_cached"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_found_by_the_embedding() {
        for (embedding, naming) in [
            ("model.embed_tokens.weight", Naming::Whole("")),
            ("embed_tokens.weight", Naming::Decoder),
            ("module.model.embed_tokens.weight", Naming::Whole("module.")),
            ("model.model.embed_tokens.weight", Naming::Whole("model.")),
            ("submodel.embed_tokens.weight", Naming::Whole("")),
            ("transformer.embed_tokens.weight", Naming::Whole("")),
        ] {
            assert_eq!(Naming::of(["lm_head.weight", embedding].into_iter()), naming, "{embedding}");
        }
        assert_eq!(Naming::of(["embed_tokens.weight", "vision.embed_tokens.weight"].into_iter()), Naming::Whole(""));
        assert_eq!(Naming::of(std::iter::empty()), Naming::Whole(""));
        for (name, whole) in [
            ("layers.3.mlp.up_proj.weight", "model.layers.3.mlp.up_proj.weight"),
            ("norm.weight", "model.norm.weight"),
            ("lm_head.weight", "lm_head.weight"),
            ("score.weight", "score.weight"),
        ] {
            assert_eq!(Naming::Decoder.whole(name), whole);
        }
        assert_eq!(Naming::Whole("module.").whole("module.lm_head.weight"), "lm_head.weight");
        assert_eq!(Naming::Whole("module.").whole("score.weight"), "score.weight");
    }

    #[test]
    fn what_could_change_the_arithmetic_is_told_from_what_lies_beside() {
        let config = r#"{"model_type": "llama", "vocab_size": 6, "hidden_size": 8, "intermediate_size": 16,
            "num_hidden_layers": 2, "num_attention_heads": 2}"#;
        let config = LlamaConfig::from_hf_json(config, "test").unwrap();
        for (name, extra) in [
            ("model.layers.1.self_attn.rotary_emb.inv_freq", Extra::Known),
            ("model.rotary_emb.cos_cached", Extra::Known),
            ("rotary_emb.inv_freq", Extra::Known),
            ("model.layers.2.mlp.up_proj.weight", Extra::Layer(2)),
            ("model.layers.1.mlp.up_proj.bias", Extra::Arithmetic),
            ("model.layers.x.mlp.up_proj.bias", Extra::Arithmetic),
            ("model.norm.bias", Extra::Arithmetic),
            ("lm_head.bias", Extra::Arithmetic),
            ("x.lora_A.weight", Extra::Arithmetic),
            ("v_head.summary.weight", Extra::Beside),
            ("score.weight", Extra::Beside),
        ] {
            assert_eq!(Extra::of(name, &config), extra, "{name}");
        }
        assert_eq!(Extra::of(HEAD, &LlamaConfig { tied_embeddings: true, ..config.clone() }), Extra::Known);
        assert_eq!(Extra::of(HEAD, &config), Extra::Arithmetic);
    }
}
