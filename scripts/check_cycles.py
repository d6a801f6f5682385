#!/usr/bin/env python3
"""Fails if modules of a crate depend on each other in a cycle.

Reads the `use` lines and inline paths of every source file, follows re-exports to the module that defines a name, and
looks at each folder's modules as a graph: no two siblings may need each other, directly or through others. Tests and a
module's use of its parent are not counted.
"""
import pathlib
import re
import sys

CRATES = ("model", "inference", "metrics", "cpu", "tiny")
USE = re.compile(r"^\s*(pub(?:\([^)]*\))? )?use ([\w:{][^;]*);", re.M)
PATH = re.compile(r"\b((?:crate|super|self)(?:::(?:super|\w+))+)")


def without_tests(text):
    text = re.sub(r"^\s*//.*$", "", text, flags=re.M)
    return re.sub(r"#\[cfg\(test\)\](?:\s*#\[[^\n]*\])*\s*(?:pub(?:\(crate\))? )?mod \w+ \{.*?^\}", "", text, flags=re.M | re.S)


def expand(tree):
    """Returns the single paths of a use tree: `a::{b, c::d}` gives `a::b` and `a::c::d`."""
    tree = re.sub(r"\s+as\s+\w+", "", tree.strip())
    if "{" not in tree:
        return [tree]
    head, rest = tree.split("{", 1)
    parts, depth, start = [], 0, 0
    rest = rest[: rest.rindex("}")]
    for i, char in enumerate(rest + ","):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append(rest[start:i])
            start = i + 1
    return [path for part in parts if part.strip() for path in expand(head.strip() + part.strip())]


class Crate:
    def __init__(self, source):
        self.uses, self.exports, self.modules = {}, {}, set()
        for file in source.rglob("*.rs"):
            parts = list(file.relative_to(source).with_suffix("").parts)
            if parts[-1] in ("mod", "lib"):
                parts.pop()
            if not any(part == "tests" or part.endswith("_tests") for part in parts):
                self.modules.add(tuple(parts))
                text = without_tests(file.read_text())
                trees = USE.findall(text)
                self.uses[tuple(parts)] = [p for _, tree in trees for p in expand(tree)] + PATH.findall(
                    USE.sub("", text))
                self.exports[tuple(parts)] = {path.split("::")[-1]: path for visible, tree in trees if visible
                                              for path in expand(tree)}

    def resolve(self, module, path, depth=0):
        """Returns the module that `path` in `module` leads to, or None if it leaves the crate."""
        at, segments = module, path.split("::")
        if segments[0] == "crate":
            at, segments = (), segments[1:]
        elif segments[0] not in ("super", "self") and at + (segments[0],) not in self.modules:
            return None
        for i, segment in enumerate(segments):
            if segment == "super":
                at = at[:-1]
            elif segment == "self":
                continue
            elif at + (segment,) in self.modules:
                at = at + (segment,)
            elif segment in self.exports.get(at, {}) and depth < 8:
                rest = "::".join([self.exports[at][segment]] + segments[i + 1:])
                return self.resolve(at, rest, depth + 1) or at
            else:
                break
        return at

    def edges(self):
        """Returns, for each parent module, the pairs of its children of which the first needs the second, with one example."""
        graphs = {}
        for module, paths in self.uses.items():
            for path in paths:
                target = self.resolve(module, path)
                if target is None:
                    continue
                common = 0
                while common < min(len(module), len(target)) and module[common] == target[common]:
                    common += 1
                if common < min(len(module), len(target)):
                    edge = (module[common], target[common])
                    graphs.setdefault(module[:common], {}).setdefault(edge, f"{'::'.join(module)} uses {path}")
        return graphs


def cycle(edges):
    """Returns the modules of one cycle, or an empty list."""
    following = {}
    for a, b in edges:
        following.setdefault(a, []).append(b)
    state, trail = {}, []

    def visit(node):
        state[node] = "open"
        trail.append(node)
        for other in following.get(node, []):
            if state.get(other) == "open":
                return trail[trail.index(other):] + [other]
            if other not in state and (found := visit(other)):
                return found
        state[node] = "done"
        trail.pop()
        return []

    for node in list(following):
        if node not in state and (found := visit(node)):
            return found
    return []


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    found = 0
    for name in CRATES:
        source = root / "crates" / name / "src"
        for parent, edges in sorted(Crate(source).edges().items()):
            if modules := cycle(edges):
                found += 1
                print(f"{name}: cycle in {'::'.join(parent) or 'the crate root'}: {' -> '.join(modules)}")
                for pair in zip(modules, modules[1:]):
                    print(f"    {edges[pair]}")
    print("no module depends on itself through others" if not found else f"{found} cycles")
    sys.exit(bool(found))


main()
