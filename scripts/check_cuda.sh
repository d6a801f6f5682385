#!/usr/bin/env bash
# Checks that the `cuda` feature compiles, in tests, examples and benches too. Needs no GPU and no CUDA toolkit.
#
# burn's CUDA backend links LLVM 23, which its build script downloads from GitHub releases unless it is installed where
# that script looks. On a machine that reaches only PyPI, run scripts/offline_llvm.sh once before.
# The first check builds burn's GPU crates, some 20 minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo check --release --features cuda --all-targets "$@"
