#!/usr/bin/env bash
# Measures what a decode pass on CUDA takes of the processor, on a machine without a GPU: launches, and the time of the two
# threads that make them, without their waits; then the time of the whole pass. With the feature `fusion`, a third thread counts as the
# caller.
#
#   CUDA_PATH=.. scripts/processor_time.sh GPU_CHECK MODEL CONTROLLER [KV-POLICY]
#
# GPU_CHECK is the example gpu_check, built with `--features cuda`. Kernels run on scripts/null_cuda.c, which computes nothing.
# Needs Linux's perf and a C compiler.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,9p' "$0" >&2; exit 2; }
tokens=1000
here=$(cd "$(dirname "$0")" && pwd)
gpu_check=$(realpath "$1") model=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc -O2 -shared -fPIC -o "$work/libcuda.so" "$here/null_cuda.c"
cd "$work"
run() {
    LD_LIBRARY_PATH=$work XDG_CACHE_HOME=$work "$@" --device cuda --model "$model" decode --rows 1 --rounds 1 \
        --controllers "$controller" --tokens $tokens --kv-policy "$policy" >"$work/out" 2>&1 || { cat "$work/out"; exit 1; }
}
controller=$3 policy=${4:-propagate}
run perf record -q -o "$work/samples" -F 1999 "$gpu_check"
perf script -i "$work/samples" -F comm,time,ip,sym 2>/dev/null | python3 -c "
import re, sys
found = re.findall(r'^ *(\S+) +([\d.]+): +(.*)$', sys.stdin.read(), re.M)
out = open('out').read()
each = float(re.search(r'\"ms_per_pass\":([\d.]+)', out)[1]) / 1e3
# The measured run is the last; kernels were compiled before it.
last = max(float(time) for name, time, _ in found if name.startswith('DSD'))
first, last = last - 0.9 * each * $tokens, last - 0.1 * each * $tokens
busy = {'caller': 0, 'DSD': 0}
for name, time, symbol in found:
    # Threads wait in cubecl's channel and in the kernel.
    waits = re.search('^f{8}|submit_inner|custom_channel|enqueue', symbol)
    if first <= float(time) < last and not waits:
        busy['DSD' if name.startswith('DSD') else 'caller'] += 1
launches = int(re.search(r'launches: (\d+)', out)[1])
times = ', '.join(f'{name} {n / 1999 / (0.8 * $tokens) * 1e6:.0f}' for name, n in busy.items())
print(f'$controller, $policy: {launches / (2 * $tokens):.1f} launches per pass; microseconds: {times}, pass {each * 1e6:.0f}')
"
