#!/usr/bin/env bash
# Installs the LLVM that the `cuda` feature needs, for machines that cannot reach GitHub releases.
#
# burn 0.22's CUDA backend links LLVM 23 statically, and a build script downloads a prebuilt one from GitHub releases
# unless it is installed already. This script puts one of the same major version, from the PyPI package mlc-llvm-static,
# in the folder where the build script looks for it. Run it once; afterwards the build needs the crates registry only.
# Checked with burn 0.22.1.
# Needs python3 with the venv module and some 2 GB of disk in the user's data folder.
set -euo pipefail

dest=${XDG_DATA_HOME:-$HOME/.local/share}/tracel/tracel-llvm-23.1.0-4
marker=.tracel-llvm-installed # what the build script looks for

if [ -e "$dest/$marker" ]; then
    echo "$dest exists already"
    exit 0
fi
if [ -e "$dest" ] && [ ! -L "$dest" ]; then
    echo "$dest exists and is incomplete; remove it first" >&2
    exit 1
fi
mkdir -p "$(dirname "$dest")"
python3 -m venv "$dest.venv"
"$dest.venv/bin/pip" install -q --disable-pip-version-check 'mlc-llvm-static[all]==23.1.1.post0'
prefix=$("$dest.venv/bin/python" -m mlc_llvm_static.config --prefix)
ln -sfn "$prefix" "$dest"
touch "$prefix/$marker"
echo "LLVM $("$dest/bin/llvm-config" --version) at $dest"
