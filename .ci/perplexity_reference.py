#!/usr/bin/env python3
"""Writes the reference numbers of the perplexity test: mean NLL per window, by transformers in f32 on the CPU.

usage: perplexity_reference.py MODEL TEXT OUT.json      (MODEL is a Hugging Face folder; needs transformers and torch)

Tokenises the whole text without special tokens, cuts it into windows of 512 that do not overlap, and scores the first
16: in each, every token but the first, given those before it in the window. Only numbers are written, not the text.
"""
import json, sys

import torch
import transformers

LENGTH, WINDOWS = 512, 16

model_path, text_path, out = sys.argv[1:]
tokenizer = transformers.AutoTokenizer.from_pretrained(model_path)
model = transformers.AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32).eval()
text = open(text_path, encoding="utf-8").read()
ids = tokenizer(text, add_special_tokens=False)["input_ids"]

means = []
with torch.no_grad():
    for window in range(WINDOWS):
        tokens = torch.tensor(ids[window * LENGTH:(window + 1) * LENGTH])
        assert len(tokens) == LENGTH
        logits = model(tokens[None]).logits[0].double()
        nll = torch.nn.functional.cross_entropy(logits[:-1], tokens[1:], reduction="none")
        means.append(nll.mean().item())
        print(window, means[-1], flush=True)

reference = {
    "transformers": transformers.__version__,
    "torch": torch.__version__,
    "length": LENGTH,
    "stride": LENGTH,
    "tokens_of_text": len(ids),
    "first_ids": ids[:8],
    "window_mean_nll": means,
    "mean_nll": sum(means) / len(means),
}
with open(out, "w") as file:
    json.dump(reference, file, indent=1)
    file.write("\n")
