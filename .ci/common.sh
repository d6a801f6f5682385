# Names of files and functions that the steps share. Sourced by .ci/run.
gguf=models/SmolLM2-135M-Instruct.Q4_1.gguf
hf=models/hf
examples=target/debug/examples
generate=$examples/generate
# Reference numbers and evaluation texts that are not part of the repository; checks that need them are skipped without them.
shared=../shared

fail() {
    echo "$*" >&2
    exit 1
}

# needs_examples: builds the examples; quick if nothing has changed.
needs_examples() { cargo build --quiet --examples; }

# needs_model: downloads the real model; quick if it exists already.
needs_model() { scripts/get_smollm2.sh --hf models; }

# ran_tests FILE: fails if a log of `cargo test` shows that no test ran.
ran_tests() { grep -Eq "test result: ok\. [1-9]" "$1" || fail "no test ran"; }
