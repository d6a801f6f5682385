#!/usr/bin/env python3
"""Times the decoding of transformers on a GPU, to compare with `gpu_check decode`.

usage: gpu_transformers.py [--dtype f32|f16] [--rows 1,8,64] [--tokens 64] [--rounds 3] [--json FILE.jsonl]

The model has SmolLM2-135M's dimensions and random weights, as the time of a pass does not depend on their values. One
prompt pass of 32 tokens and then one pass per token, greedy, with the key/value cache, each token read by the host, as
`gpu_check` does. Also the same with transformers' own `generate`. Needs torch and transformers; takes the GPU if torch sees
one, otherwise the processor.
"""
import argparse
import json
import statistics
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("--dtype", default="f32", choices=["f32", "f16"])
parser.add_argument("--rows", default="1,8,64")
parser.add_argument("--tokens", type=int, default=64)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--json")
arguments = parser.parse_args()

device = "cuda" if torch.cuda.is_available() else "cpu"
config = LlamaConfig(
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3, max_position_embeddings=8192, rms_norm_eps=1e-5, rope_theta=100000.0, tie_word_embeddings=True,
)
torch.manual_seed(1)
dtype = {"f32": torch.float32, "f16": torch.float16}[arguments.dtype]
model = LlamaForCausalLM(config).to(dtype).to(device).eval()


def wait():
    if device == "cuda":
        torch.cuda.synchronize()


@torch.inference_mode()
def loop(rows):
    """Milliseconds per decode pass of a loop that does nothing but the passes."""
    ids = torch.arange(rows * 32, device=device).reshape(rows, 32) % 90
    out = model(ids, use_cache=True)
    cache, next_ids = out.past_key_values, out.logits[:, -1].argmax(-1)
    next_ids.tolist()
    started = time.perf_counter()
    for _ in range(arguments.tokens):
        out = model(next_ids[:, None], past_key_values=cache, use_cache=True)
        cache, next_ids = out.past_key_values, out.logits[:, -1].argmax(-1)
        next_ids.tolist()
    return (time.perf_counter() - started) * 1e3 / arguments.tokens


@torch.inference_mode()
def generate(rows):
    """Milliseconds per token of `generate`, its prompt pass included."""
    ids = torch.arange(rows * 32, device=device).reshape(rows, 32) % 90
    wait()
    started = time.perf_counter()
    model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=arguments.tokens, min_new_tokens=arguments.tokens,
        do_sample=False, pad_token_id=0,
    )
    wait()
    return (time.perf_counter() - started) * 1e3 / arguments.tokens


@torch.inference_mode()
def prefill(length):
    """Milliseconds of a prompt pass."""
    ids = torch.arange(length, device=device).reshape(1, length) % 90
    started = time.perf_counter()
    model(ids, use_cache=True, logits_to_keep=1).logits[0, -1].argmax().item()
    return (time.perf_counter() - started) * 1e3


found = {"command": "transformers", "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
         "dtype": arguments.dtype, "torch": torch.__version__}
for rows in map(int, arguments.rows.split(",")):
    for name, f in [("decode", loop), ("generate", generate)]:
        f(rows)
        times = [f(rows) for _ in range(arguments.rounds)]
        found[f"{name}, {rows} rows"] = {"ms_per_pass": statistics.median(times), "least": min(times), "most": max(times)}
        print(f"{name}, {rows} rows: {statistics.median(times):.2f} ms per pass", flush=True)
for length in [32, 1000]:
    prefill(length)
    times = [prefill(length) for _ in range(arguments.rounds)]
    found[f"prefill, {length} tokens"] = {"ms": statistics.median(times)}
    print(f"prefill, {length} tokens: {statistics.median(times):.2f} ms", flush=True)
if arguments.json:
    with open(arguments.json, "a") as file:
        file.write(json.dumps(found) + "\n")
