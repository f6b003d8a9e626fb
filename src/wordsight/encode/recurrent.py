"""Tokens -> one vector per word, or per text: word embeddings and a GRU or LSTM that reads both ways."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from wordsight.encode.base import TextEncoder
from wordsight.encode.pool import PoolTable, make_pool, pooled
from wordsight.encode.projection import ProjectionTable, build_projection, projected
from wordsight.encode.rows import zeroed
from wordsight.errors import InputError
from wordsight.registry.limits import Count, Limits, Share, Size
from wordsight.registry.options import takes
from wordsight.runtime.exporting import is_exporting
from wordsight.sets import EmbeddingSet, Tokens

CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


@dataclass(frozen=True)
class RecurrentOptions:
    """Settings of a RecurrentEncoder.

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
    """

    vocabulary_size: Count
    dim: Size = 1024
    word_dim: Size = 300
    cell: str = "gru"
    layers: Annotated[int, Limits(1, 1024)] = 1
    bidirectional: bool = True
    merge: str = "mean"
    vectors: str | None = None
    freeze_vectors: bool = False
    dropout: Share = 0.0
    init: str = "xavier"
    output_dropout: Share = 0.0
    learned_start: bool = False
    forget_bias: float | None = None
    pool: PoolTable = None
    projection: ProjectionTable = None
    pool_padding: bool = False

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise InputError(f'cell "{self.cell}" is not known; known: {", ".join(sorted(CELLS))}')
        if self.merge not in ("mean", "concat"):
            raise InputError(f'merge "{self.merge}" is not known; known: concat, mean')
        if self.merge == "concat" and self.bidirectional and self.dim % 2:
            raise InputError(f'merge = "concat" halves dim, and {self.dim} is odd')
        if self.pool_padding and self.pool is None:
            raise InputError("pool_padding = true needs a pool: without one the words stay apart")

    @property
    def units(self) -> int:
        """Numbers in the state of one direction."""
        return self.dim // 2 if self.merge == "concat" and self.bidirectional else self.dim


class RecurrentEncoder(TextEncoder):
    """The text encoder of the VSE family: a bidirectional GRU whose two directions are averaged.

    It is built with the settings of ``RecurrentOptions``. Every text is read alone: its vectors do not depend
    on its padding or on the others of its batch.
    """

    @takes(RecurrentOptions)
    def __init__(self, options: RecurrentOptions) -> None:
        super().__init__()
        self.options, self.dim, self.projection = options, options.dim, options.projection
        self.words = _word_table(options.vocabulary_size, options.word_dim, options.init)
        self.words.weight.requires_grad_(not options.freeze_vectors)
        self.reader = CELLS[options.cell](
            options.word_dim,
            options.units,
            options.layers,
            batch_first=True,
            bidirectional=options.bidirectional,
            dropout=options.dropout if options.layers > 1 else 0.0,
        )
        self.starts = nn.ParameterList(_zero_starts(options)) if options.learned_start else None
        if options.forget_bias is not None:
            _set_forget_bias(self.reader, options.forget_bias)
        self.pool = make_pool(options.pool)
        self.joint_layer = build_projection(options.projection, self.dim)

    def forward(self, texts: Tokens) -> EmbeddingSet:
        """One vector, not normalized, per word, or per text if pooled; those of padding are exactly zero."""
        _check_ids(texts, self.options.vocabulary_size)
        embedded = nn.functional.dropout(self.words(texts.ids), self.options.dropout, self.training)
        states = nn.functional.dropout(
            self._read(embedded, texts), self.options.output_dropout, self.training
        )
        words = EmbeddingSet(zeroed(self._merged(states), texts.mask), texts.mask)
        if self.options.pool_padding:
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

    def _read(
        self, embedded: Float[Tensor, "text word word_dim"], texts: Tokens
    ) -> Float[Tensor, "text word unit"]:
        return read_states(self.reader, embedded, texts, self._start(texts.lengths.cpu()))

    def _start(self, lengths: Int[Tensor, " text"]) -> Any:
        """The states before the first word, the same for every text; None = zeros."""
        if self.starts is None:
            return None
        starts = [start[:, None].expand(-1, lengths.shape[0], -1).contiguous() for start in self.starts]
        return tuple(starts) if self.options.cell == "lstm" else starts[0]

    def _merged(self, states: Float[Tensor, "text word unit"]) -> Float[Tensor, "text word dim"]:
        return (
            mean_of_directions(states)
            if self.options.bidirectional and self.options.merge == "mean"
            else states
        )


def read_both_ways(
    reader: nn.GRU | nn.LSTM, vectors: Float[Tensor, "text word _"], texts: Tokens
) -> Float[Tensor, "text word dim"]:
    """The mean of the states of both directions, zeros at padding."""
    return zeroed(mean_of_directions(read_states(reader, vectors, texts)), texts.mask)


def read_states(
    reader: nn.GRU | nn.LSTM, vectors: Float[Tensor, "text word _"], texts: Tokens, start: Any = None
) -> Float[Tensor, "text word unit"]:
    """The states of a recurrent network at each word; padding is not read."""
    is_export = is_exporting()  # a GRU of ONNX reads texts of any lengths unsorted
    lengths = texts.lengths.cpu()
    packed = pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=is_export)
    out: PackedSequence = reader(packed, start)[0]
    return pad_packed_sequence(out, batch_first=True, total_length=texts.ids.shape[1])[0]


def mean_of_directions(states: Float[Tensor, "text word both"]) -> Float[Tensor, "text word dim"]:
    forward, backward = states.chunk(2, dim=-1)
    return (forward + backward) / 2


def _zero_starts(options: RecurrentOptions) -> list[Tensor]:
    """The state of a GRU; the state and the memory of an LSTM."""
    rows = options.layers * (2 if options.bidirectional else 1)
    return [torch.zeros(rows, options.units) for _ in range(2 if options.cell == "lstm" else 1)]


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
