"""Writes crates/model/tests/fixtures/gguf/every_type.{gguf,f32}: a tensor of random bytes of every ggml type that the
reader supports, and the values that the package `gguf` gives for it.

Run once, with gguf 0.19.0 and numpy 2.4.6:

    python tests/reference/gguf_types.py

The files are deterministic. Everything in a block is random, also the scales, of which only infinities and NaN are left
out. The last four blocks of a block type are at the edges: a scale of zero, a subnormal one, and quants and sub-scales
of all zeros and all ones with the largest scales.

every_type.f32 holds little-endian f32, tensor after tensor in the order of their names (bytewise).
"""

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

FLOATS = {T.F32: (np.uint32, 0x7F80_0000), T.F16: (np.uint16, 0x7C00), T.BF16: (np.uint16, 0x7F80)}
# Where in a block the f16 scales are.
SCALES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q2_K: [80, 82], T.Q3_K: [108],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0]}
BLOCKS, ROWS = 8, 4
FOLDER = Path(__file__).parents[2] / "crates/model/tests/fixtures/gguf"

random = np.random.default_rng(20240607)


def finite(bits, exponent):
    """Clears a bit of the exponents that stand for infinities and NaN."""
    low = exponent & -exponent
    return np.where(bits & exponent == exponent, bits ^ low, bits).astype(bits.dtype)


def floats(ty):
    word, exponent = FLOATS[ty]
    bits = finite(random.integers(0, np.iinfo(word).max + 1, (ROWS, 64), dtype=word), exponent)
    bits[0, :4] = [0, (exponent & -exponent) - 1, 1, np.iinfo(word).max - exponent]
    return bits.view({T.F32: np.float32, T.F16: np.float16}.get(ty, np.uint8))


def blocks(ty):
    _, size = gguf.GGML_QUANT_SIZES[ty]
    blocks = random.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    blocks[-2], blocks[-1] = 0x00, 0xFF
    for at in SCALES[ty]:
        scales = finite(random.integers(0, 1 << 16, BLOCKS, dtype=np.uint16), 0x7C00)
        scales[-4:] = [0x8000, random.integers(1, 1 << 10), 0xFBFF, 0x7BFF]
        blocks[:, at:at + 2] = scales.reshape(-1, 1).view(np.uint8)
    return blocks.reshape(ROWS, -1)


tensors = {ty: floats(ty) for ty in FLOATS} | {ty: blocks(ty) for ty in SCALES}

writer = gguf.GGUFWriter(FOLDER / "every_type.gguf", "llama")
writer.add_name("every type")
writer.add_block_count(2)
writer.add_rope_freq_base(10000.0)
writer.add_add_bos_token(True)
writer.add_token_list(["<unk>", "a", "ä", "🦀"])
writer.add_token_scores([0.0, -1.0, 0.5, 2.0])
writer.add_token_types([2, 1, 1, 1])
writer.add_array("test.nested", [[1, 2], [3]])
for ty, data in tensors.items():
    writer.add_tensor(ty.name, data, raw_dtype=None if ty in (T.F32, T.F16) else ty)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

with open(FOLDER / "every_type.f32", "wb") as out:
    for ty in sorted(tensors, key=lambda ty: ty.name.encode()):
        values = gguf.dequantize(tensors[ty], ty).astype("<f4")
        assert np.isfinite(values).all(), ty
        out.write(values.tobytes())
