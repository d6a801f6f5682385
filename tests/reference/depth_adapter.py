"""Writes the largest logits of a model with an adapter, as the package peft computes them: the expectation of the test
`real_model_adapter_equals_peft` (tests/integration/real_model.rs).

Usage: scripts/commands.py test 3 1 | python tests/reference/depth_adapter.py models/hf assets/smollm2-depth \
           tests/integration/fixtures/smollm2_depth.json

It needs peft, transformers and torch, and the folder models/hf, which scripts/get_smollm2.sh makes. For each prompt on standard input it writes the token ids, and for all layers and the first ten the twenty largest
logits after the last token, with their ids.
"""

import json
import pathlib
import sys

import peft
import torch
import transformers

LAYERS = [30, 10]


def main():
    folder, adapter, out = sys.argv[1:]
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    base = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(base, adapter).float().eval()
    llama = model.base_model.model
    expected = []
    for line in sys.stdin:
        ids = tokenizer(json.loads(line)["prompt"], add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            states = llama.model(torch.tensor([ids]), output_hidden_states=True).hidden_states
            for layers in LAYERS:
                # The last of the states is normed already.
                state = states[layers][:, -1]
                normed = state if layers == llama.config.num_hidden_layers else llama.model.norm(state)
                top = llama.lm_head(normed)[0].topk(20)
                expected.append({"prompt": ids, "layers": layers, "ids": top.indices.tolist(),
                                 "logits": top.values.tolist()})
    versions = {"peft": peft.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
    pathlib.Path(out).write_text(json.dumps({"versions": versions, "expected": expected}, indent=1) + "\n")


if __name__ == "__main__":
    main()
