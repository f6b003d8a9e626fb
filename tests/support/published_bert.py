"""CHAN with BERT as its authors publish it."""

import json
from pathlib import Path
from typing import Any

import torch
from support.published_checkpoints import DIM, State, linear_state

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "man", "rid", "##ing", "horse", "."]
TEXTS = ["A man riding a horse.", "a zebra"]
IDS = [[2, 5, 6, 7, 8, 5, 9, 10, 3], [2, 5, 1, 3]]
CONFIG = {
    "vocab_size": len(PIECES), "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
    "intermediate_size": 16, "max_position_embeddings": 20, "type_vocab_size": 2, "model_type": "bert",
}  # fmt: skip


def bert(heads: int) -> Any:
    """transformers' own, which is what the published code calls."""
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**{**CONFIG, "num_attention_heads": heads})).eval()


def text_state(model: Any) -> State:
    """As transformers 4 saved it: with the pooler and the numbers of the positions."""
    state = {f"bert.{name}": tensor for name, tensor in model.state_dict().items()}
    state["bert.embeddings.position_ids"] = torch.arange(20)[None]
    return state | linear_state(12, DIM, "linear.")


def publish_bert(home: Path) -> Path:
    """A folder with a small BERT and its word pieces."""
    folder = home / "bert"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return folder
