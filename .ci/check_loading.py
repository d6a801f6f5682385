#!/usr/bin/env python3
"""Checks how the examples read text and models: special tokens, warnings, adapters, and models without a tokenizer.

usage: check_loading.py EXAMPLES TINY     (EXAMPLES is the folder of the binaries, TINY the folder of the embedded model)
"""
import json, os, shutil, struct

from example_checks import check, finish, refused, run, tiny

END = "<|end|>"  # token 0


def found(example, *options):
    """The JSON object that an example prints; empty if it failed."""
    out = run(example, *options, "--json")
    return json.loads(out.stdout) if out.returncode == 0 else {"error": out.stderr}


def copy(folder, **edits):
    """Copies the embedded model. `edits` are functions that change the JSON of a file, by its name without the ending."""
    shutil.copytree(tiny, folder)
    for name, edit in edits.items():
        with open(f"{folder}/{name}.json") as file:
            value = json.load(file)
        edit(value)
        with open(f"{folder}/{name}.json", "w") as file:
            json.dump(value, file)
    return folder


def write_tensors(path, tensors):
    """Writes a safetensors file of f32 tensors, given as pairs of shape and values."""
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        values = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    header = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + data)


def add_tensor(path, name, shape, values):
    """Adds an f32 tensor at the end of a safetensors file."""
    with open(path, "rb") as file:
        content = file.read()
    length, = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8:8 + length]), content[8 + length:]
    values = struct.pack(f"<{len(values)}f", *values)
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
    header = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + data + values)


# A model whose texts begin with a special token.
def add_first_token(tokenizer):
    first, text = {"SpecialToken": {"id": END, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    tokenizer["post_processor"] = {"type": "TemplateProcessing", "single": [first, text],
                                   "pair": [first, text, {"Sequence": {"id": "B", "type_id": 1}}],
                                   "special_tokens": {END: {"id": END, "ids": [0], "tokens": [END]}}}


def add_template(settings):
    settings["chat_template"] = END + "{% for message in messages %}{{ message.content }}{% endfor %}"


bos = copy("bos", tokenizer=add_first_token, tokenizer_config=add_template)
plain = found("generate", "--prompt", "sort 312=", "--max-new-tokens", 1)["prompt_ids"]
ids = lambda *options: found("generate", "--model", bos, *options, "--max-new-tokens", 1).get("prompt_ids")
check("a prompt begins with the special token", ids("--prompt", "sort 312=") == [0, *plain], ids("--prompt", "sort 312="))
check("--no-bos leaves it out", ids("--prompt", "sort 312=", "--no-bos") == plain)
with open("prompt.txt", "w") as file:
    file.write("sort 312=")
check("a prompt file begins with it", ids("--prompt-file", "prompt.txt") == [0, *plain])
check("a chat has it once", ids("--chat", "sort 312=") == [0, *plain])
check("a chat has its own with --no-bos", ids("--chat", "sort 312=", "--no-bos") == [0, *plain])
check("ids stay as they are", ids("--prompt-ids", "2,11") == [2, 11])
out = run("generate", "--prompt-ids", "2,11", "--no-bos", "--max-new-tokens", 1)
check("--no-bos has no effect on ids", out.returncode == 0 and "--no-bos has no effect" in out.stderr, out.stderr)
with open("digits.txt", "w") as file:
    file.write("0123456789" * 20)
compared = ["compare_controllers", "--model", bos, "--text", "digits.txt", "--calibration", "digits.txt", "--budgets", 6,
            "--prompt-tokens", 12, "--limit", 2]
on, off = found(*compared), found(*compared, "--no-bos")
check("a comparison says so", (on.get("bos"), off.get("bos")) == (True, False), on)
check("a comparison's lengths stay", on.get("prompt_tokens") == off.get("prompt_tokens") == {"min": 12, "max": 12})
check("a comparison differs", on.get("controllers") != off.get("controllers"))
check("the embedded model has none", found("compare_controllers", "--budgets", 6, "--limit", 1).get("bos") is False)
with open("items.jsonl", "w") as file:
    for n in (31, 42):
        file.write(json.dumps({"prompt": f"sort {n}=", "reference": "12"}) + "\n")
oracle = ["oracle", "--model", bos, "--data", "items.jsonl", "--candidates", "full,exit:4", "--metric", "agreement", "--null", 0,
          "--max-new-tokens", 4, "--out", "oracle"]
check("an oracle says so", found(*oracle).get("bos") is True)
refused("an oracle's run with other prompts", "--overwrite", *oracle, "--no-bos")

# Warnings.
head = copy("head")
add_tensor("head/model.safetensors", "score.weight", [2, 128], [0.5] * 256)
out = run("generate", "--model", head, "--prompt", "sort 312=", "--max-new-tokens", 1, "--json")
check("a head of another task is a warning", out.returncode == 0 and "warning: " in out.stderr and "score.weight" in out.stderr
      and json.loads(out.stdout)["prompt_ids"] == plain, out.stderr)

# Adapters.
def adapter(folder, b):
    os.mkdir(folder)
    with open(f"{folder}/adapter_config.json", "w") as file:
        json.dump({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "bias": "none"}, file)
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    write_tensors(f"{folder}/adapter_model.safetensors", {f"{layer}.lora_A.weight": ([2, 128], [0.1, -0.2] * 128),
                                                          f"{layer}.lora_B.weight": ([128, 2], [b] * 256)})
    return ["--adapter", folder]


def top(*options):
    out = run("generate", "--prompt", "sort 312=", "--logits-top", 3, *options)
    return json.loads(out.stdout)["top"] if out.returncode == 0 else out.stderr


nothing, one, back = adapter("nothing", 0.0), adapter("one", 0.5), adapter("back", -0.5)
base = top()
check("an adapter of zeros changes nothing", top(*nothing) == base, top(*nothing))
check("an adapter changes the logits", isinstance(top(*one), list) and top(*one) != base, top(*one))
both = top(*one, *back)
check("an adapter and its opposite", isinstance(both, list) and all(i == j and abs(x - y) < 1e-3
                                                                     for (i, x), (j, y) in zip(both, base)), both)
refused("a folder that is no adapter", "adapter_config.json", "generate", "--prompt", "1", "--adapter", tiny)
compared = found("compare_controllers", "--budgets", 6, "--limit", 1, *one)
check("an adapter in a comparison", "controllers" in compared, compared)

# No tokenizer.
silent = copy("silent")
for name in ("tokenizer.json", "tokenizer_config.json"):
    os.remove(f"silent/{name}")
prompt = ["generate", "--model", silent, "--prompt-ids", ",".join(map(str, plain)), "--max-new-tokens", 8]
out = run(*prompt, "--json")
answer = json.loads(out.stdout) if out.returncode == 0 else {}
expected = found("generate", "--prompt", "sort 312=", "--max-new-tokens", 8)
check("ids need no tokenizer", answer.get("token_ids") == expected["token_ids"] and answer["text"] == "" and "warning" in out.stderr,
      (answer, out.stderr))
check("logits need none", "top" in json.loads(run(*prompt, "--logits-top", 2).stdout or "{}"))
refused("a prompt without a tokenizer", "tokenizer", "generate", "--model", silent, "--prompt", "1")
refused("a chat without one", "tokenizer", "generate", "--model", silent, "--chat", "1")
refused("--stop without one", "--stop", *prompt, "--stop", "1")
refused("a calibration without one", "influence:6", *prompt, "--controller", "influence:6")

finish()
