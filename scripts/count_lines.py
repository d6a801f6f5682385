#!/usr/bin/env python3
"""Counts the lines of code of each library crate: no blank lines, comments, documentation or tests.

usage: scripts/count_lines.py [--files] [--check]

--files lists every file; --check fails if a crate, or all crates together, exceed their limit.
"""
import pathlib
import re
import sys

CRATES = ("model", "inference", "metrics", "cpu")
# Code is a cost: a commit that raises a limit says why. The last ones were for adapters beside the weights, their training, and
# certificates with the controllers that they name, shards of runs, rows of texts that begin alike, tokens that a GPU chooses, and
# the keys and values of several layers in one launch, and reads of GPU kernels ahead of their use.
CRATE_LIMIT, TOTAL_LIMIT = 12_730, 30_510
TEST_FILE = re.compile(r"(^|/)(tests|[a-z_]*_tests)(/|\.rs$)")


def code_lines(text):
    """Returns the number of code lines in one source file; inline `#[cfg(test)] mod` blocks do not count."""
    count = 0
    in_comment = in_tests = pending = False
    for line in text.splitlines():
        stripped = line.strip()
        if in_tests:
            # rustfmt puts the closing brace of a top-level module in the first column.
            in_tests = line.rstrip() != "}"
            continue
        if in_comment:
            in_comment = "*/" not in stripped
            continue
        if not stripped or stripped.startswith("//"):
            continue
        if stripped.startswith("/*"):
            in_comment = "*/" not in stripped
            continue
        if stripped.startswith("#[cfg(test)]") or stripped.startswith("#[cfg(all(test"):
            pending = True
            continue
        if pending and stripped.startswith("#["):
            continue
        if pending:
            pending = False
            if stripped.startswith(("mod ", "pub mod ", "pub(crate) mod ")):
                in_tests = stripped.endswith("{")
                continue
            count += 1  # the attribute of an item other than a module
        count += 1
    return count


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    total, over = 0, False
    for crate in CRATES:
        source = root / "crates" / crate / "src"
        files = {path: code_lines(path.read_text()) for path in sorted(source.rglob("*.rs"))
                 if not TEST_FILE.search(str(path.relative_to(source)))}
        if "--files" in sys.argv[1:]:
            for path, lines in files.items():
                print(f"{lines:6} {path.relative_to(root)}")
        print(f"{sum(files.values()):6} {crate}, {len(files)} files")
        total += sum(files.values())
        over |= sum(files.values()) > CRATE_LIMIT
    print(f"{total:6} in all")
    if "--check" in sys.argv[1:] and (over or total > TOTAL_LIMIT):
        sys.exit(f"at most {CRATE_LIMIT} lines in a crate and {TOTAL_LIMIT} in all")


main()
