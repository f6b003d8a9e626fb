"""CASC as its authors publish it: options and weights."""

from typing import Any

from support.published_checkpoints import (
    DIM,
    State,
    linear_state,
)
from support.published_scan import OPTIONS

HIDDEN, LABELS = 4, 7
CASC: dict[str, Any] = {
    name: value for name, value in OPTIONS.items() if name not in ("agg_func", "lambda_softmax")
}


def head_state() -> State:
    return linear_state(DIM, HIDDEN, "fc1.") | linear_state(HIDDEN, LABELS, "fc2.")
