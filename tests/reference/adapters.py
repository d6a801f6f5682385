"""Makes the fixtures of tests/integration/adapters.rs with the packages peft, transformers and torch.

Usage: python adapters.py

It writes to ../integration/fixtures/adapters: a tiny random Llama (`base`), adapters for it as peft saves them (a folder
each), the logits of the model with each adapter merged (`expected.safetensors`), and the configurations of adapters
that are more than a sum of products (`refused`). Seeds are fixed, so a run on the same versions writes the same bytes.
"""

import json
import pathlib
import shutil
import tempfile

import peft
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

FOLDER = pathlib.Path(__file__).parent.parent / "integration" / "fixtures" / "adapters"
PROMPT = [3, 1, 4, 1, 5, 9]
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

ACCEPTED = {
    "plain": dict(r=2, lora_alpha=3, target_modules=["q_proj", "v_proj"], lora_dropout=0.1),
    "rank_stabilised": dict(r=3, lora_alpha=2, target_modules=LINEAR, use_rslora=True),
    "patterns": dict(
        r=2,
        lora_alpha=4,
        target_modules=["q_proj", "o_proj", "down_proj"],
        rank_pattern={"^model.layers.1.*_proj": 3, "layers.0.self_attn.q_proj": 1},
        alpha_pattern={"down_proj": 7, r"1\.mlp\.down_proj": 100, "q_proj": 1.5},
    ),
    "layers": dict(r=2, lora_alpha=4, target_modules=["k_proj", "up_proj"], layers_to_transform=[1]),
    "layers_pattern": dict(
        r=2, lora_alpha=4, target_modules=["gate_proj"], layers_to_transform=0, layers_pattern="layers"
    ),
    "expression": dict(r=1, lora_alpha=1, target_modules=r".*\.1\..*(up|down)_proj", init_lora_weights="gaussian"),
    "embeddings": dict(r=2, lora_alpha=2, target_modules=["embed_tokens", "lm_head", "v_proj"]),
    "half": dict(r=2, lora_alpha=4, target_modules=["q_proj"]),
}

REFUSED = {
    "dora": peft.LoraConfig(use_dora=True, target_modules=["q_proj"]),
    "trained_tokens": peft.LoraConfig(trainable_token_indices=[1, 2], target_modules=["q_proj"]),
    "modules_to_save": peft.LoraConfig(modules_to_save=["lm_head"], target_modules=["q_proj"]),
    "bias": peft.LoraConfig(bias="all", target_modules=["q_proj"]),
    "lora_bias": peft.LoraConfig(lora_bias=True, target_modules=["q_proj"]),
    "pissa": peft.LoraConfig(init_lora_weights="pissa_niter_4", target_modules=["q_proj"]),
    "olora": peft.LoraConfig(init_lora_weights="olora", target_modules=["q_proj"]),
    "invocation": peft.LoraConfig(alora_invocation_tokens=[1, 2], target_modules=["q_proj"], task_type="CAUSAL_LM"),
    "replicated": peft.LoraConfig(layer_replication=[[0, 2], [1, 2]], target_modules=["q_proj"]),
    "loha": peft.LoHaConfig(target_modules=["q_proj"]),
    "ia3": peft.IA3Config(target_modules=["q_proj"], feedforward_modules=[]),
    "prefix": peft.PrefixTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"),
}


def base():
    """Loads the base model."""
    return LlamaForCausalLM.from_pretrained(FOLDER / "base", dtype=torch.float32, attn_implementation="eager")


def logits(model):
    """Returns the logits of all positions of the prompt."""
    with torch.no_grad():
        return model(torch.tensor([PROMPT])).logits[0].contiguous()


def save_adapter(model, folder):
    """Saves an adapter without the model card and without what depends on the machine."""
    with tempfile.TemporaryDirectory() as made:
        model.save_pretrained(made)
        folder.mkdir()
        shutil.copy(pathlib.Path(made) / "adapter_model.safetensors", folder)
        write_config(json.loads((pathlib.Path(made) / "adapter_config.json").read_text()), folder / "adapter_config.json")


def write_config(config, path):
    """Writes the configuration with the modules in order, since peft keeps them in a set."""
    config["base_model_name_or_path"] = "base"
    for key in ("target_modules", "feedforward_modules"):
        if isinstance(config.get(key), list):
            config[key].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=12,
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        rms_norm_eps=1e-5,
        initializer_range=0.5,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(FOLDER / "base")
    (FOLDER / "base" / "generation_config.json").unlink(missing_ok=True)
    expected = {"base": logits(base())}
    for seed, (name, options) in enumerate(ACCEPTED.items()):
        torch.manual_seed(100 + seed)
        model = peft.get_peft_model(base(), peft.LoraConfig(task_type="CAUSAL_LM", **options))
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                if "lora_" in parameter_name:
                    values = torch.randn_like(parameter) * 0.4
                    parameter.copy_(values.bfloat16().float() if name == "half" else values)
        save_adapter(model, FOLDER / name)
        if name == "half":
            file = FOLDER / name / "adapter_model.safetensors"
            save_file({key: value.bfloat16() for key, value in load_file(file).items()}, file)
        # Read again, so that the expected logits are those of the files.
        loaded = peft.PeftModel.from_pretrained(base(), FOLDER / name)
        expected[name] = logits(loaded.merge_and_unload())
        assert not torch.allclose(expected[name], expected["base"], atol=0.05), name
    both = peft.PeftModel.from_pretrained(base(), FOLDER / "plain", adapter_name="plain")
    both.load_adapter(FOLDER / "rank_stabilised", adapter_name="rank_stabilised")
    expected["plain+rank_stabilised"] = logits(both.merge_and_unload(adapter_names=["plain", "rank_stabilised"]))
    save_file(expected, FOLDER / "expected.safetensors")

    (FOLDER / "refused").mkdir()
    for name, config in REFUSED.items():
        with tempfile.TemporaryDirectory() as made:
            config.save_pretrained(made)
            made_config = json.loads((pathlib.Path(made) / "adapter_config.json").read_text())
            write_config(made_config, FOLDER / "refused" / f"{name}.json")


if __name__ == "__main__":
    main()
