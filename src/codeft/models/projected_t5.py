"""CodeT5+'s embedding model: a T5 encoder whose first hidden state is projected to a vector of length 1."""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel


@strict
class ProjectedT5Config(T5Config):
    """T5's, under the `model_type` of the published checkpoint, whose own code isn't run.

    Attributes:
        embed_dim: Width of a vector.
    """

    model_type = "codet5p_embedding"
    embed_dim: int = 256


class ProjectedT5(T5EncoderModel):
    """T5's encoder and `proj`, by the published names.

    Source: CodeT5+ (arXiv 2305.07922) and the code beside `Salesforce/codet5p-110m-embedding`.
    """

    config_class = ProjectedT5Config

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.proj = nn.Linear(config.d_model, config.embed_dim)
        self.post_init()

    def embed(self, hidden: Tensor) -> Tensor:
        """Return a vector of length 1 for each text, [N, embed_dim].

        Args:
            hidden: [N, S, D] hidden states of the last layer; the first one stands for the text.
        """
        return nn.functional.normalize(self.proj(hidden[:, 0]), dim=-1)
