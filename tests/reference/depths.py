"""Compares the numbers of the example compare_controllers with an implementation of its own on torch and transformers.

Usage: python depths.py MODEL_FOLDER TEXT COMPARISON.json

COMPARISON.json comes from

    compare_controllers --model MODEL_FOLDER --text TEXT --prompt-tokens 1 --tokens 255 --limit 8 --budgets 28,24,20,10,6 \
        --dtype f32 --json

Each window of 256 tokens runs through the layers that early exit and uniform skipping keep; nothing of dynlayer is used. Fails if
a mean differs from the example's by more than 1e-3, relative to 1 or to its size. (Made with torch 2.15 and transformers 5.24.)
"""

import json
import math
import sys

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

WINDOW, WINDOWS, TOLERANCE = 256, 8, 1e-3


def kept(name, budget, n_layers):
    if name == "exit":
        return list(range(budget))
    return [math.floor(j * (n_layers - 1) / (budget - 1) + 0.5) for j in range(budget)]


def states(model, ids, layers):
    """The final normed states of whole texts, [windows, tokens, d_model]."""
    core = model.model
    hidden = core.embed_tokens(ids)
    positions = torch.arange(ids.shape[1])[None]
    rotation = core.rotary_emb(hidden, positions)
    mask = torch.full((ids.shape[1], ids.shape[1]), float("-inf")).triu(1)[None, None]
    for layer in layers:
        out = core.layers[layer](hidden, attention_mask=mask, position_embeddings=rotation, position_ids=positions)
        hidden = out[0] if isinstance(out, tuple) else out
    return core.norm(hidden)


@torch.no_grad()
def main():
    folder, text, comparison = sys.argv[1:]
    rows = {row["controller"]: row for row in json.load(open(comparison))["controllers"]}
    tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    n_layers = model.config.num_hidden_layers
    ids = tokenizer.encode(open(text, encoding="utf-8").read()[: WINDOW * WINDOWS * 8], add_special_tokens=False).ids
    ids = torch.tensor(ids[: WINDOW * WINDOWS]).view(WINDOWS, WINDOW)
    # The last token of a window is predicted and not read.
    read, targets = ids[:, :-1], ids[:, 1:]
    full = states(model, read, range(n_layers))
    of_full = model.lm_head(full).double().log_softmax(-1)
    compared = [row for row in rows if row.startswith(("exit:", "uniform:"))]
    assert len(compared) >= 2, "no row of early exit or uniform skipping"
    worst = 0.0
    for controller, row in rows.items():
        name, _, budget = controller.partition(":")
        if name not in ("exit", "uniform"):
            continue
        found = states(model, read, kept(name, int(budget), n_layers))
        log_probs = model.lm_head(found).double().log_softmax(-1)
        expected = {
            "cosine": torch.cosine_similarity(found, full, dim=-1).mean(),
            "relative_error": ((found - full).norm(dim=-1) / full.norm(dim=-1)).mean(),
            "kl": (of_full.exp() * (of_full - log_probs)).sum(-1).mean(),
            "top1": (log_probs.argmax(-1) == of_full.argmax(-1)).double().mean(),
            "nll": -log_probs.gather(-1, targets[..., None]).mean(),
        }
        for measure, value in expected.items():
            difference = abs(row[measure] - float(value)) / max(1.0, abs(float(value)))
            worst = max(worst, difference)
            if difference > TOLERANCE:
                sys.exit(f"{controller}, {measure}: {row[measure]}, expected {float(value)}")
    print(f"ok   early exit and uniform skipping as transformers computes them: differences of at most {worst:.1e}")


if __name__ == "__main__":
    main()
