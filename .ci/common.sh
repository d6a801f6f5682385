# What the steps share: names of files, and how to fail. Sourced by .ci/run.
gguf=models/SmolLM2-135M-Instruct.Q4_1.gguf
hf=models/hf
examples=target/debug/examples
generate=$examples/generate
# Reference numbers and evaluation texts that are not part of the repository; what needs them is skipped without them.
shared=../shared

fail() {
    echo "$*" >&2
    exit 1
}

# needs_examples: builds the examples, in no time if nothing has changed.
needs_examples() { cargo build --quiet --examples; }

# needs_model: gets the real model, in no time if it is there.
needs_model() { scripts/get_smollm2.sh --hf models; }

# ran_tests FILE: fails if a log of `cargo test` shows that no test ran.
ran_tests() { grep -Eq "test result: ok\. [1-9]" "$1" || fail "no test ran"; }
