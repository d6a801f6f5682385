"""Makes tests/integration/fixtures/families.json: logits of tiny models of each family, as transformers computes them.

Needs torch and transformers (made with torch 2.15 and transformers 5.24). The weights are not stored: `weight` draws
them from the names, as the test does. The logits are computed in f32 with eager attention.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

SIZES = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
FAMILIES = {
    "llama": ("llama", {"attention_bias": True, "mlp_bias": True, "rope_parameters": LLAMA_3}),
    "llama, tied": ("llama", {"tie_word_embeddings": True, "head_dim": 8}),
    "mistral": ("mistral", {"sliding_window": None}),
    "mistral, window": ("mistral", {"sliding_window": 5}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen2, windows in the last layers": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2},
    ),
    "qwen3": ("qwen3", {"head_dim": 8}),
    "qwen3, windows in some layers": (
        "qwen3",
        {
            "head_dim": 8,
            "use_sliding_window": True,
            "sliding_window": 6,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        },
    ),
    "smollm3": ("smollm3", {"tie_word_embeddings": True}),
    "smollm3, window": (
        "smollm3",
        {"use_sliding_window": True, "sliding_window": 7, "no_rope_layers": [1, 0, 0, 1], "attention_bias": True},
    ),
}
TOKENS = [(i * 7 + 3) % 32 for i in range(24)]
AT = [3, 11, 23]


def weight(name, shape):
    """Draws a weight: a matrix or bias from -0.5 to 0.5, the scale of a norm from 0.5 to 1.5, exact in f32."""
    seed = np.uint32(2166136261)
    for byte in name.encode():
        seed = np.uint32(seed ^ np.uint32(byte)) * np.uint32(16777619)
    x = np.arange(int(np.prod(shape)), dtype=np.uint32) * np.uint32(2654435761) + seed
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    x = x ^ (x >> np.uint32(16))
    x = (x >> np.uint32(9)).astype(np.float32) / np.float32(1 << 23) - np.float32(0.5)
    return torch.from_numpy((x + np.float32("norm" in name)).reshape(shape))


def family(name, model_type, options):
    config = AutoConfig.for_model(model_type, **SIZES, **options)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        for tensor, parameter in model.named_parameters():
            parameter.copy_(weight(tensor, tuple(parameter.shape)))
        logits = model(torch.tensor([TOKENS]), use_cache=False).logits[0]
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        written = json.loads((Path(folder) / "config.json").read_text())
    rows = [[float(f"{x:.7g}") for x in logits[at].tolist()] for at in AT]
    return {"name": name, "config": written, "tokens": TOKENS, "at": AT, "logits": rows}


def main():
    np.seterr(over="ignore")
    families = [family(name, *of) for name, of in FAMILIES.items()]
    lines = ",\n".join(json.dumps(one) for one in families)
    path = Path(__file__).parents[1] / "integration" / "fixtures" / "families.json"
    path.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
