#!/usr/bin/env bash
# Measures what a decode pass on CUDA takes of the processor, on a machine without a GPU: launches, and the time of the two
# threads that make them, without their waits.
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
perf report -i "$work/samples" --sort comm,symbol -F sample,comm,symbol 2>/dev/null | python3 -c "
import re, sys
# One run warms up. Threads wait in cubecl's channel and in the kernel.
passes, busy = 2 * $tokens, {'DSU': 0, 'DSD': 0}
for line in sys.stdin:
    found = re.match(r'\s*(\d+)\s+(DS[UD])-\S+\s+\[(.)\] (.*)', line)
    if found and found[3] != 'k' and not re.search('submit_inner|custom_channel|enqueue', found[4]):
        busy[found[2]] += int(found[1])
launches = int(re.search(r'launches: (\d+)', open('out').read())[1])
times = ', '.join(f'{name} {n / 1999 / passes * 1e6:.0f}' for name, n in busy.items())
print(f'$controller, $policy: {launches / passes:.1f} launches per pass; microseconds: {times}')
"
