#!/usr/bin/env bash
# Packs what scripts/gpu_check.sh needs on another machine, in archives of at most 60 MB.
#
#   scripts/gpu_kit.sh BINARY MODEL.gguf REFERENCE.json OUT
#
# BINARY is the example gpu_check, built with a GPU feature:
#
#   CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo build --features cuda --example gpu_check
#
# OUT gets kit.00, kit.01 and so on. Unpack them there with `cat kit.* | tar x`, and uncompress them with
# `xz -d gpu_check.xz SmolLM2-135M-Instruct.Q4_1.gguf.xz`.
set -euo pipefail
[ $# = 4 ] || { sed -n '2,12p' "$0"; exit 2; }
mkdir -p "$4"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
strip -o "$scratch/gpu_check" "$1"
xz -T0 -6 "$scratch/gpu_check"
cp "$2" "$scratch/SmolLM2-135M-Instruct.Q4_1.gguf"
xz -T0 -1 "$scratch/SmolLM2-135M-Instruct.Q4_1.gguf"
cp "$3" "$scratch/smollm2_f32.json"
rm -f "$4"/kit.*
tar c -C "$scratch" gpu_check.xz smollm2_f32.json SmolLM2-135M-Instruct.Q4_1.gguf.xz | split -b 58000000 -d - "$4/kit."
ls -l "$4"
