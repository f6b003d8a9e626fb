"""CHAN as its authors publish it: options, weights, scores by their formulas."""

from typing import Any

import torch
from support.published_checkpoints import (
    DIM,
    IN,
    WORD,
    State,
    gru_state,
    linear_state,
    random,
    scaled,
)
from torch import Tensor

OPTIONS: dict[str, Any] = {
    "embed_size": DIM, "img_dim": IN, "word_dim": WORD, "num_layers": 1, "vocab_size": 14,
    "precomp_enc_type": "basic", "text_enc_type": "bigru", "no_imgnorm": False, "no_txtnorm": False,
    "coding_type": "VHACoding", "pooling_type": "LSEPooling", "alpha": 0.1, "belta": 0.1,
    "max_violation": True, "margin": 0.05, "data_name": "f30k", "wemb_type": None, "word2idx": None,
}  # fmt: skip


def image_state(kind: str) -> State:
    state = linear_state(IN, DIM, "fc.")
    if kind == "basic":
        return state
    start = "feedforward."
    state |= {
        f"{start}attn.in_proj_weight": random(3 * DIM, DIM),
        f"{start}attn.in_proj_bias": random(3 * DIM),
        **linear_state(DIM, DIM, f"{start}attn.out_proj."),
    }
    norms = ["ln."] if kind == "selfattention" else ["ln_1.", "ln_2."]
    for norm in norms:
        state |= {f"{start}{norm}weight": random(DIM) + 1, f"{start}{norm}bias": random(DIM)}
    if kind == "transformer":
        state |= linear_state(DIM, 4 * DIM, f"{start}mlp.c_fc.")
        state |= linear_state(4 * DIM, DIM, f"{start}mlp.c_proj.")
    return state


def text_state() -> State:
    return {"embed.weight": random(14, WORD), **gru_state(WORD, DIM), **linear_state(DIM, DIM, "fc.")}


def layer_norm(x: Tensor, state: State, name: str) -> Tensor:
    spread = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    scaled = (x - x.mean(-1, keepdim=True)) / spread
    return scaled * state[f"{name}weight"] + state[f"{name}bias"]


def attention(x: Tensor, state: State, heads: int = 8) -> Tensor:
    """Multi-head attention of the items of one set to each other, head by head."""
    start = "feedforward.attn."
    query, key, value = (x @ state[f"{start}in_proj_weight"].T + state[f"{start}in_proj_bias"]).chunk(3, -1)
    size = x.shape[-1] // heads
    found = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        shares = (query[:, part] @ key[:, part].T / size**0.5).softmax(-1)
        found.append(shares @ value[:, part])
    return torch.cat(found, -1) @ state[f"{start}out_proj.weight"].T + state[f"{start}out_proj.bias"]


def images(features: Tensor, state: State, options: dict[str, Any]) -> Tensor:
    kind = options["precomp_enc_type"]
    f = features @ state["fc.weight"].T + state["fc.bias"]
    if kind == "selfattention":
        f = torch.stack([x + attention(layer_norm(x, state, "feedforward.ln."), state) for x in f])
    if kind == "transformer":  # without batch_first, every place attends along the batch
        normed = layer_norm(f, state, "feedforward.ln_1.")
        columns = [attention(normed[:, k], state) for k in range(f.shape[1])]
        f = f + torch.stack(columns, 1)
        inner = layer_norm(f, state, "feedforward.ln_2.") @ state["feedforward.mlp.c_fc.weight"].T
        inner = inner + state["feedforward.mlp.c_fc.bias"]
        inner = inner * torch.sigmoid(1.702 * inner)
        f = f + inner @ state["feedforward.mlp.c_proj.weight"].T + state["feedforward.mlp.c_proj.bias"]
    return scaled(f, options, "img")


def coded(regions: Tensor, words: Tensor, coding: str, alpha: float) -> Tensor:
    cosines = regions @ words.T
    if coding == "VHACoding":
        return cosines.max(0).values
    if coding == "THACoding":
        return cosines.max(1).values
    blends = (cosines / alpha).softmax(1) @ words
    return (regions * blends).sum(1) / (blends.norm(dim=1) + 1e-8)


def pooled(values: Tensor, pooling: str, belta: float) -> Tensor:
    if pooling == "LSEPooling":
        return (values / belta).exp().sum().log()
    if pooling == "SoftmaxPooling":
        return ((values / belta).softmax(0) * values).sum()
    return {"Max": values.max(), "Mean": values.mean(), "Sum": values.sum()}[pooling.removesuffix("Pooling")]


def published_scores(features: Tensor, texts: list[Tensor], image: State, options: dict[str, Any]) -> Tensor:
    regions = images(features, image, options)
    alpha, belta = options["alpha"], options["belta"]
    codes = [[coded(v, w, options["coding_type"], alpha) for w in texts] for v in regions]
    return torch.stack(
        [torch.stack([pooled(c, options["pooling_type"], belta) for c in row]) for row in codes]
    )
