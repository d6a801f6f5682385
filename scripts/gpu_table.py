#!/usr/bin/env python3
"""Prints the results of gpu_check.sh as a short table. usage: gpu_table.py results.jsonl"""
import json
import sys

failures = 0
for line in open(sys.argv[1]):
    row = json.loads(line)
    head = f"{row['command']} {row['device']} {row['dtype']}"
    failed = row.get("failures", 0) + ("error" in row)
    failures += failed
    print(f"{head}{'  ' + row['error'] if 'error' in row else ''}{f'  {failed} FAILED' if failed else ''}")
    for name, value in row.items():
        if isinstance(value, dict) and "ok" in value:
            print(f"  {'ok  ' if value['ok'] else 'FAIL'} {name}: {value['found']}")
        elif isinstance(value, dict):
            cells = [f"{key} {number:.4g}" if isinstance(number, float) else f"{key} {number}" for key, number in value.items()]
            print(f"  {name}: {', '.join(cells)}")
        elif isinstance(value, float):
            print(f"  {name}: {value:.4g}")
print(f"{failures} failures")
sys.exit(bool(failures))
