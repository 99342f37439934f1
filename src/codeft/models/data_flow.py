"""GraphCodeBERT's input: the source's sub-tokens, then its variables, and who may look at whom."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from codeft.types import Batch

DATA_FLOW = "data_flow"
"""The further input of a model; its keys are in `codeft.types.Batch`."""


@dataclass(frozen=True, slots=True)
class FlowInput:
    """What an encoder reads, L = S + G: the sub-tokens, padded, and then the nodes, padded.

    Attributes:
        embeddings: [N, L, D], without positions.
        position_ids: int64 [N, L].
        attention_mask: [N, 1, L, L], 0 where a row may look at a column, else the least number.
        real: int64 [N, L], 0 for padding.
    """

    embeddings: Tensor
    position_ids: Tensor
    attention_mask: Tensor
    real: Tensor


def append_variables(embedded: Tensor, batch: Batch, *, special: Tensor, pad_id: int) -> FlowInput:
    """Set the variables behind the source.

    Sub-tokens see one another. A node and the sub-tokens of its occurrence see each other, and a node sees
    those that its value comes from. Special tokens see all nodes. A node begins as the mean of its
    sub-tokens' embeddings, at position 0; sub-tokens have the positions of any RoBERTa.

    Source: GraphCodeBERT (arXiv 2009.08366), section 4.2, equation 4, and the scripts beside it.

    Args:
        embedded: [N, S, D] token embeddings.
        batch: Needs `attention_mask` and the keys of the data flow.
        special: bool [N, S], the source's special tokens.
        pad_id: The position of padding; the first sub-token's is the next one.
    """
    code = batch["attention_mask"].bool()  # NS
    start, end = batch["flow_start"], batch["flow_end"]  # NG
    node = start >= 0
    places = torch.arange(code.shape[1], device=code.device)
    occurs = (places >= start[..., None]) & (places < end[..., None]) & code[:, None]  # NGS
    shares = occurs.to(embedded.dtype) / occurs.sum(-1, keepdim=True).clamp_min(1)
    code_to_code = code[:, :, None] & code[:, None]
    code_to_node = occurs.mT | (special[:, :, None] & node[:, None])
    seen = torch.cat(
        [torch.cat([code_to_code, code_to_node], -1), torch.cat([occurs, _flows(batch)], -1)], 1
    )  # NLL
    seen[..., 0] |= ~seen.any(-1)  # a row of padding that sees nothing would be no number
    hidden = torch.finfo(embedded.dtype).min
    mask = torch.zeros(seen.shape, dtype=embedded.dtype, device=seen.device).masked_fill_(~seen, hidden)
    positions = pad_id + code.long().cumsum(-1) * code
    return FlowInput(
        embeddings=torch.cat([embedded, shares @ embedded], 1),
        position_ids=torch.cat([positions, torch.where(node, 0, pad_id)], 1),
        attention_mask=mask[:, None],
        real=torch.cat([code, node], 1).long(),
    )


def _flows(batch: Batch) -> Tensor:
    """Return which node's value comes from which other: bool [N, G, G]."""
    num_nodes = batch["flow_start"].shape[1]
    target, source = batch["flow_target"], batch["flow_source"]  # NE
    flows = torch.zeros(len(target), num_nodes, num_nodes, dtype=torch.bool, device=target.device)
    rows, edges = (target >= 0).nonzero(as_tuple=True)
    flows[rows, target[rows, edges], source[rows, edges]] = True
    return flows
