"""A decoder-only model whose code lies beside its weights, as on the hub."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import torch

CONFIGURATION = """
from transformers import PretrainedConfig

class OwnConfig(PretrainedConfig):
    model_type = "own_gpt"

    def __init__(self, vocab_size=400, width=32, num_hidden_layers=3, num_heads=4, positions=64,
                 drop=0.0, scale=0.5, **kwargs):
        self.vocab_size, self.width, self.num_hidden_layers = vocab_size, width, num_hidden_layers
        self.num_heads, self.max_position_embeddings, self.drop = num_heads, positions, drop
        self.scale = scale
        super().__init__(**kwargs)
"""

MODELING = """
import os
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_own import OwnConfig

Path(os.environ["OWN_MARK"]).touch()


class OwnSelfMixer(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.heads, self.layer = config.num_heads, layer
        self.qkv, self.out = nn.Linear(config.width, 3 * config.width), nn.Linear(config.width, config.width)

    def forward(self, x, mask, cache):
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        scores = (q @ k.transpose(2, 3)) / q.shape[-1] ** 0.5
        weights = scores.masked_fill(~mask, -1e9).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class OwnBlock(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.norm, self.mixer = nn.LayerNorm(config.width), OwnSelfMixer(config, layer)
        self.up, self.down = nn.Linear(config.width, 48), nn.Linear(48, config.width)

    def forward(self, x, mask, cache):
        x = x + self.mixer(self.norm(x), mask, cache)
        return x + self.down(torch.relu(self.up(x)))


class OwnPreTrainedModel(PreTrainedModel):
    config_class = OwnConfig
    base_model_prefix = "stack"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.normal_(std=0.3)
            if getattr(module, "bias", None) is not None:
                module.bias.data.zero_()
        if isinstance(module, nn.LayerNorm):
            module.weight.data.fill_(1.0)
            module.bias.data.zero_()
        if isinstance(module, OwnStack):
            module.positions.data.normal_(std=0.3)


class OwnStack(OwnPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.final = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList([OwnBlock(config, i) for i in range(config.num_hidden_layers)])
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Parameter(torch.zeros(config.max_position_embeddings, config.width))
        self.drop = nn.Dropout(config.drop)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, position_ids=None, past_key_values=None,
                use_cache=False):
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        before = past_key_values.get_seq_length() if past_key_values is not None else 0
        length = input_ids.shape[1]
        if position_ids is None:
            position_ids = torch.arange(before, before + length)[None]
        mask = torch.ones(length, before + length, dtype=torch.bool).tril(before)[None, None]
        if attention_mask is not None:
            mask = mask & attention_mask[:, None, None, : before + length].bool()
        x = self.drop(self.words(input_ids) + self.positions[position_ids])
        for block in self.blocks:
            x = block(x, mask, past_key_values)
        return self.final(x), past_key_values if use_cache else None


class OwnForCausalLM(OwnPreTrainedModel, GenerationMixin):
    def __init__(self, config):
        super().__init__(config)
        self.stack = OwnStack(config)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.stack.words

    def get_output_embeddings(self):
        return self.head

    # prepare
    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                use_cache=False, labels=None, **kwargs):
        hidden, cache = self.stack(input_ids, attention_mask, position_ids, past_key_values, use_cache)
        logits = self.config.scale * self.head(hidden)  # what only this class knows
        return CausalLMOutputWithPast(logits=logits, past_key_values=cache)
"""

INTERFACE = """
import os
from pathlib import Path

import torch
from torch import nn
from transformers import Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2Model

from .configuration_own import OwnConfig

Path(os.environ["OWN_MARK"]).touch()


class OwnForCausalLM(Qwen2ForCausalLM):
    config_class = OwnConfig
"""

QWEN_CONFIGURATION = """
from transformers import Qwen2Config

class OwnConfig(Qwen2Config):
    model_type = "own_gpt"
"""

AUTO_MAP = {
    "AutoConfig": "configuration_own.OwnConfig",
    "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
}


def build(folder: Path, tokenizer: Path, *, modeling: str = MODELING, **dimensions: object) -> Path:
    """Write a model folder with random weights, its code and a tokenizer; it is as if never run."""
    from transformers import AutoConfig, AutoModelForCausalLM

    shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
    configuration = QWEN_CONFIGURATION if modeling == INTERFACE else CONFIGURATION
    (folder / "configuration_own.py").write_text(configuration)
    (folder / "modeling_own.py").write_text(modeling)
    config = {"model_type": "own_gpt", "auto_map": AUTO_MAP, **dimensions}
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    AutoModelForCausalLM.from_config(config, trust_remote_code=True).save_pretrained(folder)
    forget()
    return folder


def mark() -> Path:
    """Return the file that the model's code makes when it is run."""
    return Path(os.environ["OWN_MARK"])


def forget() -> None:
    """Have code that was run leave no trace: what is imported once isn't run again."""
    mark().unlink(missing_ok=True)
    for name in [name for name in sys.modules if name.split(".")[0] == "transformers_modules"]:
        del sys.modules[name]


def isolate(monkeypatch, folder: Path) -> None:
    """Keep transformers' copies of code, and the mark, in a folder."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("OWN_MARK", str(folder / "ran"))
    forget()
