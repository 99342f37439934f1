"""Python that decodes with an exported UniXcoder; it brings the class that transformers hasn't."""

from __future__ import annotations

from codeft.models.prefix_network import PrefixLanguageModel, prefix_mask
from codeft.models.snippets import INPUTS, source_of

_IMPORTS = """\
import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedTokenizerFast, RobertaModel
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.roberta.modeling_roberta import RobertaPreTrainedModel
"""

_READ = """
inputs = tokenizer(texts, padding=True, padding_side="left", truncation=True, return_tensors="pt")
ids, mask, prefix_length = inputs["input_ids"], inputs["attention_mask"], 0
"""

_PREFIX = """\
prefix_length = ids.shape[1]  # the texts see themselves whole, and BLANK begins what is written
ids = nn.functional.pad(ids, (0, 1), value=tokenizer.convert_tokens_to_ids("BLANK"))
mask = nn.functional.pad(mask, (0, 1), value=1)
"""

_WRITE = """\
written = model.generate(ids, attention_mask=mask, prefix_length=prefix_length)[:, ids.shape[1] :]
predictions = [text.strip() for text in tokenizer.batch_decode(written, skip_special_tokens=True)]
print(predictions)
"""


def text_usage(*, blank: str | None) -> str:
    """Return the snippet.

    Args:
        blank: The token that begins what is written after a prefix; None where there is no prefix.
    """
    name = PrefixLanguageModel.__name__
    load = f"""
{INPUTS}

tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
model = {name}.from_pretrained(folder).eval()
"""
    source = source_of(prefix_mask, PrefixLanguageModel)
    read = _READ + ("" if blank is None else _PREFIX.replace("BLANK", blank))
    return f"from __future__ import annotations\n\n{_IMPORTS}\n\n{source}\n\n{load}{read}{_WRITE}"
