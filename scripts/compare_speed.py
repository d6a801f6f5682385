#!/usr/bin/env python3
"""Measures the speed and the memory of dynlayer beside llama.cpp, on this machine and with the same weights.

usage: compare_speed.py GENERATE MODEL [options]      (needs Linux or macOS and the packages xllamacpp and gguf)

    python3 -m venv /tmp/llama && /tmp/llama/bin/pip install xllamacpp gguf
    cargo build --release --example generate
    /tmp/llama/bin/python scripts/compare_speed.py target/release/examples/generate \\
        models/SmolLM2-135M-Instruct.Q4_1.gguf --decode 32,1024 --prefill 512 --skip --json speed.json

GENERATE is the example's binary, MODEL a GGUF file (not one in parts) or a Hugging Face folder. dynlayer loads MODEL
with --dtype f32, f16, q8 and stored; llama.cpp loads F32, F16 and Q8_0 files of the same weights, which this script
makes once in the cache folder, and for `stored` MODEL itself. Files made of a Hugging Face folder are for measuring
only: they have no real tokenizer and no scaling of positions.

In every round each process runs once: one engine, one type of weights, one prompt. The two engines of a pair run one
right after the other, and every other round runs in reverse order, so that no engine has the better times of the
machine. A speed is the median of the rounds; a ratio is the median of the rounds' ratios, with the least and the most
in parentheses. The engines' own clocks give the speeds: loading does not count, and the first new token counts as part
of the prompt. llama.cpp has its default settings, among them keys and values in f16 and an empty pass that warms it up;
dynlayer does not warm up. Peak memory is the largest resident set of a process, with the file's pages that it has read
in place and, for llama.cpp, the Python interpreter.
"""
import argparse
import collections
import contextlib
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TYPES = {"f32": "F32", "f16": "F16", "q8": "Q8_0", "stored": None}
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "smollm3": "smollm3"}
LENGTHS = "32,512,1024,2048,4096"
# Each loop ends by itself if this script is killed.
BUSY_LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(1000000): pass"
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


# GGUF files. This and llama.cpp run in processes of their own: a process that this one starts counts this one's memory
# as its own until it loads its program, so this one stays small.

def read_gguf(reader, writer):
    """Copies the metadata; yields the tensors as (name, shape, function that returns the values)."""
    import gguf
    own = ("general.architecture", "general.file_type", "general.quantization_version", "general.alignment")
    for name, field in reader.fields.items():
        if name == "split.count" and field.contents() > 1:
            sys.exit("the model is one of several parts; expected a single file")
        if name not in own and not name.startswith(("GGUF.", "split.")):
            sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type)
    for tensor in reader.tensors:
        shape = tuple(int(n) for n in reversed(tensor.shape))
        yield tensor.name, shape, lambda tensor=tensor: gguf.dequantize(tensor.data, tensor.tensor_type)


def read_folder(folder, config, writer):
    """Does the same with a Hugging Face folder; the metadata are those that llama.cpp needs to run token ids."""
    import gguf
    import numpy
    heads, width, layers = (config[key] for key in ("num_attention_heads", "hidden_size", "num_hidden_layers"))
    kv_heads, head_dim = config.get("num_key_value_heads") or heads, config.get("head_dim") or width // heads
    for key, value in {
        "context_length": config["max_position_embeddings"], "embedding_length": width, "block_count": layers,
        "feed_forward_length": config["intermediate_size"], "vocab_size": config["vocab_size"],
        "attention.head_count": heads, "attention.head_count_kv": kv_heads, "attention.key_length": head_dim,
        "attention.value_length": head_dim, "rope.dimension_count": head_dim,
    }.items():
        writer.add_uint32(f"{writer.arch}.{key}", value)
    writer.add_rope_freq_base(config.get("rope_theta") or (config.get("rope_parameters") or {}).get("rope_theta", 1e4))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([f"t{i}" for i in range(config["vocab_size"])])
    writer.add_token_types([gguf.TokenType.NORMAL] * config["vocab_size"])
    writer.add_token_merges(["t 0"])

    # For these architectures, llama.cpp interleaves the two halves of each head of the queries and keys.
    interleaved = {"q_proj": heads, "k_proj": kv_heads} if writer.arch in ("llama", "smollm3") else {}
    names = gguf.get_tensor_name_map(next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == writer.arch), layers)

    def load(file, at, name, dtype, shape):
        values = numpy.memmap(file, {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[dtype], "r", at, shape)
        if dtype == "BF16":
            values = (values.astype("<u4") << 16).view("<f4")
        parts = interleaved.get(name.split(".")[-2])
        return values.reshape(parts, 2, shape[0] // parts // 2, -1).swapaxes(1, 2) if parts else values

    for file in sorted(folder.glob("*.safetensors")):
        with open(file, "rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(size))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            new_name = names.get_name(name, try_suffixes=(".weight", ".bias")) or sys.exit(f"unknown tensor {name}")
            values = (file, 8 + size + entry["data_offsets"][0], name, entry["dtype"], tuple(entry["shape"]))
            yield new_name, tuple(entry["shape"]), lambda values=values: load(*values)


def make_gguf(model, out, kind):
    """Writes the weights of `model` as a GGUF file of type `kind`, tensor by tensor; vectors stay f32."""
    import gguf
    import numpy
    part = out.with_suffix(".part")
    if model.is_dir():
        config = json.loads((model / "config.json").read_text())
        known = ", ".join(ARCHITECTURES)
        architecture = ARCHITECTURES.get(config["model_type"]) or sys.exit(f"{model} is of none of the types {known}")
        writer = gguf.GGUFWriter(part, architecture)
        tensors = list(read_folder(model, config, writer))
    else:
        reader = gguf.GGUFReader(model)
        writer = gguf.GGUFWriter(part, reader.fields["general.architecture"].contents())
        tensors = list(read_gguf(reader, writer))
    writer.add_file_type({"F32": 0, "F16": 1, "Q8_0": 7}[kind])
    types = {}
    for name, shape, _ in tensors:
        fitting = "F32" if len(shape) == 1 else "F16" if kind == "Q8_0" and shape[-1] % 32 else kind
        types[name] = gguf.GGMLQuantizationType[fitting]
        stored = gguf.quant_shape_to_byte_shape(shape, types[name])
        writer.add_tensor_info(name, stored, numpy.dtype("uint8"), int(numpy.prod(stored)), types[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, shape, load in tensors:
        values = numpy.ascontiguousarray(load(), numpy.float32).reshape(shape)
        writer.write_tensor_data(gguf.quants.quantize(values, types[name]))
    writer.close()
    os.replace(part, out)


def gguf_file(model, kind, cache):
    """Returns the file of `model`'s weights in type `kind`; makes it if there is none, or one older than `model`."""
    if kind is None:
        return model
    out = cache / f"{model.stem}-{hashlib.sha256(str(model.resolve()).encode()).hexdigest()[:8]}.{kind}.gguf"
    sources = list(model.glob("*.safetensors")) if model.is_dir() else [model]
    if not out.exists() or out.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        print(f"making {out}", file=sys.stderr)
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, __file__, "make-gguf", model, out, kind], check=True)
    return out


# One process of either engine.

def prompt_ids(length):
    return [100 + i * 37 % 4000 for i in range(length)]


def run_llama_cpp(file, threads, prompt, passes):
    """Prints llama.cpp's speeds as `generate --json` prints dynlayer's."""
    import xllamacpp
    python = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT / 1e6
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.n_ctx = prompt + passes + 64
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_gpu_layers = 0
    params.n_parallel = 1
    answer = xllamacpp.Server(params).handle_completions({
        "prompt": prompt_ids(prompt), "n_predict": passes + 1, "temperature": 0, "ignore_eos": True,
        "cache_prompt": False})
    timings = (json.loads(answer) if isinstance(answer, (str, bytes)) else answer)["timings"]
    assert timings["prompt_n"] == prompt and timings["predicted_n"] == passes + 1, timings
    print(json.dumps({"prefill_tok_s": prompt * 1e3 / timings["prompt_ms"], "python_mb": python,
                      "decode_tok_s": passes * 1e3 / timings["predicted_ms"] if passes else None}))


def measure(command, threads):
    """Returns what a process prints as JSON, with its peak memory; a text if it fails."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
                                   env=environment)
        try:
            output = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            return f"exit status {process.returncode}: {' / '.join(log.read().strip().splitlines()[-3:])}"
    found = json.loads(next(line for line in reversed(output.splitlines()) if line.startswith("{")))
    found["peak_mb"] = usage.ru_maxrss * MAXRSS_UNIT / 1e6
    kept = ("prefill_tok_s", "decode_tok_s", "peak_mb", "load_s", "layers_per_token", "n_layers", "python_mb")
    return {key: round(found[key], 3) for key in kept if found.get(key) is not None}


@contextlib.contextmanager
def busy_processes(count):
    loops = [subprocess.Popen([sys.executable, "-c", BUSY_LOOP]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


# All processes in turn, and the tables.

Job = collections.namedtuple("Job", "engine weights prompt controller busy", defaults=("full", 0))


class Results:
    def __init__(self):
        self.runs, self.failures = collections.defaultdict(dict), {}

    def values(self, job, field):
        return {number: run[field] for number, run in self.runs[job].items() if field in run}

    def median(self, job, field, digits=1):
        values = self.values(job, field).values()
        return f"{statistics.median(values):.{digits}f}" if values else "-"

    def ratio(self, above, below, field):
        a, b = self.values(above, field), self.values(below, field)
        ratios = [a[number] / b[number] for number in a if number in b]
        spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
        return f"{statistics.median(ratios):.2f}{spread}" if ratios else "-"


def tables(results, arguments):
    """Yields each table as (title, header, rows)."""
    lengths = sorted({*arguments.decode, *arguments.prefill})
    header = ["weights", "prompt", "dynlayer", "llama.cpp", "dynlayer / llama.cpp"]

    def pairs(field, prompts, busy=0, digits=1):
        for weights in arguments.weights:
            for prompt in prompts:
                ours, theirs = (Job(engine, weights, prompt, busy=busy) for engine in ("dynlayer", "llama.cpp"))
                yield [f"{weights} / {TYPES[weights] or 'the same file'}", str(prompt),
                       results.median(ours, field, digits), results.median(theirs, field, digits),
                       results.ratio(ours, theirs, field)]

    for busy in sorted({0, arguments.busy}):
        beside = f", beside {busy} busy processes" if busy else ""
        yield f"Decode, tokens/s{beside}", header, list(pairs("decode_tok_s", arguments.decode, busy))
        yield f"Prefill, tokens/s{beside}", header, list(pairs("prefill_tok_s", arguments.prefill, busy))
    if arguments.busy:
        alone = [Job(engine, weights, prompt) for weights in arguments.weights for prompt in lengths
                 for engine in ("dynlayer", "llama.cpp")]
        yield (f"Speed beside {arguments.busy} busy processes / alone",
               ["engine", "weights", "prompt", "decode", "prefill"],
               [[job.engine, job.weights, str(job.prompt),
                 *(results.ratio(job._replace(busy=arguments.busy), job, f"{what}_tok_s")
                   for what in ("decode", "prefill"))] for job in alone])
    if arguments.skip:
        prompt, rows = min(arguments.decode), []
        for weights in arguments.weights:
            full, skip = (Job("dynlayer", weights, prompt, spec) for spec in ("full", arguments.skip))
            rows.append([weights, *(results.median(job, "decode_tok_s") for job in (full, skip)),
                         results.ratio(full, skip, "decode_tok_s"),
                         " / ".join(results.median(skip, field) for field in ("layers_per_token", "n_layers"))])
        yield (f"Decode of dynlayer, prompt {prompt}",
               ["weights", "full depth, tokens/s", f"{arguments.skip}, tokens/s", "time / full depth", "layers / all"],
               rows)
    python = [run["python_mb"] for runs in results.runs.values() for run in runs.values() if "python_mb" in run]
    yield (f"Peak memory, MB{f' (llama.cpp with {max(python):.0f} MB of Python)' if python else ''}", header,
           list(pairs("peak_mb", lengths, digits=0)))


def processor():
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def parse():
    def numbers(text):
        return sorted({int(part) for part in text.split(",")})

    def weights(text):
        unknown = set(text.split(",")) - set(TYPES)
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; expected some of {', '.join(TYPES)}")
        return text.split(",")

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dynlayer" / "compare_speed"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("generate", type=Path, help="the binary of the example generate, built with --release")
    add("model", type=Path, help="a GGUF file or a Hugging Face folder")
    add("--weights", type=weights, default=",".join(TYPES), help="default: %(default)s")
    add("--decode", type=numbers, default=LENGTHS, help="prompts, in tokens, to decode after (%(default)s)")
    add("--prefill", type=numbers, default=LENGTHS, help="prompts, in tokens, to time themselves (%(default)s)")
    add("--new", type=int, default=64, help="decode passes after a prompt (%(default)s)")
    add("--rounds", type=int, default=5, help="default: %(default)s")
    add("--threads", type=int, default=cores, help="default: all cores, here %(default)s")
    add("--busy", type=int, default=0, metavar="N", help="measure everything also beside N busy processes")
    add("--skip", nargs="?", const="uniform:20", metavar="CONTROLLER",
        help="also time dynlayer with this controller (uniform:20), after the shortest prompt of --decode")
    add("--cache", type=Path, default=cache, help="the folder of the files made (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="write everything to this file, after each round")
    arguments = parser.parse_args()
    for file in (arguments.generate, arguments.model):
        if not file.exists():
            parser.error(f"there is no {file}")
    if arguments.model.is_dir() and "stored" in arguments.weights:
        print("without `stored`, as llama.cpp cannot load a Hugging Face folder", file=sys.stderr)
        arguments.weights.remove("stored")
    return arguments


def main():
    arguments, results = parse(), Results()
    conditions = {
        "date": datetime.datetime.now().isoformat(" ", "minutes"), "processor": processor(),
        "threads": arguments.threads, "rounds": arguments.rounds, "new tokens": arguments.new,
        "model": str(arguments.model), "generate": str(arguments.generate),
        "xllamacpp": importlib.metadata.version("xllamacpp"), "load before": round(os.getloadavg()[0], 2)}
    files = {weights: gguf_file(arguments.model, TYPES[weights], arguments.cache) for weights in arguments.weights}

    def command(job):
        passes = arguments.new if job.prompt in arguments.decode else 0
        if job.engine == "llama.cpp":
            numbers = map(str, (arguments.threads, job.prompt, passes))
            return [sys.executable, __file__, "run-llama-cpp", str(files[job.weights]), *numbers]
        return [str(arguments.generate.resolve()), "--model", str(arguments.model), "--dtype", job.weights, "--json",
                "--prompt-ids", ",".join(map(str, prompt_ids(job.prompt))), "--controller", job.controller,
                "--ignore-eos", "--max-new-tokens", str(passes + 1)]

    def write_json():
        everything = {
            "conditions": conditions,
            "runs": [{**job._asdict(), "round": number, **run}
                     for job, runs in results.runs.items() for number, run in runs.items()],
            "failures": [{**job._asdict(), "error": error} for job, error in results.failures.items()],
            "tables": [dict(zip(("title", "header", "rows"), table)) for table in tables(results, arguments)]}
        arguments.json.write_text(json.dumps(everything, indent=1) + "\n")

    jobs = []
    for prompt in sorted({*arguments.decode, *arguments.prefill}):
        for weights in arguments.weights:
            if arguments.skip and prompt == min(arguments.decode):
                jobs.append(Job("dynlayer", weights, prompt, arguments.skip))
            jobs += [Job(engine, weights, prompt, busy=busy) for busy in sorted({0, arguments.busy})
                     for engine in ("dynlayer", "llama.cpp")]
    with contextlib.suppress(KeyboardInterrupt):  # the tables then have what was measured
        for number in range(1, arguments.rounds + 1):
            for job in [job for job in jobs[::1 if number % 2 else -1] if job not in results.failures]:
                with busy_processes(job.busy):
                    found = measure(command(job), arguments.threads)
                if isinstance(found, str):
                    results.failures[job] = found
                else:
                    results.runs[job][number] = found
                print(f"round {number}:", *job, found, file=sys.stderr)
            if arguments.json:
                write_json()

    print(", ".join(f"{key} {value}" for key, value in conditions.items()))
    for title, header, rows in tables(results, arguments):
        print(f"\n{title}:\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
        print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    for job, error in results.failures.items():
        print("failed:", *job, error, file=sys.stderr)
    sys.exit(bool(results.failures))


if __name__ == "__main__":
    if sys.argv[1:2] == ["make-gguf"]:
        make_gguf(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
    elif sys.argv[1:2] == ["run-llama-cpp"]:
        run_llama_cpp(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        main()
