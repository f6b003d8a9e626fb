"""VSE++ as its authors publish it: options and weights."""

from typing import Any

from support.published_checkpoints import (
    DIM,
    IN,
    WORD,
    State,
    gru_state,
    linear_state,
    random,
)

ROWS = 13
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OPTIONS: dict[str, Any] = {
    "embed_size": DIM, "img_dim": IN, "word_dim": WORD, "num_layers": 1, "vocab_size": ROWS,
    "data_name": "f8k_precomp", "measure": "cosine", "use_abs": False, "no_imgnorm": False,
    "finetune": False, "cnn_type": "vgg19",
}  # fmt: skip


def states(layers: int = 1) -> list[State]:
    text = {"embed.weight": random(ROWS, WORD), **gru_state(WORD, DIM, layers, both=False)}
    return [linear_state(IN, DIM, "fc."), text]
