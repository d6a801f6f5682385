#!/usr/bin/env python3
"""Dequantises a Llama-architecture GGUF file into a Hugging Face folder of f32 weights.

usage: gguf_to_hf.py IN.gguf OUT          needs the packages gguf, numpy and safetensors

Writes model.safetensors, config.json, generation_config.json, tokenizer.json and tokenizer_config.json. Supports
only what SmolLM2 needs: architecture `llama` without rope scaling or biases, and a byte-level BPE tokenizer whose
pre-tokenizer is `smollm` or `gpt-2`. Anything else ends with an error message.
"""
import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader, dequantize
from safetensors.numpy import save_file

WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
IN_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
PRE_TOKENIZERS = {
    "gpt-2": BYTE_LEVEL,
    "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTE_LEVEL]},
}
# Token types of GGUF.
CONTROL, USER_DEFINED = 3, 4


class Metadata:
    """The keys of a GGUF file."""

    def __init__(self, reader):
        self.fields = reader.fields

    def get(self, key, default=None):
        return self.fields[key].contents() if key in self.fields else default

    def need(self, key, *allowed):
        value = self.get(key)
        if value is None or (allowed and value not in allowed):
            sys.exit(f"{key} is {value!r}; expected {' or '.join(map(repr, allowed)) or 'a value'}")
        return value


def half_split(rows, heads):
    """Undoes llama.cpp's reordering of queries and keys: row [head, j, i] lies at [head, i, j] (j < 2, i < head_dim / 2)."""
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def weights(reader, heads, kv_heads):
    tensors = {}
    for tensor in reader.tensors:
        shape = [int(n) for n in reversed(tensor.shape)]  # GGUF names the fastest axis first
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
        if tensor.name in WHOLE:
            name = WHOLE[tensor.name]
        else:
            _, layer, part, kind = (tensor.name.split(".") + [""] * 4)[:4]
            if part not in IN_LAYER or kind != "weight":
                sys.exit(f"tensor {tensor.name} does not belong to a plain Llama")
            name = f"model.layers.{layer}.{IN_LAYER[part]}.weight"
            if part in ("attn_q", "attn_k"):
                values = half_split(values, heads if part == "attn_q" else kv_heads)
        tensors[name] = np.ascontiguousarray(values)
    return tensors


def shortest(value):
    """Returns the shortest decimal that rounds to this f32: 1e-5, not 9.99999974e-6."""
    return float(str(np.float32(value)))


def config(meta, tensors, ids):
    heads = meta.need("llama.attention.head_count")
    width = meta.need("llama.embedding_length")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": tensors["model.embed_tokens.weight"].shape[0],
        "hidden_size": width,
        "intermediate_size": meta.need("llama.feed_forward_length"),
        "num_hidden_layers": meta.need("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": meta.get("llama.attention.head_count_kv", heads),
        "head_dim": meta.get("llama.attention.key_length", width // heads),
        "hidden_act": "silu",
        "max_position_embeddings": meta.need("llama.context_length"),
        "rms_norm_eps": shortest(meta.need("llama.attention.layer_norm_rms_epsilon")),
        "rope_theta": shortest(meta.get("llama.rope.freq_base", 10000.0)),
        "rope_scaling": None,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        "torch_dtype": "float32",
        **ids,
    }


def tokenizer(meta, ids):
    meta.need("tokenizer.ggml.model", "gpt2")
    pre = meta.need("tokenizer.ggml.pre", *PRE_TOKENIZERS)
    tokens, types = meta.need("tokenizer.ggml.tokens"), meta.need("tokenizer.ggml.token_type")
    added = [
        {"id": i, "content": tokens[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": kind == CONTROL}
        for i, kind in enumerate(types) if kind in (CONTROL, USER_DEFINED)
    ]
    tokenizer_json = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": PRE_TOKENIZERS[pre],
        "post_processor": None,
        "decoder": {**BYTE_LEVEL, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": meta.need("tokenizer.ggml.merges"),
        },
    }
    roles = {"bos": ids["bos_token_id"], "eos": ids["eos_token_id"], "pad": ids["pad_token_id"],
             "unk": meta.get("tokenizer.ggml.unknown_token_id")}
    tokenizer_config = {
        # GPT2Tokenizer, which the original names, makes transformers 5 drop the Digits step of tokenizer.json.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": meta.need("llama.context_length"),
        "added_tokens_decoder": {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in added},
        "chat_template": meta.get("tokenizer.chat_template"),
        **{f"{role}_token": tokens[i] for role, i in roles.items() if i is not None},
    }
    return tokenizer_json, tokenizer_config


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, out = sys.argv[1], Path(sys.argv[2])
    reader = GGUFReader(source)
    meta = Metadata(reader)
    meta.need("general.architecture", "llama")
    if meta.get("llama.rope.scaling.type", "none") != "none":
        sys.exit("rope scaling is not supported")
    heads = meta.need("llama.attention.head_count")
    tensors = weights(reader, heads, meta.get("llama.attention.head_count_kv", heads))
    ids = {f"{short}_token_id": meta.get(f"tokenizer.ggml.{long}_token_id")
           for short, long in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))}
    tokenizer_json, tokenizer_config = tokenizer(meta, ids)

    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    for name, content in {
        "config.json": config(meta, tensors, ids),
        "generation_config.json": ids,
        "tokenizer.json": tokenizer_json,
        "tokenizer_config.json": tokenizer_config,
    }.items():
        (out / name).write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    print(f"{len(tensors)} tensors, {sum(t.size for t in tensors.values()):,} parameters")


if __name__ == "__main__":
    main()
