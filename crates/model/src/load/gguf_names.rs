//! Translation of GGUF's tensor names and row order to those of Hugging Face.

/// Returns the Hugging Face name of a GGUF tensor (llama.cpp's `gguf-py/gguf/constants.py`); `None` if it has none.
pub(super) fn hugging_face_name(name: &str) -> Option<String> {
    let whole = match name {
        "token_embd.weight" => Some("model.embed_tokens.weight"),
        "output_norm.weight" => Some("model.norm.weight"),
        "output.weight" => Some("lm_head.weight"),
        _ => None,
    };
    if let Some(whole) = whole {
        return Some(whole.to_owned());
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let (part, kind) = rest.rsplit_once('.')?;
    let part = match part {
        "attn_norm" => "input_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    (matches!(kind, "weight" | "bias") && layer.parse::<usize>().is_ok_and(|n| n.to_string() == layer))
        .then(|| format!("model.layers.{layer}.{part}.{kind}"))
}

/// Undoes llama.cpp's reordering of the rows of `q_proj` and `k_proj` for the Llama architecture.
///
/// `row` is the number of values in a row, or of bytes if the rows are bytes.
///
/// The reordering turns half-split rotation into interleaved rotation by storing row `[head, j, i]` at `[head, i, j]`
/// (`j` in 0..2, `i` in `0..head_dim / 2`; `LlamaModel.permute` in `convert_hf_to_gguf.py`).
pub(super) fn unpermute<T: Copy>(values: &[T], head_dim: usize, row: usize) -> Vec<T> {
    let half = head_dim / 2;
    let source = |head: usize, k: usize| head * head_dim + (k % half) * 2 + k / half;
    let heads = values.len() / row / head_dim;
    let mut ordered = Vec::with_capacity(values.len());
    for at in (0..heads).flat_map(|head| (0..head_dim).map(move |k| source(head, k))) {
        ordered.extend_from_slice(&values[at * row..(at + 1) * row]);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(
            hugging_face_name("blk.12.attn_q.weight").as_deref(),
            Some("model.layers.12.self_attn.q_proj.weight")
        );
        assert_eq!(
            hugging_face_name("blk.0.ffn_norm.weight").as_deref(),
            Some("model.layers.0.post_attention_layernorm.weight")
        );
        for other in
            ["blk.x.attn_q.weight", "blk.01.attn_q.weight", "blk.1.attn_q", "blk.1.ssm.weight", "output.bias2", ""]
        {
            assert_eq!(hugging_face_name(other), None, "{other}");
        }
    }

    #[test]
    fn unpermute_undoes_llama_cpps_permute() {
        // w.reshape(heads, 2, half, row).swapaxes(1, 2), as in convert_hf_to_gguf.py.
        let (heads, head_dim, row) = (3, 8, 2);
        let original: Vec<usize> = (0..heads * head_dim * row).collect();
        let mut permuted = vec![0; original.len()];
        for head in 0..heads {
            for j in 0..2 {
                for i in 0..head_dim / 2 {
                    for c in 0..row {
                        permuted[(head * head_dim + i * 2 + j) * row + c] =
                            original[(head * head_dim + j * head_dim / 2 + i) * row + c];
                    }
                }
            }
        }
        assert_eq!(unpermute(&permuted, head_dim, row), original);
    }
}
