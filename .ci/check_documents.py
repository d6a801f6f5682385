#!/usr/bin/env python3
"""Checks documents and doc comments: links lead somewhere, the README is short, first sentences begin with a noun or a verb."""
import pathlib
import re
import subprocess
import sys

README_LINES = 160
RIDDLE = re.compile(r"(What|How|Whether|Where|Why|Which|Those|Whatever|Whoever)\b")
failures = []


def check(ok, message):
    if not ok:
        failures.append(message)


def heading_ids(text):
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)}


files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], capture_output=True, text=True, check=True).stdout.split("\n")
for name in filter(lambda name: name.endswith(".md"), files):
    path = pathlib.Path(name)
    text = path.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", text):
        if re.match(r"[a-z]+:", target) or "::" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = path.parent / file if file else path
        check(linked.exists(), f"{name}: nothing at {target}")
        if anchor and linked.suffix == ".md" and linked.exists():
            check(anchor in heading_ids(linked.read_text()), f"{name}: no heading for {target}")
lines = len(pathlib.Path("README.md").read_text().splitlines())
check(lines <= README_LINES, f"README.md has {lines} lines; at most {README_LINES} can be read in one go")

for name in filter(lambda name: name.endswith(".rs"), files):
    before = ""
    for number, line in enumerate(pathlib.Path(name).read_text().splitlines(), 1):
        doc = re.match(r"\s*//[/!] ?(.*)", line)
        if doc and not re.match(r"\s*//[/!]", before):
            check(not RIDDLE.match(doc[1]), f"{name}:{number}: begin with a noun or a verb that says what the item is or does: {doc[1]}")
        before = line

print("\n".join(failures) or "links, README and first sentences are in order")
sys.exit(bool(failures))
