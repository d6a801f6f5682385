#!/usr/bin/env bash
# Checks and measures dynlayer on a GPU, on a machine that needs a driver, bash and Python only: no Rust, no network.
#
#   scripts/gpu_check.sh KIT OUT [DEVICE] [STEP..]
#
# KIT is what scripts/gpu_kit.sh packed: the binary `gpu_check`, SmolLM2 as GGUF and reference logits. OUT gets a log per step
# and results.jsonl. DEVICE is `cuda` by default. Without STEP all steps run, in this order, each with a limit of time, so that a
# run that is cut off has told the most important things:
#
#   device      names the device
#   memory      asks for more memory than there is, which must be an error, and goes on
#   reference   SmolLM2's top logits and greedy ids, f32 and f16
#   embedded    right answers of the embedded model under four controllers
#   routes      random routes: skipped, masked, gathered, and on the CPU
#   decode      decode by controller, batch 1, f32 and f16, and with deferred keys and values
#   transformers  the same model in transformers on the same GPU, if PyTorch is there
#   prefill     prompts of several lengths
#   costs       a host read, gathering rows, a matrix product
#   first       first passes, with an empty and with a warm cache of tuning
#   batch       decode in batches of 8 and 64
#
# LIMIT (by default 1) multiplies the limits of time; QUICK=1 measures less, for a dry run on software.
set -uo pipefail
[ $# -ge 2 ] || { sed -n '2,25p' "$0"; exit 2; }
kit=$(cd "$1" && pwd) && mkdir -p "$2" && out=$(cd "$2" && pwd)
device=${3:-cuda}
shift $(($# < 3 ? $# : 3))
here=$(cd "$(dirname "$0")" && pwd)
steps=${*:-device memory reference embedded routes decode transformers prefill costs first batch}
model=$kit/SmolLM2-135M-Instruct.Q4_1.gguf
results=$out/results.jsonl
limit=${LIMIT:-1}
quick=${QUICK:-}

# Kernels with exp, sin or cos need the CUDA toolkit's libdevice.
if [ -z "${CUDA_PATH:-}" ]; then
    found=$(find /usr/local/cuda* /opt/cuda* /usr/lib/cuda* /usr/lib/python3* /usr/local/lib /opt -name libdevice.10.bc 2>/dev/null | head -n 1)
    [ -n "$found" ] && export CUDA_PATH=${found%/nvvm/libdevice/libdevice.10.bc}
fi
# What is tuned is kept in the working directory's folder, here a fresh one.
export XDG_CACHE_HOME=$out/cache
mkdir -p "$XDG_CACHE_HOME"
cd "$out" || exit 1
printf '[compilation]\ncache = true\n' >cubecl.toml

# step SECONDS NAME COMMAND..: runs a command with a limit of time, its output in a log, and notes the most memory of the GPU
# that was in use meanwhile.
step() {
    local seconds=$1 name=$2 status sampler='' started=$SECONDS
    shift 2
    seconds=$(python3 -c "import sys; print(int(float(sys.argv[1]) * float(sys.argv[2])))" "$seconds" "$limit")
    if command -v nvidia-smi >/dev/null; then
        nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -lms 500 >"$out/$name.memory" 2>/dev/null &
        sampler=$!
    fi
    timeout -k 5 "$seconds" "$@" >"$out/$name.log" 2>&1
    status=$?
    if [ -n "$sampler" ]; then
        kill "$sampler" 2>/dev/null && wait "$sampler" 2>/dev/null
        echo "{\"command\": \"memory of $name\", \"device\": \"$device\", \"dtype\": \"\", \"peak MiB\": $(sort -n "$out/$name.memory" | tail -n 1 | sed 's/^$/0/').0}" >>"$results"
    fi
    [ $status = 124 ] && echo "stopped after $seconds s" >>"$out/$name.log"
    printf '%-22s %4s s  %s\n' "$name" $((SECONDS - started)) "$([ $status = 0 ] && (grep '^SKIPPED' "$out/$name.log" || echo ok) || echo "FAILED ($status): $(tail -n 1 "$out/$name.log" | cut -c 1-200)")"
}

check() { # SECONDS NAME ARGUMENTS..
    local seconds=$1 name=$2
    shift 2
    step "$seconds" "$name" "$kit/gpu_check" --device "$device" --json "$results" "$@"
}

for name in $steps; do
    case $name in
        device)
            command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
            check 60 device device
            grep '^adapter' "$out/device.log"
            ;;
        memory) check 60 memory memory ;;
        reference)
            for dtype in f32 f16; do
                check 100 "reference_$dtype" --dtype $dtype --model "$model" reference "$kit/smollm2_f32.json"
            done
            ;;
        embedded) check 60 embedded embedded --problems $([ -n "$quick" ] && echo 2 || echo 10) ;;
        routes) check 100 routes --model "$model" routes --routes $([ -n "$quick" ] && echo 2 || echo 20) ;;
        decode)
            for dtype in f32 f16; do
                if [ -n "$quick" ]; then
                    check 120 "decode_$dtype" --dtype $dtype --model "$model" decode --rows 1 --tokens 3 --rounds 1 --controllers full,exit:10
                else
                    check 60 "decode_$dtype" --dtype $dtype --model "$model" decode --rows 1
                fi
            done
            [ -n "$quick" ] || check 40 decode_deferred --model "$model" decode --rows 1 --controllers full,exit:20,exit:10 --kv-policy deferred
            ;;
        batch)
            for dtype in f32 f16; do
                plan=(--rows 8,64 --tokens 32 --rounds 2 --controllers full,uniform:10,exit:10)
                [ -n "$quick" ] && plan=(--rows 2 --tokens 3 --rounds 1 --controllers full,exit:10)
                check 60 "batch_$dtype" --dtype $dtype --model "$model" decode "${plan[@]}"
            done
            ;;
        prefill) check 60 prefill --model "$model" prefill ${quick:+--lengths 32} ;;
        costs) check 60 costs --model "$model" costs ${quick:+--times 2 --rows 16} ;;
        first)
            for cache in empty warm; do
                [ $cache = empty ] && rm -rf "$XDG_CACHE_HOME/cubecl"
                check 100 "first_$cache" --model "$model" first ${quick:+--lengths 9,10}
            done
            ;;
        transformers)
            if python3 -c 'import torch, transformers, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
                for dtype in f32 f16; do
                    step 90 "transformers_$dtype" python3 "$here/gpu_transformers.py" --dtype $dtype --rows 1 --rounds 2 --json "$results"
                done
            else
                echo "transformers           SKIPPED: no PyTorch that sees a GPU"
            fi
            ;;
        *) echo "no step $name" >&2; exit 2 ;;
    esac
done
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=memory.used --format=csv,noheader
python3 "$here/gpu_table.py" "$results" | tee "$out/table.txt"
