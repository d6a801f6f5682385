//! The tensors that a configuration calls for.

use super::error::NamedShape;
use crate::config::LlamaConfig;

/// Every tensor of a model, under its Hugging Face name, in the order in which they are loaded.
pub(super) fn expected(config: &LlamaConfig) -> Vec<NamedShape> {
    let &LlamaConfig { vocab_size, d_model, d_ff, head_dim, .. } = config;
    let (q, kv) = (config.n_heads * head_dim, config.n_kv_heads * head_dim);
    let mut tensors = Vec::new();
    let mut add = |name: String, shape: Vec<usize>| tensors.push(NamedShape { name, shape });

    add("model.embed_tokens.weight".into(), vec![vocab_size, d_model]);
    for layer in 0..config.n_layers {
        let mut linear = |name: &str, d_out: usize, d_in: usize, bias: bool| {
            add(format!("model.layers.{layer}.{name}.weight"), vec![d_out, d_in]);
            if bias {
                add(format!("model.layers.{layer}.{name}.bias"), vec![d_out]);
            }
        };
        let bias = config.attention_bias;
        linear("self_attn.q_proj", q, d_model, bias.qkv);
        linear("self_attn.k_proj", kv, d_model, bias.qkv);
        linear("self_attn.v_proj", kv, d_model, bias.qkv);
        linear("self_attn.o_proj", d_model, q, bias.output);
        linear("mlp.gate_proj", d_ff, d_model, bias.mlp);
        linear("mlp.up_proj", d_ff, d_model, bias.mlp);
        linear("mlp.down_proj", d_model, d_ff, bias.mlp);
        let mut norm = |name: &str, width: usize| add(format!("model.layers.{layer}.{name}.weight"), vec![width]);
        norm("input_layernorm", d_model);
        norm("post_attention_layernorm", d_model);
        if config.qk_norm {
            norm("self_attn.q_norm", head_dim);
            norm("self_attn.k_norm", head_dim);
        }
    }
    add("model.norm.weight".into(), vec![d_model]);
    if !config.tied_embeddings {
        add("lm_head.weight".into(), vec![vocab_size, d_model]);
    }
    tensors
}
