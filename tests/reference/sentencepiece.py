"""Compares the ids of texts with those of SentencePiece itself, for the vocabulary of a real model.

Needs the Python packages sentencepiece (0.2) and gguf (0.19), the example `generate`, and a model's tokenizer.model
(the package mistral-common, for instance, has some): python sentencepiece.py PATH/TO/generate tokenizer.model
The vocabulary is written into a GGUF file with a tiny model. The repository's own fixture, with a small vocabulary, is
made by crates/model/tests/fixtures/spm/make.py.
"""

import json
import os
import random
import subprocess
import sys
import tempfile

# This file has the package's name: its folder must not be searched for it.
sys.path = [path for path in sys.path if os.path.realpath(path) != os.path.dirname(os.path.realpath(__file__))]

import gguf  # noqa: E402
import numpy as np  # noqa: E402
import sentencepiece  # noqa: E402

TEXTS = [
    "Hello world", " two  spaces   and more    ", "tab\tand\nline\r\nends\n\n", "naïve café Ångström", "日本語 テキスト。 中文",
    "Привет, мир!", "مرحبا بالعالم", "मानक हिन्दी", "😀 👨\u200d👩\u200d👧 🇩🇪", "e\u0301a\u0300", "1234567 3.14 1e-5", "don't I'LL we'Ve",
    "def f(x):\n    return [x ** 2 for _ in range(3)]\n", "https://example.com/a?b=c&d=%20", "\u00a0x\u2003y\u200bz\ufeff", "a\u2581b",
    "ﬁ ﬀ Ａ１", "aaaaaaaaaaaaaaaaaaaaaaaa", "                         x", "mississippi bananas", "\u0001\u007f", "𝒳𝟙𐐀", "ß ẞ", "<0x41>",
]
WORDS = (
    "the of and to in is that model layer reading writes skipped tokens evening quick über naïve straße garçon señor Москва 東京 "
    "42 3.5 (yes) [no] {maybe} x=1; // # -- ... ??? \n \t    😀 don't"
).split(" ")


def texts():
    rng = random.Random(17)
    made = [" ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 16))) for _ in range(130)]
    noise = ["".join(rng.choice("ab e\n1.é中😀\u2581") for _ in range(rng.randrange(1, 20))) for _ in range(60)]
    return TEXTS + made + noise


def write(path, model):
    count, width = model.get_piece_size(), 32
    kinds = [2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i) else 1 for i in range(count)]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(width)
    writer.add_block_count(1)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([model.id_to_piece(i) for i in range(count)])
    writer.add_token_scores([model.get_score(i) for i in range(count)])
    writer.add_token_types(kinds)
    rng = np.random.default_rng(1)
    names = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    shapes = {"token_embd.weight": (count, width), "output_norm.weight": (width,)}
    shapes |= {f"blk.0.{name}.weight": (width, width) for name in names}
    shapes |= {f"blk.0.{name}.weight": (width,) for name in ("attn_norm", "ffn_norm")}
    for name, shape in shapes.items():
        writer.add_tensor(name, (rng.standard_normal(shape) * 0.1).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    generate, model_file = sys.argv[1:]
    model = sentencepiece.SentencePieceProcessor(model_file=model_file)
    wrong, given = 0, texts()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.gguf")
        write(path, model)
        for text in given:
            command = [generate, "--model", path, f"--prompt={text}", "--logits-top", "1"]
            found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["prompt_ids"]
            found = found[found[:1] == [model.bos_id()] :]
            if found != model.encode(text):
                wrong += 1
                print(f"{text!r}: {found}, not {model.encode(text)}")
    print(f"{len(given)} texts, {wrong} wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
