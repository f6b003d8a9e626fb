"""SCAN as its authors publish it: options, weights, scores by their formulas."""

from typing import Any

import torch
from support.published_checkpoints import (
    DIM,
    IN,
    WORD,
    State,
    gru_state,
    random,
)
from torch import Tensor

ROWS = 13
OPTIONS: dict[str, Any] = {
    "embed_size": DIM, "img_dim": IN, "word_dim": WORD, "num_layers": 1, "vocab_size": ROWS, "bi_gru": True,
    "precomp_enc_type": "basic", "no_imgnorm": False, "no_txtnorm": False, "cross_attn": "t2i",
    "raw_feature_norm": "clipped_l2norm", "agg_func": "LogSumExp", "lambda_lse": 6.0, "lambda_softmax": 9.0,
    "data_name": "f30k_precomp",
}  # fmt: skip


def text_state(both: bool = True) -> State:
    return {"embed.weight": random(ROWS, WORD), **gru_state(WORD, DIM, both=both)}


def normalized(cosines: Tensor, how: str) -> Tensor:
    """cosines [context, query], each context over the queries."""
    if how == "softmax":
        return cosines.softmax(1)
    values = torch.where(cosines > 0, cosines, 0.1 * cosines) if how.startswith("clipped") else cosines
    return values / (values.norm(dim=1, keepdim=True) + 1e-8) if how.endswith("l2norm") else values


def blends(queries: Tensor, contexts: Tensor, how: str, sharpness: float) -> Tensor:
    """What each query sees: the contexts, weighted by a softmax over them."""
    shares = (sharpness * normalized(contexts @ queries.T, how)).softmax(0)
    return shares.T @ contexts


def aggregated(found: Tensor, how: str, sharpness: float) -> Tensor:
    if how == "LogSumExp":
        return (sharpness * found).exp().sum().log() / sharpness
    return {"Mean": found.mean(), "Max": found.max(), "Sum": found.sum()}[how]
