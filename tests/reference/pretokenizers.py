"""Makes crates/model/tests/fixtures/pre/llama_cpp.json: the ids that llama.cpp gives for texts, per pre-tokenizer.

Needs the Python packages xllamacpp (made with 2026.10.11549), whose library holds llama.cpp, gguf and tokenizers.
Run it anywhere: python pretokenizers.py

The vocabulary is a small byte-level BPE trained on the texts themselves, without splitting them first, so that its
merges go across the boundaries that a pre-tokenizer sets: a wrong boundary changes the ids. A few tokens are in it that
no merges lead to, which only pre-tokenizers that ignore merges give.
"""

import ctypes
import glob
import importlib.util
import json
import os
import random
import tempfile
import unicodedata

import gguf
from tokenizers import Tokenizer, models, trainers

FIXTURE = os.path.join(os.path.dirname(__file__), "../../crates/model/tests/fixtures/pre/llama_cpp.json")

# Names that llama.cpp treats alike, the first of each list standing for all.
NAMES = [
    ["gpt-2", "phi-2", "mpt", "olmo", "trillion", "mellum"],
    ["smollm", "starcoder", "refact", "codeshell", "minerva-7b"],
    ["qwen2"],
    ["deepseek-r1-qwen", "megrez", "kormo"],
    ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0"],
    ["smaug-bpe", "dbrx"],
    ["tekken"],
    ["deepseek-llm"],
    ["deepseek-coder"],
    ["default"],
]

# Texts whose characters all versions of Unicode since 15 know: the engines' tables differ in newer ones.
TEXTS = [
    "", " ", "  ", "a  b", "a   b   ", "\n", " \n", "\n ", "a\n\nb", "a \n b", "x\r\ny\r\n\r\nz", "\t\tif x:\n\t\t\ty",
    "don't I'LL we'Ve you'RE 'tis 'S", "1", "12", "123", "1234", "1234567.89", "a1b22c333d4444", "１２３４ ½ ² Ⅷ",
    "$1,000.00!!!\n\n", "...\n\n\n...", " !?", "a-b_c", "naïve Ångström", "e\u0301a\u0300", "日本語 テキスト。", "मानक हिन्दी",
    "مرحبا", "😀😀 👨\u200d👩\u200d👧", "\u00a0x\u2003y", "\u0085\u2028z", "x = {'a': [1, 2]};  // ok", "\u200bzero", "'",
    "''s", " 's", "s'", "'\u017f it'\u017f", "\ufeffbom", "a\u0000b", "ÉCOLE école ÉcoLE", "McDonald's HTTPServer iPhone",
    "中文123数字 ４５６", "한국어 텍스트", "ελληνικά ΕΛΛΗΝΙΚΆ", "Привет МИР", "a/b//c/\n/d", "`code` ~t~ ^h^ |p| <a>=b</a>",
    "٣٤٥ ۱۲۳", "İstanbul ıÎ ǅ ǈ", "שלום עולם", "ไทย ภาษา", "\u3000全角\u3000空白", "“q” ‘s’ — d…", "a\tb\t\tc \t d",
    "x\n \n  \ny", "\r\r\n\n\r", "1e-5 0xFF 3.14159", "foo_bar::baz->qux", "🏳\ufe0f\u200d🌈 🇩🇪", "ﬁ ﬀ ｆｕｌｌ Ａ", "𝒳𝟙𐐀𐐨",
    "ＡＢ１２", "a\u200db\u200cc", "Zażółć GĘŚLĄ", "I'M YOU'D he'D'LL", "ŉ ʻokina ʹ", "ª º", "\u1112\u1161\u11ab", "ᾈ ᾳ ΐ Ώ Ω Å",
    "e\u0301\u0301 n\u0303", "\u0001\u001f\u007f", "  leading", "trailing  ", "\u1680\u202f\u205f x", "\u2029p\u000b\u000c x",
    "a\u00adb", "hello world HELLO WORLD", "x1 2y 33 z444",
]
# Tokens that no merges lead to; each is a piece of one of the texts.
ALONE = ["Ġworld", "HELLO", "Ġ1234", "McDonald"]


class Params(ctypes.Structure):
    # `llama_model_params`, with room to spare: it is passed in memory, and what is behind it is never read.
    _fields_ = [("bytes", ctypes.c_ubyte * 80)]


VOCAB_ONLY = 72  # the place of `vocab_only` in it


class LlamaCpp:
    def __init__(self):
        folder = os.path.dirname(importlib.util.find_spec("xllamacpp").origin)
        self.lib = lib = ctypes.CDLL(glob.glob(folder + "/*.so")[0])
        lib.llama_model_default_params.restype = Params
        lib.llama_model_load_from_file.restype = ctypes.c_void_p
        lib.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Params]
        lib.llama_model_get_vocab.restype = ctypes.c_void_p
        lib.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
        lib.llama_vocab_get_add_bos.restype = ctypes.c_bool
        lib.llama_vocab_get_add_bos.argtypes = [ctypes.c_void_p]
        lib.llama_tokenize.argtypes = [
            ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, ctypes.c_bool, ctypes.c_bool,
        ]
        callback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self.silence = callback(lambda level, text, data: None)
        lib.llama_log_set(self.silence, None)

    def vocabulary(self, path):
        params = self.lib.llama_model_default_params()
        params.bytes[VOCAB_ONLY] = 1
        model = self.lib.llama_model_load_from_file(path.encode(), params)
        assert model, path
        return self.lib.llama_model_get_vocab(model)

    def encode(self, vocabulary, text):
        data = text.encode()
        ids = (ctypes.c_int32 * (len(data) + 8))()
        count = self.lib.llama_tokenize(vocabulary, data, len(data), ids, len(ids), False, True)
        assert count >= 0
        return list(ids[:count])

    def adds_bos(self, vocabulary):
        return bool(self.lib.llama_vocab_get_add_bos(vocabulary))


def alphabet():
    """GPT-2's alphabet, in the order of the bytes."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    other = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(other)) for byte in range(256)]


def merges(texts, letters):
    library = Tokenizer(models.BPE())
    spelled = ["".join(letters[byte] for byte in text.encode()) for text in texts]
    trainer = trainers.BpeTrainer(vocab_size=620, initial_alphabet=letters, show_progress=False)
    library.train_from_iterator(spelled, trainer)
    return [" ".join(pair) for pair in json.loads(library.to_str())["model"]["merges"]]


def write(path, name, tokens, pairs):
    writer = gguf.GGUFWriter(path, "llama")
    for add in ("context_length", "embedding_length", "feed_forward_length"):
        getattr(writer, f"add_{add}")(64)
    writer.add_block_count(1)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges(pairs)
    writer.add_bos_token_id(0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def main():
    rng = random.Random(5)
    pool = list("aZ's19.!_\n\r\t  ") + ["é", "中", "😀", "\u00a0", "\u0301", "²", "É", "한", "，", "１", "/", "$", "\u3000", "я", "Я"]
    texts = TEXTS + ["".join(rng.choice(pool) for _ in range(rng.randrange(2, 16))) for _ in range(40)]
    letters = alphabet()
    pairs = merges(texts, letters)
    tokens = letters + [pair.replace(" ", "") for pair in pairs] + ALONE
    assert len(set(tokens)) == len(tokens)
    llama = LlamaCpp()
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        for group in NAMES:
            results = []
            for name in group:
                path = os.path.join(folder, "vocabulary.gguf")
                write(path, name, tokens, pairs)
                vocabulary = llama.vocabulary(path)
                # The models' own tokenizers compose characters first, which llama.cpp leaves out.
                compose = group[0] == "qwen2"
                given = [unicodedata.normalize("NFC", text) if compose else text for text in texts]
                results.append((llama.adds_bos(vocabulary), [llama.encode(vocabulary, text) for text in given]))
            assert all(result == results[0] for result in results), group
            cases.append({"names": group, "adds_bos": results[0][0], "ids": results[0][1]})
    fixture = {"merges": pairs, "alone": ALONE, "texts": texts, "cases": cases}
    with open(FIXTURE, "w", encoding="utf-8") as file:
        json.dump(fixture, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
