"""Tokens -> vectors of whole texts, and of words that are read as texts of their own (TIPSv2)."""

from pathlib import Path
from typing import Any

import numpy as np

from wordsight.encode.words_alone import distinct_words
from wordsight.errors import InputError
from wordsight.exported import AGAIN, WordsAlone
from wordsight.files.npy import open_array
from wordsight.matcher.onnx_sides import OnnxSide
from wordsight.sets import EmbeddingSet, Tokens
from wordsight.tensors import Tensor, torch

STARTS = "starts.npy"  # which pieces of the tokenizer begin a word


class WordsAloneSide:
    """A text encoder whose file gives one vector a text; words are sent through it as texts."""

    projection = None

    def __init__(self, wholes: OnnxSide, words: WordsAlone) -> None:
        self.wholes, self.words, self.dim = wholes, words, wholes.dim
        self.starts = _starts(wholes.path.with_name(STARTS))

    @property
    def session(self) -> Any:
        return self.wholes.session

    def __call__(self, texts: Tokens) -> EmbeddingSet:
        """One vector per text, then one per piece of a word; the pieces of a word have the same."""
        ids, mask = (np.asarray(one.cpu().numpy()) for one in (texts.ids, texts.mask))
        pieces, real = ids[:, 1:], mask[:, 1:]
        known = len(self.starts)
        if pieces.size and int(pieces.max()) >= known:
            raise InputError(f"token {int(pieces.max())} is beyond the {known} of the model", AGAIN)
        found = distinct_words(pieces, real, self.starts[pieces], self.words.pad_id)
        vectors = np.zeros((*ids.shape, self.dim), np.float32)
        vectors[:, 0] = self._wholes(ids, mask)
        if len(found.ids):  # behind a first token, which stands for the text
            alone = self._wholes(_behind_a_first(found.ids, 0), _behind_a_first(found.mask, True))
            vectors[:, 1:] = alone[found.word_of] * real[..., None]
        counts = mask.copy()
        counts[:, 0] = self.words.whole
        return EmbeddingSet(_tensor(vectors * counts[..., None]), _tensor(counts))

    def _wholes(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        vectors = self.wholes(Tokens(_tensor(ids), _tensor(mask))).vectors
        return np.asarray(vectors.cpu().numpy())[:, 0]


def text_side(wholes: OnnxSide, words: WordsAlone | None) -> OnnxSide | WordsAloneSide:
    """The encoder of texts of an export: its file, or words sent through it one by one."""
    return wholes if words is None else WordsAloneSide(wholes, words)


def _behind_a_first(values: np.ndarray, first: int) -> np.ndarray:
    return np.pad(values, ((0, 0), (1, 0)), constant_values=first)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _starts(path: Path) -> np.ndarray:
    starts = open_array(path)
    if starts.dtype != bool or starts.ndim != 1:
        raise InputError(f"{path} is no row of truth values, but {starts.dtype} {list(starts.shape)}", AGAIN)
    return np.asarray(starts)
