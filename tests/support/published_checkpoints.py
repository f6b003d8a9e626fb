"""Small checkpoints in the layouts of the published code, and what that code computes from them.

The forward passes are restated from the formulas, plainly and slowly, one text and one picture at a time.
"""

import json
import pickle
import sys
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from wordsight.sets import Regions

WORDS = ["a", "dog", "runs", "on", "the", "grass", "two", "men", "."]
TEXTS = ["A dog runs.", "two men on the grass", "the zebra", "a dog on a dog on the men ."]
State = dict[str, Tensor]
IN, DIM, WORD = 6, 8, 5  # numbers of a region, of an embedding, of a word


def vocabulary_table(mask: bool = False) -> dict[str, int]:
    words = ["<pad>", "<start>", "<end>", "<unk>", *WORDS, *(["<mask>"] if mask else [])]
    return {word: place for place, word in enumerate(words)}


def write_vocabulary(path: Path, mask: bool = False) -> Path:
    places = vocabulary_table(mask)
    names = {str(place): word for word, place in places.items()}
    path.write_text(json.dumps({"word2idx": places, "idx2word": names, "idx": len(places)}))
    return path


def pickled(module: str, words: dict[str, int], protocol: int = 2) -> bytes:
    """As ``pickle.dump`` writes vsepp's Vocabulary: an object of a class of that module with three tables."""
    cls = type("Vocabulary", (), {"__module__": module})
    thing = cls()
    vars(thing).update(
        word2idx=words, idx2word={place: word for word, place in words.items()}, idx=len(words)
    )
    home = ModuleType(module)
    home.Vocabulary = cls  # type: ignore[attr-defined]
    with patch.dict(sys.modules, {"lib": ModuleType("lib"), module: home}):
        return pickle.dumps(thing, protocol=protocol)


def ids(text: str, places: dict[str, int]) -> list[int]:
    """As NLTK cuts these simple texts: the full stop is a word."""
    words = text.lower().replace(".", " .").split()
    return [1, *(places.get(word, 3) for word in words), 2]


def random(*shape: int, scale: float = 0.5) -> Tensor:
    return scale * torch.randn(*shape)


def linear_state(inputs: int, outputs: int, start: str) -> State:
    return {f"{start}weight": random(outputs, inputs), f"{start}bias": random(outputs)}


def gru_state(inputs: int, units: int, layers: int = 1, both: bool = True, start: str = "rnn.") -> State:
    state = {}
    for layer in range(layers):
        width = inputs if layer == 0 else units * (1 + both)
        for end in ("", "_reverse")[: 1 + both]:
            state[f"{start}weight_ih_l{layer}{end}"] = random(3 * units, width)
            state[f"{start}weight_hh_l{layer}{end}"] = random(3 * units, units)
            state[f"{start}bias_ih_l{layer}{end}"] = random(3 * units)
            state[f"{start}bias_hh_l{layer}{end}"] = random(3 * units)
    return state


def gru(items: Tensor, state: State, end: str, start: str = "rnn.") -> Tensor:
    """One direction over one sequence, gate by gate; ``end`` is "_l0" or "_l0_reverse"."""
    from_input, from_state = state[f"{start}weight_ih{end}"], state[f"{start}weight_hh{end}"]
    bias_input, bias_state = state[f"{start}bias_ih{end}"], state[f"{start}bias_hh{end}"]
    h = torch.zeros(from_state.shape[1], dtype=items.dtype)
    out: list[Tensor] = []
    for x in items.flip(0) if end.endswith("reverse") else items:
        i_r, i_z, i_n = (from_input @ x + bias_input).chunk(3)
        h_r, h_z, h_n = (from_state @ h + bias_state).chunk(3)
        reset, keep = torch.sigmoid(i_r + h_r), torch.sigmoid(i_z + h_z)
        h = (1 - keep) * torch.tanh(i_n + reset * h_n) + keep * h
        out.append(h)
    told = torch.stack(out)
    return told.flip(0) if end.endswith("reverse") else told


def gru_words(text_ids: list[int], state: State, layers: int = 1, both: bool = True) -> Tensor:
    """Embedded, read by the GRU; with both directions their mean in the last layer."""
    items = state["embed.weight"][text_ids]
    for layer in range(layers):
        ends = [f"_l{layer}{side}" for side in ("", "_reverse")[: 1 + both]]
        sides = [gru(items, state, end) for end in ends]
        items = torch.cat(sides, 1)
    return torch.stack(sides).mean(0)


def unit(vectors: Tensor) -> Tensor:
    return vectors / (vectors.norm(dim=-1, keepdim=True) + 1e-8)


def scaled(vectors: Tensor, options: dict[str, Any], side: str) -> Tensor:
    """Of length 1, unless the options say no_imgnorm or no_txtnorm."""
    return vectors if options[f"no_{side}norm"] else unit(vectors)


def pictures(count: int = 3, regions: int = 4) -> Regions:
    return Regions(torch.randn(count, regions, IN), None, torch.ones(count, regions, dtype=torch.bool))


def state_dict(state: State) -> OrderedDict[str, Tensor]:
    return OrderedDict(state)


def doubled(states: list[State]) -> list[State]:
    """The same numbers in float64, for the slow forward pass."""
    return [{name: tensor.double() for name, tensor in state.items()} for state in states]


def write_checkpoint(path: Path, states: list[State], options: dict[str, Any] | None, **how: Any) -> Path:
    """As the VSE family saves them, with a numpy scalar among the facts."""
    content: dict[str, Any] = {
        "epoch": 12,
        "model": [state_dict(state) for state in states],
        "best_rsum": np.float64(401.5),
        "Eiters": 4242,
    }
    if options is not None:
        content["opt"] = Namespace(**options)
    torch.save(content, path, **how)
    return path
