#!/usr/bin/env python3
"""Checks what people expect of the examples as programs: files, pipes, terminals, Ctrl-C, and options without effect.

usage: check_tools.py EXAMPLES TINY     (EXAMPLES is the folder of the binaries, TINY the folder of the embedded model)
"""
import json, os, pty, shutil, signal, subprocess, sys, threading, time

from example_checks import check, examples, finish, refused, run, tiny

sort = ["--prompt", "sort 312=", "--ignore-eos"]


def generated(*options, **more):
    """The JSON object of `generate`; None if it failed."""
    out = run("generate", *options, "--json", **more)
    return json.loads(out.stdout) if out.returncode == 0 else None


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)
    return name


def read(name):
    with open(name, "rb") as file:
        return file.read()


def warned(what, pattern, *options, example="generate"):
    out = run(example, *options)
    ok = out.returncode == 0 and "warning: " in out.stderr and pattern in out.stderr and "warning" not in out.stdout
    check(f"warning: {what}", ok, out.stderr)


# Prompts.
answer = generated(*sort, "--max-new-tokens", 8)
check("a prompt that begins with a hyphen", generated("--prompt", "- sort 312=", "--max-new-tokens", 2))
ids = answer["prompt_ids"]
spaced = generated("--prompt-ids", ", ".join(map(str, ids)), "--ignore-eos", "--max-new-tokens", 8)
check("a list with spaces", spaced and spaced["token_ids"] == answer["token_ids"], spaced)
write("prompt.txt", b"sort 312=")
from_file = ["--prompt-file", "prompt.txt", "--ignore-eos", "--max-new-tokens", 8]
check("a prompt from a file", (generated(*from_file) or {}).get("prompt_ids") == ids)
from_input = generated("--prompt-file", "-", "--ignore-eos", "--max-new-tokens", 8, input="sort 312=")
check("a prompt from standard input", (from_input or {}).get("prompt_ids") == ids)
write("prompt.txt", b"\xef\xbb\xbfsort 312=")
check("a byte order mark is no text", (generated(*from_file) or {}).get("prompt_ids") == ids)
write("prompt.txt", b"1=\r\n2=\r\n")
lines = generated("--prompt-file", "prompt.txt", "--max-new-tokens", 1)
check("line ends are kept", lines and lines["prompt_ids"] == generated("--prompt", "1=\r\n2=\r\n", "--max-new-tokens", 1)["prompt_ids"])
refused("a missing prompt file", "none.txt: cannot be read", "generate", "--prompt-file", "none.txt")
write("prompt.txt", b"\xff\xfe")
refused("a prompt file that is not UTF-8", "prompt.txt: cannot be read", "generate", "--prompt-file", "prompt.txt")
write("prompt.txt", b"1" * 1_000_000)
refused("a prompt file longer than the context", "1000000 tokens", "generate", "--prompt-file", "prompt.txt")
refused("an empty prompt file", "is empty", "generate", "--prompt-file", os.devnull)
refused("two prompts", "cannot be used with", "generate", "--prompt", "1", "--prompt-file", "prompt.txt")
stopped = generated(*sort, "--stop", "<|end|>", "--max-new-tokens", 40)
check("a special token as a stop text", stopped and stopped["stop"] in ("token", "string") and len(stopped["token_ids"]) < 40, stopped)

# Files.
for option in ("--record", "--depth-map"):
    refused(f"{option} into a missing folder", "cannot be written", "generate", *sort, option, "none/file")
    refused(f"{option} onto a folder", "folder", "generate", *sort, option, ".")
    refused(f"{option} without output", "--logits-top", "generate", *sort, option, "file", "--logits-top", 2)
    write("target", b"old")
    os.path.lexists("link") or os.symlink("target", "link")
    generated(*sort, "--max-new-tokens", 2, option, "link")
    check(f"{option} through a link", os.path.islink("link") and read("target") not in (b"", b"old"))
    os.path.lexists("pipe") or os.mkfifo("pipe")
    arrived = []
    reader = threading.Thread(target=lambda: arrived.append(read("pipe")), daemon=True)
    reader.start()
    generated(*sort, "--max-new-tokens", 2, option, "pipe")
    reader.join(20)
    check(f"{option} into a pipe", arrived and len(arrived[0]) > 20 and not os.path.isfile("pipe"), arrived)
    check(f"{option} into a device", generated(*sort, "--max-new-tokens", 2, option, os.devnull))
page = read("target")
check("the depth map is a whole page", page.startswith(b"<!doctype html>") and b"charset" in page, page[:80])
if os.path.exists("/dev/full"):
    # It can be opened, and every write fails.
    out = run("generate", *sort, "--max-new-tokens", 2, "--json", "--depth-map", "/dev/full")
    check("a failed file leaves the JSON", out.returncode == 1 and '"text":' in out.stdout and "/dev/full" in out.stderr, out)
    out = run("generate", *sort, "--max-new-tokens", 2, "--record", "/dev/full")
    check("a failed file leaves the report", out.returncode == 1 and "layers per token" in out.stdout, out)
generated(*sort, "--controller", "bernoulli:0.5", "--max-new-tokens", 8, "--record", "run.json")
refused("a replay under another --control-from", "control", "generate", *sort, "--controller", "replay:run.json",
        "--control-from", "last-prompt-token", "--max-new-tokens", 7, "--json")

refused("one file for two outputs", "both name", "generate", *sort, "--record", "out", "--depth-map", "./out")

# Options without effect, and tables that say what was run.
warned("a filter at temperature 0", "--top-p has no effect", *sort, "--top-p", 0.9)
warned("a seed without draws", "--seed has no effect", *sort, "--seed", 3)
warned("a calibration that nobody needs", "--calibration has no effect", *sort, "--calibration", write("text", b"sort 312="))
warned("--usage with --json", "--usage has no effect", *sort, "--usage", "--json")
warned("sampling with --logits-top", "--temperature has no effect", *sort, "--logits-top", 2, "--temperature", 1)
quiet = run("generate", *sort, "--temperature", 1, "--top-p", 0.9, "--seed", 3)
check("no warning of options with effect", quiet.returncode == 0 and quiet.stderr == "", quiet.stderr)
few = ["--budgets", 6, "--limit", 2]
warned("lengths for problems", "have no effect", *few, "--prompt-tokens", 200, example="compare_controllers")
compared = json.loads(run("compare_controllers", *few, "--json").stdout)
lengths = [compared[key] for key in ("prompt_tokens", "tokens")]
check("compare_controllers says the lengths in JSON", all(0 < x["min"] <= x["max"] < 64 for x in lengths), lengths)
table = run("compare_controllers", *few).stdout
check("compare_controllers says the lengths", table.startswith("2 items, prompts of ") and "32 + 24" not in table, table[:80])
write("digits", b"0123456789" * 40)
text = [*few, "--text", "digits"]
compared = json.loads(run("compare_controllers", *text, "--prompt-tokens", 12, "--json").stdout)
check("lengths of a text", compared["prompt_tokens"] == {"min": 12, "max": 12} and compared["tokens"] == {"min": 24, "max": 24})
refused("no items", "0 items", "compare_controllers", "--budgets", 6, "--limit", 0)
refused("no batch", "--batch", "compare_controllers", *few, "--batch", 0)
refused("items longer than the context", "context holds 64", "compare_controllers", *text, "--prompt-tokens", 200)
for control in ("all", "first-generated"):
    refused(f"one token under {control}", "at least 2", "compare_controllers", *text, "--tokens", 1, "--control-from", control)
check("budgets with spaces", run("compare_controllers", "--budgets", "6, 4", "--limit", 1).returncode == 0)
out = [*few, "--out", "comparison"]
check("compare_controllers writes its folder", run("compare_controllers", *out).returncode == 0 and os.path.isfile("comparison/kl.svg"))
refused("the folder of another comparison", "--overwrite", "compare_controllers", *out)
check("--overwrite replaces it", run("compare_controllers", *out, "--overwrite").returncode == 0)
os.remove("comparison/comparison.csv")
refused("the images of another comparison", "--overwrite", "compare_controllers", *out)
os.mkdir("half") or os.mkdir("half/kl.svg")
refused("a folder in place of an image", "kl.svg", "compare_controllers", *few, "--out", "half")
check("nothing was written there", os.listdir("half") == ["kl.svg"])
refused("a controller of too many layers", "13", "compare_controllers", *few, "--controller", "exit:13")
refused("a file in place of the folder", "folder", "compare_controllers", *few, "--out", "digits")
refused("no items for kv_policies", "0 items", "kv_policies", "--limit", 0)
os.mkdir("others")
write("others/quality.svg", b"other")
refused("quickstart into another's images", "--overwrite", "quickstart", "--out", "others", "--problems", 1)
refused("quickstart into a file", "folder", "quickstart", "--out", "digits", "--problems", 1)

# Pipes whose reader goes away.
for example, options in [
    ("generate", [*sort, "--max-new-tokens", 50, "--record", "closed.json"]),
    ("generate", [*sort, "--max-new-tokens", 50, "--json"]),
    ("compare_controllers", few),
    ("compare_controllers", [*few, "--json"]),
    ("kv_policies", ["--limit", 1, "--skipped", 2]),
    ("custom_controller", []),
    ("quickstart", ["--problems", 2, "--timed", 1, "--out", "images"]),
]:
    inner, outer = os.pipe()
    os.close(inner)
    out = subprocess.run([f"{examples}/{example}", *map(str, options)], stdout=outer, stderr=subprocess.PIPE, timeout=120)
    os.close(outer)
    check(f"a closed pipe is quiet: {example} {options[-1] if options else ''}", out.returncode in (0, 141) and not out.stderr, out)
check("the files of a closed pipe are written", json.loads(read("closed.json"))["n_layers"] == 12)


# Terminals.
def shown(example, *options, **variables):
    """What an example writes to a terminal, standard output and standard error together."""
    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
    child = subprocess.Popen([f"{examples}/{example}", *map(str, options)], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
                             env={**environment, **variables})
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        text += part
    os.close(ours)
    check(f"{example} ends well at a terminal", child.wait(60) == 0, text)
    return text


usage = [*sort, "--max-new-tokens", 4, "--usage"]
for example, options in [("generate", usage), ("custom_controller", []), ("compare_controllers", few)]:
    coloured = shown(example, *options, TERM="xterm-256color")
    check(f"{example} shows colours or a bar", b"\x1b" in coloured, coloured)
    for variables in ({"TERM": "xterm-256color", "NO_COLOR": "1"}, {"TERM": "dumb"}, {}):
        plain = shown(example, *options, **variables)
        check(f"{example} writes no escape codes with {variables}", b"\x1b" not in plain, plain)
    piped = run(example, *options)
    check(f"{example} writes no escape codes to a pipe", "\x1b" not in piped.stdout + piped.stderr)
wrong = run("generate", "--promt", "x", env={**os.environ, "TERM": "xterm-256color"})
check("no escape codes in errors to a pipe", wrong.returncode == 2 and "\x1b" not in wrong.stderr, wrong.stderr)


# Ctrl-C. The program waits at its first token, as its output is a pipe that is full.
def full_pipe():
    inner, outer = os.pipe()
    os.set_blocking(outer, False)
    try:
        while True:
            os.write(outer, b"." * 4096)
    except BlockingIOError:
        pass
    os.set_blocking(outer, True)
    return inner, outer


def until(what, condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    sys.exit(f"FAIL waited in vain for {what}")


def handles_interrupts(child):
    for line in read(f"/proc/{child.pid}/status").decode().splitlines():
        if line.startswith("SigCgt:"):
            return int(line.split()[1], 16) >> (signal.SIGINT - 1) & 1
    return False


def interrupted(presses, *options):
    inner, outer = full_pipe()
    child = subprocess.Popen([f"{examples}/generate", *map(str, options)], stdout=outer, stderr=subprocess.PIPE)
    os.close(outer)
    until("a handler of Ctrl-C", lambda: handles_interrupts(child))
    for _ in range(presses):
        child.send_signal(signal.SIGINT)
        time.sleep(0.3)
    if presses > 1:
        child.wait(20)
    text = b""
    while part := os.read(inner, 65536):
        text += part
    os.close(inner)
    errors = child.stderr.read().decode()
    return child.wait(60), text.lstrip(b".").decode(), errors


if sys.platform == "linux":
    long = [*sort, "--max-new-tokens", 50, "--controller", "uniform:6"]
    status, text, errors = interrupted(1, *long, "--record", "half.json", "--depth-map", "half.html")
    check("Ctrl-C has exit status 130", status == 130 and errors == "", (status, errors))
    check("Ctrl-C leaves the report", "stopped: interrupted" in text and "controller uniform:6" in text, text)
    passes = json.loads(read("half.json"))["sequences"].get("0", [])
    check("Ctrl-C leaves the record", len(passes) < 49, len(passes))
    check("Ctrl-C leaves the depth map", read("half.html").endswith(b"</html>\n"))
    started = time.monotonic()
    status, text, errors = interrupted(2, *long, "--record", "none.json")
    check("a second Ctrl-C ends at once", status == 130 and not os.path.exists("none.json"), (status, text, errors))

    # A conversation, with a model that has a chat template.
    shutil.copytree(tiny, "chat")
    settings = json.loads(read("chat/tokenizer_config.json"))
    settings["chat_template"] = "{% for message in messages %}{{ message.content }}{% endfor %}"
    write("chat/tokenizer_config.json", json.dumps(settings).encode())
    child = subprocess.Popen([f"{examples}/generate", "--model", "chat", "--chat", "--max-new-tokens", "4"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdin.write(b"sort 312=\n")
    child.stdin.flush()
    check("a conversation answers", child.stdout.readline().startswith(b"3"))
    child.send_signal(signal.SIGINT)
    status = child.wait(20)
    errors = child.stderr.read().decode()
    check("Ctrl-C ends a conversation with its report", status == 130 and "layers per token" in errors, (status, errors))
    out = run("generate", "--model", "chat", "--chat", "--max-new-tokens", 4, input="sort 312=\n")
    check("the end of the input ends a conversation", out.returncode == 0 and "layers per token" in out.stderr, out)

finish()
