"""AST-T5's network once more: every sum written out, on parameters under their published names."""

from __future__ import annotations

import math

import torch

DIMENSIONS = {
    "model_type": "fairseq_t5",
    "architectures": ["FairseqT5ForConditionalGeneration"],
    "vocab_size": 420,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 16,
    "relative_attention_max_distance": 12,
    "max_positions": 1024,
    "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-05,
    "feed_forward_proj": "relu",
    "tie_word_embeddings": True,
    "is_encoder_decoder": True,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
POSITIONS = 1024
PAD = 1


def make_weights(*, seed: int) -> dict[str, torch.Tensor]:
    """Return random parameters by their published names."""
    draw = torch.Generator().manual_seed(seed)
    width, inner, wide = 32, 32, 64
    shapes: dict[str, tuple[int, ...]] = {"shared.weight": (420, width)}

    def linear(name: str, rows: int, columns: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (rows, columns), (rows,)

    def norm(name: str) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width,), (width,)

    def attention(name: str) -> None:
        for part in "qkv":
            linear(f"{name}.{part}", inner, width)
        linear(f"{name}.o", width, inner)

    for side, blocks in (("encoder", 3), ("decoder", 2)):
        shapes[f"{side}.pos_embed.weight"] = (POSITIONS + PAD + 1, width)
        norm(f"{side}.first_layer_norm")
        for i in range(blocks):
            block = f"{side}.block.{i}.layer"
            attention(f"{block}.0.SelfAttention")
            norm(f"{block}.0.layer_norm")
            if side == "encoder":
                shapes[f"{block}.0.SelfAttention.relative_attention_bias.weight"] = (16, 4)
            else:
                attention(f"{block}.1.EncDecAttention")
                norm(f"{block}.1.layer_norm")
            last = 1 if side == "encoder" else 2
            linear(f"{block}.{last}.DenseReluDense.wi", wide, width)
            linear(f"{block}.{last}.DenseReluDense.wo", width, wide)
            norm(f"{block}.{last}.layer_norm")
    weights = {name: torch.randn(shape, generator=draw) * 0.3 for name, shape in shapes.items()}
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
        weights[name] = weights["shared.weight"].clone()
    return weights


def row_of(distance: int, *, buckets: int = 16, max_distance: int = 12) -> int:
    """Return the row of the table of biases for the key's position less the query's."""
    half = buckets // 2
    exact = half // 2
    size = abs(distance)
    if size >= exact:
        scale = torch.log(torch.tensor(float(size)) / exact) / math.log((max_distance - 1) / exact)
        size = min(exact + math.ceil((scale * (half - 1 - exact)).item()), half - 1)
    return (size if distance > 0 else -size) + half - 1  # the farthest to the left is row 0


class Reference:
    """Computes logits of one example, without dropout."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self.weights = {name: value.float() for name, value in weights.items()}

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attend(self, name: str, x: torch.Tensor, seen: torch.Tensor, *, causal: bool = False) -> torch.Tensor:
        queries, keys, values = (
            self.linear(f"{name}.{part}", of) for part, of in (("q", x), ("k", seen), ("v", seen))
        )
        table = self.weights.get(f"{name}.relative_attention_bias.weight")
        heads = []
        for head in range(4):
            columns = slice(8 * head, 8 * head + 8)
            rows = []
            for i in range(len(x)):
                scores = torch.stack([queries[i, columns] @ keys[j, columns] for j in range(len(seen))])
                scores = scores / math.sqrt(8)
                if table is not None:
                    scores = scores + torch.stack([table[row_of(j - i), head] for j in range(len(seen))])
                if causal:
                    scores[i + 1 :] = -math.inf
                rows.append(scores.softmax(0) @ values[:, columns])
            heads.append(torch.stack(rows))
        return self.linear(f"{name}.o", torch.cat(heads, dim=1))

    def run(self, side: str, ids: torch.Tensor, encoded: torch.Tensor | None = None) -> torch.Tensor:
        positions = torch.arange(len(ids)) + PAD + 1
        x = self.weights["shared.weight"][ids] + self.weights[f"{side}.pos_embed.weight"][positions]
        x = self.norm(f"{side}.first_layer_norm", x)
        for i in range(DIMENSIONS["num_layers"] if side == "encoder" else DIMENSIONS["num_decoder_layers"]):
            block = f"{side}.block.{i}.layer"
            x = x + self.attend(f"{block}.0.SelfAttention", x, x, causal=side == "decoder")
            x = self.norm(f"{block}.0.layer_norm", x)
            last = 1
            if encoded is not None:
                x = x + self.attend(f"{block}.1.EncDecAttention", x, encoded)
                x, last = self.norm(f"{block}.1.layer_norm", x), 2
            hidden = self.linear(f"{block}.{last}.DenseReluDense.wi", x).clamp_min(0)
            x = x + self.linear(f"{block}.{last}.DenseReluDense.wo", hidden)
            x = self.norm(f"{block}.{last}.layer_norm", x)
        return x

    def logits(self, ids: torch.Tensor, decoder_ids: torch.Tensor) -> torch.Tensor:
        """Return [T, V] for one example."""
        hidden = self.run("decoder", decoder_ids, self.run("encoder", ids))
        return hidden @ self.weights["shared.weight"].T
