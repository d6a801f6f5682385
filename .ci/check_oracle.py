#!/usr/bin/env python3
"""Runs the `oracle` example undisturbed, and once more while killing it twice: both must leave the same file.

usage: check_oracle.py ORACLE MODEL.gguf SCRATCH     (SCRATCH has items.jsonl; results go there too)
"""
import json, os, random, subprocess, sys, time

oracle, gguf, scratch = sys.argv[1:]
def command(out):
    return [oracle, "--model", gguf, "--dtype", "f16", "--data", f"{scratch}/items.jsonl",
            "--candidates", "full,influence:26,skip:7,9,uniform:20", "--null", "1", "--max-new-tokens", "8", "--json",
            "--out", f"{scratch}/{out}"]
def lines(out):
    found = [json.loads(line) for line in open(f"{scratch}/{out}/run.jsonl")]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found]
seen = json.loads(subprocess.run(command("whole"), check=True, capture_output=True).stdout)
assert seen["items"] == 4 and seen["baselines"]["candidates"] == 4 and 0 < seen["least_fraction"] <= 1, seen
for row in ("cross_fitted", "label_free", "null_best", "best_static", "best_mix"):
    assert seen["baselines"][row], row
for name in ("run.jsonl", "evidence.jsonl", "null.jsonl", "frontier.csv", "frontier.svg", "frontier.png", "curves.csv",
             "controls.json", "candidates.csv", "allocation.csv", "router.json", "summary.txt"):
    assert os.path.getsize(f"{scratch}/whole/{name}"), name
# Killed while the second and the third item are under way, and then let alone.
for finished in (1, 2):
    run = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    path = f"{scratch}/killed/run.jsonl"
    while not (os.path.exists(path) and open(path).read().count("\n") > finished):
        assert run.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    time.sleep(random.random() * 0.2)
    run.kill()
    run.wait()
subprocess.run(command("killed"), check=True, capture_output=True)
assert lines("killed") == lines("whole")
print("ok   killed twice, and the same file")
