#!/usr/bin/env python3
"""Runs the examples `oracle` and `hidden_state_study` on data and folders of all kinds, with the embedded model.

usage: check_data.py EXAMPLES SCRATCH     (EXAMPLES is the folder of their binaries, SCRATCH an empty folder)
"""
import json, os, shutil, subprocess, sys

examples, scratch = (os.path.abspath(path) for path in sys.argv[1:])
os.chdir(scratch)
FAST = ["--candidates", "full,exit:4", "--metric", "agreement", "--null", 0, "--max-new-tokens", 4]
SMALL = ["--inputs", "hidden, constant", "--alphas", "0.1, 1", "--seeds", "0, 1", "--steps", 2, "--batch", 2, "--items", 2,
         "--quiet"]
failures = 0


def run(example, *options, input=None):
    """Runs an example, and returns its status, standard output and standard error."""
    done = subprocess.run([f"{examples}/{example}", *map(str, options)], input=input, capture_output=True, timeout=300)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def check(name, ok, shown=""):
    global failures
    failures += not ok
    print(f"{'ok  ' if ok else 'FAIL'} {name}" + ("" if ok else f": {shown}"))


def write(name, *lines, end=b"\n"):
    """Writes lines, which are objects or bytes, to a file, and returns its name."""
    with open(name, "wb") as file:
        for line in lines:
            file.write((line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode()) + end)
    return name


def item(prompt, reference="12", **more):
    return {"prompt": prompt, "reference": reference, **more}


def rows(folder):
    """The lines of a run's file without its header and without times."""
    with open(f"{folder}/run.jsonl") as file:
        found = [json.loads(line) for line in file][1:]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in found]


def content(folder):
    return {name: open(f"{folder}/{name}", "rb").read() for name in sorted(os.listdir(folder))}


def oracle(name, data, *options, fast=FAST, input=None):
    """Runs the oracle into a folder of its own."""
    return run("oracle", "--data", data, "--out", name, *fast, *options, input=input)


def refused(name, result, *expected):
    """Checks that a run was refused with a message, and without a panic or output."""
    status, out, err = result
    check(name, status == 1 and out == "" and all(part in err for part in expected), f"{status} {out[:80]!r} {err!r}")


def works(name, result, *expected):
    status, out, err = result
    check(name, status == 0 and all(part in out + err for part in expected), f"{status} {err!r} {out[:300]!r}")
    return out


first, second, third = item("sort 8412=", "1248"), item("sort 312=", "123"), item("copy 77=", "77")
write("clean.jsonl", first, second)
works("two items", oracle("clean", "clean.jsonl"))
clean = rows("clean")
bom = b"\xef\xbb\xbf"
encoded = json.dumps(first).encode()
for name, lines, end in [
    ("blank_line", [first, b"", b"  ", second], b"\n"),
    ("blank_lines_around", [b"", first, second, b"", b""], b"\n"),
    ("byte_order_mark", [bom + encoded, second], b"\n"),
    ("carriage_returns", [first, b"", second], b"\r\n"),
]:
    works(name, oracle(name, write(name + ".jsonl", *lines, end=end)))
    check(f"{name}: the same rows", rows(name) == clean)
with open("clean.jsonl", "rb") as file:
    text = file.read()
works("standard input", oracle("stdin", "-", input=text))
check("standard input: the same rows", rows("stdin") == clean)
works("no line end at the end", oracle("no_end", "-", input=text.rstrip(b"\n")))
refused("empty standard input", oracle("empty", "-", input=b""), "standard input: expected at least one item")
works("ids that come twice", oracle("ids", write("ids.jsonl", {**first, "id": "a"}, b"", {**second, "id": "a"})),
      "warning: lines 1 and 3 have the same id")

# Each is on the third line, after a blank one.
for name, line, expected in [
    ("no_prompt", {"reference": "1"}, "prompt"),
    ("empty_prompt", item(""), "the prompt is empty"),
    ("prompt_without_a_token", item(" "), "the prompt has no token"),
    ("number_as_prompt", {"prompt": 1, "reference": "1"}, "expected a string"),
    ("not_json", b"sort 12=", "expected an object"),
    ("not_utf_8", b'{"prompt": "\xff", "reference": "1"}', "UTF-8"),
    ("byte_order_mark_inside", bom + encoded, "expected an object"),
]:
    refused(name, oracle(name, write(name + ".jsonl", first, b"", line)), f"{name}.jsonl, line 3: ", expected)
    check(f"{name}: nothing was run", not os.path.exists(f"{name}/run.jsonl"))
for name, lines in [("no_line", []), ("only_blank_lines", [b"", b" "])]:
    refused(name, oracle(name, write(name + ".jsonl", *lines)), f"{name}.jsonl: expected at least one item")
refused("no such file", oracle("none", "none.jsonl"), "none.jsonl")
refused("a folder as data", oracle("folder", "."), ".")
refused("no items asked for", oracle("limit", "clean.jsonl", "--limit", 0), "0 leaves no item")

long = item("3" * 70)
write("long.jsonl", first, b"", long, third)
refused("an item that does not fit", oracle("long", "long.jsonl"), "long.jsonl, line 3: ", "70 tokens", "--skip-long")
result = oracle("skipped", "long.jsonl", "--skip-long", "--json")
found = json.loads(works("an item that does not fit is left out", result, "left out 1 of 3 items", ": line 3") or "{}")
check("the others keep their numbers", [row["sequence"] for row in rows("skipped")] == [0, 2])
check("their number is in the results", (found.get("items"), found.get("left_out")) == (2, 1))
refused("only items that do not fit", oracle("all", write("all.jsonl", long), "--skip-long"), "none of 1 items fits")

nll = ["--candidates", "full,exit:4", "--metric", "nll", "--null", 0, "--json"]
write("one_token.jsonl", item("sort 1=", "1"), item("sort 2=", "2"))
for name, options in [("one_token", []), ("one_token_no_halves", ["--halves", 0])]:
    found = json.loads(works(name, oracle(name, "one_token.jsonl", *options, fast=nll)) or "{}")
    check(f"{name}: nothing is cross-fitted", found.get("baselines", {"cross_fitted": 0})["cross_fitted"] is None)
refused("a reference without a token", oracle("reference", write("reference.jsonl", first, item("sort 1=", "")), fast=nll),
        "reference.jsonl, line 2: ")

rouge = ["--candidates", "full,exit:4", "--null", 0, "--halves", 0, "--max-new-tokens", 4]
write("chinese.jsonl", item("sort 312=", "你好"), item("sort 21=", "春"))
out = works("references without a token of ROUGE", oracle("chinese", "chinese.jsonl", fast=rouge),
            "warning: no reference has a token that ROUGE counts", "does not tell")
check("no claim from a quality of 0", "for the same quality" not in out, out)
found = json.loads(works("the same as JSON", oracle("chinese", "chinese.jsonl", "--json", fast=rouge)) or "{}")
check("no claim in JSON", found.get("says_nothing") and found["least_fraction"] is None and found["warnings"], found)
works("one reference without", oracle("some", write("some.jsonl", first, item("sort 21=", "春")), fast=rouge),
      "1 of 2 references have no token that ROUGE counts", ": line 2")

out = works("one item", oracle("one", write("one.jsonl", first)), "unknown: one item")
check("no interval of one item", "[0." not in out and "inf" not in out and "NaN" not in out, out)

works("a list with spaces", oracle("spaces", "clean.jsonl", fast=["--candidates", " full , exit:4", *FAST[2:]]))
check("a list with spaces: the same rows", rows("spaces") == clean)
for name, options in [
    ("--halves is only used", ["--halves", 0.5]),
    ("--null is only used", ["--cost", "gigaflops", "--null", 2]),
    ("--lanes is not used", ["--cost", "milliseconds", "--lanes", 2]),
    ("--calibration is not used", ["--calibration", "clean.jsonl"]),
]:
    fast = [part for part in FAST if part not in ("--null", 0)]
    works(name, oracle(name.split()[0][2:], "clean.jsonl", *options, fast=fast), f"warning: {name}")
check("nothing is told without a reason", "warning" not in oracle("quiet", "clean.jsonl")[2])
refused("a layer that does not exist", oracle("layer", "clean.jsonl", "--predictor-layer", 12), "--predictor-layer 12")
check("nothing was run for it", not os.path.exists("layer/run.jsonl"))

# Folders.
write("file", b"kept")
refused("a file in place of the folder", oracle("file", "clean.jsonl"), "file")
check("the file is kept", open("file", "rb").read() == b"kept\n")
os.makedirs("taken/summary.txt")
refused("a folder in place of a file", oracle("taken", "clean.jsonl"), "summary.txt", "folder")
check("nothing was run there", not os.path.exists("taken/run.jsonl"))
before = content("clean")
works("a finished run again", oracle("clean", "clean.jsonl"))
check("a finished run again: the same files", content("clean") == before)
for impossible in ("exit:13", "skip:40", "uniform:13", "schedule:13..4,to=5", "confidence:2"):
    wrong = ["--candidates", f"full,{impossible}", *FAST[2:]]
    refused(f"{impossible} with --overwrite", oracle("clean", "clean.jsonl", "--overwrite", fast=wrong), impossible)
check("impossible candidates: nothing has changed", content("clean") == before)
other = ["--candidates", "full,exit:2", *FAST[2:]]
refused("another run", oracle("clean", "clean.jsonl", fast=other), "--overwrite")
refused("another run's items", oracle("clean", "long.jsonl", "--skip-long", "--limit", 1), "--overwrite")
check("another run: nothing has changed", content("clean") == before)
open("clean/null.jsonl", "w").write("old\n")
works("another run that may overwrite", oracle("clean", "clean.jsonl", "--overwrite", fast=other))
check("its rows", [cell["candidate"] for cell in rows("clean")[0]["cells"]] == ["full", "exit:2"])
check("nothing is left of the other run", not os.path.exists("clean/null.jsonl"))
os.remove("clean/run.jsonl")
before = content("clean")
refused("results without a run", oracle("clean", "clean.jsonl", fast=other), "belongs to another run", "--overwrite")
check("results without a run: nothing has changed", content("clean") == before)
works("results without a run that may be overwritten", oracle("clean", "clean.jsonl", "--overwrite", fast=other))
for name in ("frontier.png", "summary.txt"):
    if os.path.exists("/dev/full"):
        shutil.rmtree("full", ignore_errors=True)
        os.mkdir("full")
        os.symlink("/dev/full", f"full/{name}")
        status, out, err = oracle("full", "clean.jsonl", "--json")
        check(f"{name} fails, and the JSON is printed", status == 1 and json.loads(out or "{}").get("items") == 2
              and name in err and os.path.islink(f"full/{name}"), f"{status} {out[:80]!r} {err!r}")

# The study.
lines = [item(f"sort {n}=", "".join(sorted(str(n)))) for n in (31, 42, 53, 64, 75, 86)]
study = lambda *options, tokens=8, **more: run("hidden_state_study", *SMALL, "--tokens", tokens, *options, **more)
texts = write("texts.jsonl", bom + json.dumps(lines[0]).encode(), b"", *lines[1:], end=b"\r\n")
found = json.loads(works("a study", study("--data", texts, "--out", "study", "--json")) or "{}")
check("its runs", len(found.get("runs", [])) == 8)
with open(texts, "rb") as file:
    again = json.loads(works("a study of standard input", study("--data", "-", "--json", input=file.read())) or "{}")
check("a study of standard input: the same", again.get("points") == found.get("points"))
refused("a study in the folder of another", study("--data", texts, "--out", "study"), "belongs to another study", "--overwrite")
works("a study that may overwrite", study("--data", texts, "--out", "study", "--overwrite"))
refused("a seed twice", study("--data", texts, "--seeds", "1,1"), "--seeds: 1 comes twice")
refused("a study of too few items", study("--data", "clean.jsonl"), "clean.jsonl: found 2 items")
refused("a study of a wrong line", study("--data", write("wrong.jsonl", *lines, b"", b"{}")), "wrong.jsonl, line 8: ")
longer = write("longer.jsonl", *lines, item("3" * 40, "1" * 40))
refused("a study of a long item", study("--data", longer, tokens=60), "longer.jsonl, line 7: ", "--skip-long")
works("a study without a long item", study("--data", longer, "--skip-long", tokens=60), "left out 1 of 7", ": line 7")
works("a study's unused option", study(), "warning: --tokens is only used with --data")
works("a negative bias", study("--data", texts, "--bias", "-1"))
if os.path.exists("/dev/full"):
    os.mkdir("full-study")
    os.symlink("/dev/full", "full-study/nll.png")
    status, out, err = study("--data", texts, "--out", "full-study", "--json")
    check("a study whose plot fails prints its JSON", status == 1 and "points" in json.loads(out or "{}") and "nll.png" in err,
          f"{status} {out[:80]!r} {err!r}")

print("all checks passed" if not failures else f"{failures} checks failed")
sys.exit(bool(failures))
