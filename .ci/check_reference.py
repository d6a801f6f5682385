#!/usr/bin/env python3
"""Compares the `generate` example on the real model with the numbers of transformers.

usage: check_reference.py GENERATE REFERENCE.json MODEL [MODEL ..]     (GENERATE is the example's binary)

Checks for each model and prompt, in f32: the prompt's token ids, the 20 largest logits (1e-3), log-sum-exp (1e-3), the
norms of the hidden states (1e-4 relative), 32 greedy ids. Then, in f16, the mean NLL of the prompts against f32 (0.5 %).
"""
import json, subprocess, sys

generate, reference, *models = sys.argv[1:]
cases = json.load(open(reference))["cases"]
failures = 0


def run(model, source, *options, dtype="f32"):
    command = [generate, "--model", model, "--dtype", dtype, *source, *options]
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"generate failed: {out.stderr}")
    return json.loads(out.stdout)


def check(what, ok):
    global failures
    failures += not ok
    print(f"  {'ok  ' if ok else 'FAIL'} {what}")


for model in models:
    nll = {"f32": [], "f16": []}
    for case in cases:
        print(f"{model}: {case['prompt'][:50]!r}")
        source = ["--chat" if case["kind"] == "chat" else "--prompt", case["prompt"]]
        if case["kind"] == "chat":  # with the system message that the template adds by itself
            assert run(model, source, "--logits-top", "1")["prompt_ids"] == case["prompt_token_ids"]
        seen = run(model, source, "--logits-top", "20")
        check("prompt ids", seen["prompt_ids"] == case["prompt_token_ids"])
        expected = dict(case["last_logits_top20"])
        found = dict(map(tuple, seen["top"]))
        worst = max(abs(found.get(i, 1e9) - x) for i, x in expected.items())
        check(f"top-20 logits, worst difference {worst:.2e}", worst < 1e-3)
        key = next(k for k in case if "logsumexp" in k)
        difference = abs(seen["logsumexp"] - case[key])
        check(f"log-sum-exp, difference {difference:.2e}", difference < 1e-3)
        norms = next(v for k, v in case.items() if k.startswith("hidden_states"))
        norms = [n["l2"] if isinstance(n, dict) else n for n in norms]
        assert len(norms) == len(seen["hidden_norms"])
        worst = max(abs(a - b) / b for a, b in zip(seen["hidden_norms"], norms))
        check(f"hidden-state norms, worst relative difference {worst:.2e}", worst < 1e-4)
        ids = run(model, source, "--json", "--ignore-eos", "--max-new-tokens", "32")["token_ids"]
        expected = case["greedy_32_token_ids_ignoring_eos"]
        check(f"greedy ids, {sum(a == b for a, b in zip(ids, expected))} of 32", ids == expected)
        nll["f32"].append(seen["mean_nll"])
        nll["f16"].append(run(model, source, "--logits-top", "1", dtype="f16")["mean_nll"])
    for f32, f16 in zip(*nll.values()):
        check(f"f16 mean NLL {f16:.5f} against {f32:.5f}", abs(f16 - f32) <= 0.005 * f32)
print("all checks passed" if not failures else f"{failures} checks failed")
sys.exit(bool(failures))
