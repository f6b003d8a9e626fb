"""Tokens -> one vector per word, or per text: word embeddings and a GRU or LSTM that reads both ways."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from wordsight.encode.base import TextEncoder
from wordsight.encode.pool import make_pool, pooled
from wordsight.encode.projection import build_projection, projected
from wordsight.encode.rows import zeroed
from wordsight.errors import InputError
from wordsight.sets import EmbeddingSet, Tokens

CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


class RecurrentEncoder(TextEncoder):
    """The text encoder of the VSE family: a bidirectional GRU whose two directions are averaged.

    ``merge``           "mean" of two directions of ``dim`` units, or "concat" of two of ``dim`` / 2
    ``init``            of the word table: "xavier" (CHAN), or "uniform" in (-0.1, 0.1) (VSE++, SCAN)
    ``vectors``         file of pretrained word vectors; whoever builds the encoder reads it and calls
                        ``load_vectors``, so that a saved encoder never needs the file again
    ``freeze_vectors``  the word table gets no gradient at all
    ``dropout``         share of the word embeddings dropped in training, and of what passes between layers
    ``output_dropout``  share of the states dropped in training (CMPL: 0.3 here and in ``dropout``)
    ``learned_start``   the states before the first word are weights, one per layer and direction (CMPL),
                        not zeros
    ``forget_bias``     what the forget gates of an LSTM start with (TensorFlow: 1.0); None = torch's random
    ``pool``            words -> one vector per text: "max" (CMPL), "last" (VSE++), ...; None keeps the words
    ``projection``           after that, CMPL's joint layer: its size, or a table {dim, eps, momentum, std}
    ``pool_padding``    reproduces CMPL's code, whose pool counts padding as zeros: a text's vector then
                        depends on the longest text of its batch, and no maximum of a shorter one is negative

    Every text is read alone: its vectors do not depend on its padding or on the others of its batch.
    """

    def __init__(
        self,
        vocabulary_size: int,
        dim: int = 1024,
        word_dim: int = 300,
        cell: str = "gru",
        layers: int = 1,
        bidirectional: bool = True,
        merge: str = "mean",
        vectors: str | None = None,
        freeze_vectors: bool = False,
        dropout: float = 0.0,
        init: str = "xavier",
        output_dropout: float = 0.0,
        learned_start: bool = False,
        forget_bias: float | None = None,
        pool: str | Mapping[str, Any] | nn.Module | None = None,
        projection: int | Mapping[str, Any] | None = None,
        pool_padding: bool = False,
    ):
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.dim = dim
        self.word_dim = word_dim
        self.cell = cell
        self.layers = layers
        self.bidirectional = bidirectional
        self.merge = merge
        self.vectors = vectors
        self.freeze_vectors = freeze_vectors
        self.dropout = dropout
        self.init = init
        self.output_dropout = output_dropout
        self.learned_start = learned_start
        self.forget_bias = forget_bias
        self.projection = projection
        self.pool_padding = pool_padding
        self.words = _word_table(vocabulary_size, word_dim, init)
        self.words.weight.requires_grad_(not freeze_vectors)
        self.reader = self._cell()(
            word_dim,
            self._units(),
            layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
        )
        self.starts = nn.ParameterList(self._zero_starts()) if learned_start else None
        if forget_bias is not None:
            _set_forget_bias(self.reader, forget_bias)
        self.pool = make_pool(pool)
        if pool_padding and self.pool is None:
            raise InputError("pool_padding = true needs a pool: without one the words stay apart")
        self.joint_layer = build_projection(projection, dim)

    def forward(self, texts: Tokens) -> EmbeddingSet:
        """One vector, not normalized, per word, or per text if pooled; those of padding are exactly zero."""
        _check_ids(texts, self.vocabulary_size)
        embedded = nn.functional.dropout(self.words(texts.ids), self.dropout, self.training)
        states = nn.functional.dropout(self._read(embedded, texts), self.output_dropout, self.training)
        words = EmbeddingSet(zeroed(self._merged(states), texts.mask), texts.mask)
        if self.pool_padding:
            words = replace(words, mask=torch.ones_like(words.mask))
        return projected(pooled(words, self.pool), self.joint_layer)

    def load_vectors(
        self,
        matrix: Float[Tensor, "vocabulary word_dim"],
        known: Bool[Tensor, " vocabulary"] | None = None,
    ) -> None:
        """Start from pretrained word vectors, row for row of the vocabulary.

        Words that are not ``known`` (default: whose row is all zeros) are drawn with the mean and spread of
        the known ones, so that they are neither louder nor quieter.
        """
        if matrix.shape != self.words.weight.shape:
            raise InputError(
                f"the word vectors are {tuple(matrix.shape)}, but the vocabulary and word_dim ask for "
                f"{tuple(self.words.weight.shape)}; set word_dim = {matrix.shape[1]} for these vectors"
            )
        known = matrix.ne(0).any(1) if known is None else known
        if not known.any():
            raise InputError("none of the words has a pretrained vector; is the file of another language?")
        real = matrix[known]
        drawn = torch.randn_like(matrix) * real.std(correction=0) + real.mean()
        with torch.no_grad():
            self.words.weight.copy_(torch.where(known[:, None], matrix, drawn))

    def _cell(self) -> type[nn.GRU] | type[nn.LSTM]:
        if self.cell not in CELLS:
            raise InputError(f'cell "{self.cell}" is not known; known: {", ".join(sorted(CELLS))}')
        return CELLS[self.cell]

    def _units(self) -> int:
        if self.merge not in ("mean", "concat"):
            raise InputError(f'merge "{self.merge}" is not known; known: concat, mean')
        if self.merge == "mean" or not self.bidirectional:
            return self.dim
        if self.dim % 2:
            raise InputError(f'merge = "concat" halves dim, and {self.dim} is odd')
        return self.dim // 2

    def _read(
        self, embedded: Float[Tensor, "text word word_dim"], texts: Tokens
    ) -> Float[Tensor, "text word unit"]:
        lengths = texts.lengths.cpu()
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        out: PackedSequence = self.reader(packed, self._start(len(lengths)))[0]
        return pad_packed_sequence(out, batch_first=True, total_length=texts.ids.shape[1])[0]

    def _zero_starts(self) -> list[Tensor]:
        """The state of a GRU; the state and the memory of an LSTM."""
        rows = self.layers * (2 if self.bidirectional else 1)
        return [torch.zeros(rows, self._units()) for _ in range(2 if self.cell == "lstm" else 1)]

    def _start(self, texts: int) -> Any:
        """The states before the first word, the same for every text; None = zeros."""
        if self.starts is None:
            return None
        starts = [start[:, None].expand(-1, texts, -1).contiguous() for start in self.starts]
        return tuple(starts) if self.cell == "lstm" else starts[0]

    def _merged(self, states: Float[Tensor, "text word unit"]) -> Float[Tensor, "text word dim"]:
        if self.bidirectional and self.merge == "mean":
            forward, backward = states.chunk(2, dim=-1)
            return (forward + backward) / 2
        return states


def _word_table(size: int, dim: int, init: str) -> nn.Embedding:
    table = nn.Embedding(size, dim)
    if init == "xavier":
        nn.init.xavier_uniform_(table.weight)
    elif init == "uniform":
        nn.init.uniform_(table.weight, -0.1, 0.1)
    else:
        raise InputError(f'init "{init}" is not known; known: uniform, xavier')
    return table


@torch.no_grad()
def _set_forget_bias(reader: nn.GRU | nn.LSTM, bias: float) -> None:
    """torch adds two biases; the second part of four is the forget gate's."""
    if isinstance(reader, nn.GRU):
        raise InputError(f'forget_bias = {bias}: only cell = "lstm" has forget gates')
    for name, values in reader.named_parameters():
        if name.startswith("bias"):
            values.chunk(4)[1].fill_(bias if name.startswith("bias_ih") else 0.0)


def _check_ids(texts: Tokens, vocabulary_size: int) -> None:
    if not bool(texts.mask.any(1).all()):
        row = int((~texts.mask.any(1)).nonzero()[0])
        raise InputError(f"text {row} of the batch has no words; leave empty texts out")
    highest = int(texts.ids.max())
    if highest >= vocabulary_size:
        raise InputError(
            f"word id {highest} is beyond the encoder's vocabulary of {vocabulary_size} words; "
            "the tokenizer and the text encoder must come from the same vocabulary"
        )
