"""VSE-infinity as its authors publish it: options and weights."""

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
)

OPTIONS: dict[str, Any] = {
    "embed_size": DIM, "img_dim": IN, "word_dim": WORD, "vocab_size": 14, "precomp_enc_type": "basic",
    "backbone_source": "detector", "no_imgnorm": False, "no_txtnorm": False, "data_name": "f30k_precomp",
}  # fmt: skip


def gpo_state() -> State:
    gates = gru_state(32, 32, start="gru.")
    return {f"gpool.{name}": tensor for name, tensor in gates.items()} | {
        "gpool.linear.weight": random(1, 32)
    }


def image_state() -> State:
    hidden = DIM // 2
    state = linear_state(IN, DIM, "fc.") | linear_state(IN, hidden, "mlp.layers.0.")
    state |= linear_state(hidden, DIM, "mlp.layers.1.")
    for place, size in enumerate((hidden, DIM)):
        state |= {
            f"mlp.bns.{place}.weight": 1 + random(size), f"mlp.bns.{place}.bias": random(size),
            f"mlp.bns.{place}.running_mean": random(size),
            f"mlp.bns.{place}.running_var": 0.5 + torch.rand(size),
            f"mlp.bns.{place}.num_batches_tracked": torch.tensor(12),
        }  # fmt: skip
    return state | gpo_state()


def words_state() -> State:
    return {"embed.weight": random(14, WORD), **gru_state(WORD, DIM), **gpo_state()}
