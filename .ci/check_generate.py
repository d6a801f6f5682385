#!/usr/bin/env python3
"""Checks what the `generate` example prints against docs/generate.md.

usage: check_generate.py GENERATE MODEL     (GENERATE is the example's binary, MODEL is SmolLM2 in either format)
"""
import json, subprocess, sys

generate, model = sys.argv[1:]
KEYS = ["prompt_ids", "token_ids", "text", "stop", "layers_per_token", "layers_executed_per_token", "n_layers",
        "prefill_tok_s", "decode_tok_s", "load_s", "peak_rss_mb"]
INSPECTION_KEYS = ["prompt_ids", "top", "logsumexp", "mean_nll", "hidden_norms"]
END = 2  # <|im_end|>
failures = 0


def output(*options):
    out = subprocess.run([generate, "--model", model, "--dtype", "f16", *options], capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"generate failed: {out.stderr}")
    return out.stdout


def run(*options):
    out = output(*options)
    assert out.endswith("\n") and "\n" not in out[:-1], f"more than one line on standard output: {out!r}"
    return json.loads(out)


def check(what, ok):
    global failures
    failures += not ok
    print(f"{'ok  ' if ok else 'FAIL'} {what}")


text = ["--prompt", "Once upon a time", "--ignore-eos", "--max-new-tokens"]
full = run(*text, "16", "--json")
check("keys of --json", list(full) == KEYS)
check("--max-new-tokens is the number of ids", len(full["token_ids"]) == 16 and full["stop"] == "max-new-tokens")
check("full depth", [full[k] for k in ("layers_per_token", "layers_executed_per_token", "n_layers")] == [30, 30, 30])
check("speeds", min(full["prefill_tok_s"], full["decode_tok_s"], full["load_s"]) > 0)
check("peak memory", full["peak_rss_mb"] is None or 100 < full["peak_rss_mb"] < 2000)

shown = output(*text, "16")
check("the text is streamed", shown.startswith(full["text"]))
check("a report follows the text", all(part in shown for part in ("prefill ", "decode ", "layers per token 30.00 of 30", "tokens/s",
                                                              "ms per layer", "stopped: max-new-tokens")))

ids = ",".join(map(str, full["prompt_ids"]))
check("--prompt-ids continues like --prompt", run("--prompt-ids", ids, "--ignore-eos", "--max-new-tokens", "16", "--json")["token_ids"]
      == full["token_ids"])

for controller, layers in [("uniform:20", 20), ("exit:20", 20), ("skip:3,5,7", 27)]:
    seen = run(*text, "8", "--controller", controller, "--json")
    check(f"{controller} runs {layers} layers, after a prompt at full depth",
          seen["layers_per_token"] == seen["layers_executed_per_token"] == layers
          and seen["token_ids"][0] == full["token_ids"][0])
    controlled = run(*text, "8", "--controller", controller, "--control-from", "all", "--json")
    check(f"{controller} controls the prompt too with --control-from all", controlled["layers_per_token"] == layers)

one = run(*text, "1", "--json")
check("one new token needs no decode pass", len(one["token_ids"]) == 1 and one["prefill_tok_s"] > 0
      and [one[k] for k in ("layers_per_token", "layers_executed_per_token", "decode_tok_s")] == [None] * 3)
none = run(*text, "0", "--json")
check("zero new tokens need no pass", none["token_ids"] == [] and none["text"] == "" and none["stop"] is None
      and none["prefill_tok_s"] is None and none["decode_tok_s"] is None)

question = ["--chat", "What is the capital of France?", "--max-new-tokens", "32", "--json"]
answer = run(*question)
check("the stop token is among the ids", answer["stop"] == "token" and answer["token_ids"][-1] == END
      and answer["token_ids"].count(END) == 1)
check("the stop token is not in the text", "<|" not in answer["text"] and "Paris" in answer["text"])
check("the chat template surrounds the question", answer["prompt_ids"][0] == 1 and answer["prompt_ids"].count(END) == 2)
longer = run(*question, "--ignore-eos")
check("--ignore-eos continues after the stop token", len(longer["token_ids"]) == 32 and longer["token_ids"][:len(answer["token_ids"])]
      == answer["token_ids"] and "<|" not in longer["text"])
stopped = run(*question, "--stop", "Paris")
check("--stop ends before its text", stopped["stop"] == "string" and answer["text"].startswith(stopped["text"])
      and "Paris" not in stopped["text"])

sampled = [run(*text, "16", "--temperature", "1", "--top-k", "50", "--top-p", "0.95", "--seed", seed, "--json")["token_ids"]
           for seed in ("1", "1", "2")]
check("the same seed repeats, another differs", sampled[0] == sampled[1] != sampled[2])

seen = run("--prompt", "Once upon a time", "--logits-top", "5")
check("keys of --logits-top", list(seen) == INSPECTION_KEYS)
values = [logit for _, logit in seen["top"]]
check("logits in descending order", len(values) == 5 and values == sorted(values, reverse=True) and seen["logsumexp"] > values[0])
check("the largest logit is the greedy token's", seen["top"][0][0] == full["token_ids"][0])
check("the prompt's ids", seen["prompt_ids"] == full["prompt_ids"])
check("norms of the embedding, 29 layers and the final state", len(seen["hidden_norms"]) == 31)
check("mean NLL in range", 0 < seen["mean_nll"] < 20)
check("mean NLL of a single token is null", run("--prompt-ids", "1", "--logits-top", "1")["mean_nll"] is None)

print("all checks passed" if not failures else f"{failures} checks failed")
sys.exit(bool(failures))
