"""Recurrent text encoders: CHAN's golden numbers, a slow GRU written from its equations, and promises."""

import pytest
import torch
from support.golden_inputs import fill
from torch import Tensor

from wordsight.encode.projection import out_dim
from wordsight.encode.recurrent import RecurrentEncoder
from wordsight.sets import Tokens

IDS = torch.tensor([[1, 4, 7, 2], [1, 9, 2, 0]])
KINDS = [
    {},
    {"cell": "lstm"},
    {"merge": "concat"},
    {"bidirectional": False},
    {"layers": 2, "cell": "lstm", "merge": "concat"},
    {"learned_start": True, "layers": 2},
    {"cell": "lstm", "merge": "concat", "learned_start": True, "forget_bias": 1.0},
    {"bidirectional": False, "learned_start": True},
]
CMPL = {"cell": "lstm", "merge": "concat", "learned_start": True, "forget_bias": 1.0, "pool": "max"}


def tokens(ids: Tensor) -> Tokens:
    return Tokens(ids, ids != 0)


def encoder(**settings: object) -> RecurrentEncoder:
    return RecurrentEncoder(10, 8, 5, **settings)  # type: ignore[arg-type]


def test_golden_numbers_of_chan() -> None:
    """The reference fills one more linear map after the GRU, which it never applies."""
    bigru = encoder().double()
    fill(bigru)
    vectors = bigru(tokens(IDS)).vectors
    unit = (vectors / (vectors.norm(dim=-1, keepdim=True) + 1e-8)).detach()
    expected = [
        [0.607812, -0.129310, -0.123131, -0.142617, -0.631443, -0.209549, -0.291834, -0.224823],
        [0.461173, 0.228668, -0.218053, -0.120310, -0.560552, -0.392628, -0.181644, -0.414293],
        [0.474921, 0.242093, -0.240699, -0.119836, -0.564308, -0.373276, -0.196041, -0.383842],
    ]
    got = torch.stack([unit[0, 0], unit[0, 3], unit[1, 2]])
    torch.testing.assert_close(got, torch.tensor(expected).double(), atol=2e-6, rtol=0)
    assert not unit[1, 3].any()


def slow_gru(words: Tensor, cell: torch.nn.GRU, suffix: str) -> Tensor:
    """Cho et al. 2014, one word after another."""
    (wi, wh, bi, bh) = (
        getattr(cell, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    state, states = torch.zeros(wh.shape[1]), []
    for word in words:
        reset_in, update_in, new_in = (wi @ word + bi).chunk(3)
        reset_state, update_state, new_state = (wh @ state + bh).chunk(3)
        reset = torch.sigmoid(reset_in + reset_state)
        update = torch.sigmoid(update_in + update_state)
        state = (1 - update) * torch.tanh(new_in + reset * new_state) + update * state
        states.append(state)
    return torch.stack(states)


@pytest.mark.parametrize("merge", ["mean", "concat"])
def test_is_a_gru_read_both_ways(merge: str) -> None:
    bigru = encoder(merge=merge)
    vectors = bigru(tokens(IDS)).vectors
    for row, ids in enumerate([[1, 4, 7, 2], [1, 9, 2]]):
        words = bigru.words(torch.tensor(ids))
        forth = slow_gru(words, bigru.reader, "")
        back = slow_gru(words.flip(0), bigru.reader, "_reverse").flip(0)
        expected = (forth + back) / 2 if merge == "mean" else torch.cat([forth, back], 1)
        torch.testing.assert_close(vectors[row, : len(ids)], expected)


def slow_lstm(words: Tensor, cell: torch.nn.LSTM, suffix: str, state: Tensor, memory: Tensor) -> Tensor:
    """Hochreiter and Schmidhuber 1997 with forget gates, one word after another, from given states."""
    (wi, wh, bi, bh) = (
        getattr(cell, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    states = []
    for word in words:
        enter, forget, new, leave = (wi @ word + bi + wh @ state + bh).chunk(4)
        memory = torch.sigmoid(forget) * memory + torch.sigmoid(enter) * torch.tanh(new)
        state = torch.sigmoid(leave) * torch.tanh(memory)
        states.append(state)
    return torch.stack(states)


def started(encoder: RecurrentEncoder) -> RecurrentEncoder:
    """The learned states before the first word, where they have been learned."""
    with torch.no_grad():
        for start in encoder.starts:
            start.normal_()
    return encoder


def test_cmpls_text_is_the_maximum_over_an_lstm_that_starts_from_learned_states() -> None:
    encoder_ = started(encoder(**CMPL))
    vectors = encoder_(tokens(IDS)).vectors
    assert vectors.shape == (2, 1, 8)
    state, memory = encoder_.starts
    for row, ids in enumerate([[1, 4, 7, 2], [1, 9, 2]]):
        words = encoder_.words(torch.tensor(ids))
        forth = slow_lstm(words, encoder_.reader, "", state[0], memory[0])
        back = slow_lstm(words.flip(0), encoder_.reader, "_reverse", state[1], memory[1]).flip(0)
        expected = torch.cat([forth, back], 1).max(0).values
        torch.testing.assert_close(vectors[row, 0], expected)


def test_cmpls_code_pools_zeros_of_padding_too() -> None:
    correct, published = (started(encoder(**CMPL, pool_padding=padding)) for padding in (False, True))
    published.load_state_dict(correct.state_dict())
    right, theirs = correct(tokens(IDS)).vectors, published(tokens(IDS)).vectors
    torch.testing.assert_close(theirs[0], right[0])  # the longest text has no padding
    torch.testing.assert_close(theirs[1], right[1].clamp(min=0))
    assert (right[1] < 0).any()
    torch.testing.assert_close(published(tokens(IDS[1:, :3])).vectors[0], right[1])  # nor has one alone


def test_forget_gates_start_open() -> None:
    biases = encoder(cell="lstm", layers=2, forget_bias=1.0).reader
    summed = biases.bias_ih_l1_reverse + biases.bias_hh_l1_reverse
    assert torch.equal(summed.chunk(4)[1], torch.ones(8))
    assert not torch.equal(summed.chunk(4)[0], torch.ones(8))


def test_the_joint_layer_comes_last() -> None:
    reader = encoder(pool="max", projection={"dim": 3, "eps": 0.001}).eval()
    pooled = encoder(pool="max").eval()
    pooled.load_state_dict({k: v for k, v in reader.state_dict().items() if "joint_layer" not in k})
    projection = reader.joint_layer(pooled(tokens(IDS)).vectors[:, 0])
    torch.testing.assert_close(reader(tokens(IDS)).vectors[:, 0], projection)
    assert (reader.dim, out_dim(reader), out_dim(pooled)) == (8, 3, 8)


def test_states_are_dropped_in_training() -> None:
    reader = encoder(output_dropout=0.3)
    vectors = torch.stack([reader(tokens(IDS)).vectors[0] for _ in range(300)])
    reader.eval()
    whole = reader(tokens(IDS)).vectors[0]
    torch.testing.assert_close(vectors.mean(0), whole, atol=0.1, rtol=0.1)
    assert torch.equal(reader(tokens(IDS)).vectors[0], whole)
    unmerged = encoder(output_dropout=0.3, bidirectional=False)
    zeros = torch.stack([unmerged(tokens(IDS)).vectors[0] == 0 for _ in range(300)])
    assert float(zeros.float().mean()) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_ignores_padding_and_batch_mates(settings: dict[str, object]) -> None:
    reader = encoder(**settings)
    lengths = [2, 6, 4, 6, 1]
    ids = torch.randint(1, 10, (5, 9)) * (torch.arange(9) < torch.tensor(lengths)[:, None])
    together = reader(tokens(ids))
    assert together.vectors.shape == (5, 9, 8)
    assert together.boxes is None
    for row, length in enumerate(lengths):
        alone = reader(tokens(ids[[row], :length]))
        torch.testing.assert_close(together.vectors[row, :length], alone.vectors[0])
        assert not together.vectors[row, length:].any()


@pytest.mark.parametrize("settings", [CMPL, {"pool": "mean", "projection": 5}], ids=str)
def test_a_pooled_text_ignores_padding_and_batch_mates(settings: dict[str, object]) -> None:
    reader = encoder(**settings).eval()
    together = reader(tokens(IDS))
    assert together.mask.all()
    torch.testing.assert_close(reader(tokens(IDS[1:, :3])).vectors[0], together.vectors[1])
    wide = torch.nn.functional.pad(IDS, (0, 3))
    torch.testing.assert_close(reader(tokens(wide)).vectors, together.vectors)


def test_what_padding_holds_does_not_matter_but_the_mask_does() -> None:
    reader = encoder()
    mask = IDS != 0
    torch.testing.assert_close(
        reader(Tokens(IDS.masked_fill(~mask, 7), mask)).vectors, reader(Tokens(IDS, mask)).vectors
    )


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_every_weight_learns(settings: dict[str, object]) -> None:
    reader = encoder(**settings)
    reader(tokens(IDS)).vectors.square().sum().backward()
    for name, parameter in reader.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_frozen_vectors_are_really_frozen() -> None:
    reader = encoder(freeze_vectors=True)
    reader.load_vectors(torch.randn(10, 5))
    before = reader.words.weight.clone()
    optimizer = torch.optim.AdamW((p for p in reader.parameters() if p.requires_grad), 0.1)
    reader(tokens(IDS)).vectors.square().sum().backward()
    optimizer.step()
    assert torch.equal(reader.words.weight, before)
    assert reader.words.weight.grad is None


def test_loaded_vectors_are_kept_and_unknown_words_are_drawn_like_them() -> None:
    reader = RecurrentEncoder(2000, 8, 50)
    matrix = torch.randn(2000, 50) * 0.3 + 0.1
    matrix[1000:] = 0
    reader.load_vectors(matrix)
    assert reader.words.weight.requires_grad
    table = reader.words.weight.detach()
    assert torch.equal(table[:1000], matrix[:1000])
    assert float(table[1000:].std()) == pytest.approx(0.3, rel=0.05)
    assert float(table[1000:].mean()) == pytest.approx(0.1, abs=0.02)
    known = torch.arange(2000) < 5
    reader.load_vectors(matrix, known)
    assert torch.equal(reader.words.weight[:5], matrix[:5])
    assert not torch.equal(reader.words.weight[5:1000], matrix[5:1000])


def test_word_tables_start_as_the_papers_do() -> None:
    assert RecurrentEncoder(500, 8, 100).words.weight.abs().max() <= 0.1  # sqrt(6 / 600)
    uniform = RecurrentEncoder(500, 8, 100, init="uniform").words.weight
    assert 0.099 < uniform.abs().max() <= 0.1


def test_parameter_count_of_the_published_encoder() -> None:
    dead_linear = 1024 * 1024 + 1024
    ours = sum(parameter.numel() for parameter in RecurrentEncoder(8481, 1024).parameters())
    per_word = 300
    assert (11_741_144 - dead_linear - ours) % per_word == 0


def test_dropout_only_in_training() -> None:
    reader = encoder(dropout=0.5, layers=2)
    assert not torch.equal(reader(tokens(IDS)).vectors, reader(tokens(IDS)).vectors)
    reader.eval()
    assert torch.equal(reader(tokens(IDS)).vectors, reader(tokens(IDS)).vectors)


def test_mistakes_name_value_and_remedy() -> None:
    with pytest.raises(ValueError, match='cell "rnn" is not known; known: gru, lstm'):
        encoder(cell="rnn")
    with pytest.raises(ValueError, match='merge "sum" is not known; known: concat, mean'):
        encoder(merge="sum")
    with pytest.raises(ValueError, match=r'forget_bias = 1\.0: only cell = "lstm" has forget gates'):
        encoder(forget_bias=1.0)
    with pytest.raises(ValueError, match="pool_padding = true needs a pool"):
        encoder(pool_padding=True)
    with pytest.raises(ValueError, match="halves dim, and 7 is odd"):
        RecurrentEncoder(10, 7, merge="concat")
    with pytest.raises(ValueError, match='init "glove" is not known; known: uniform, xavier'):
        encoder(init="glove")
    with pytest.raises(ValueError, match=r"the word vectors are \(10, 300\).*set word_dim = 300"):
        encoder().load_vectors(torch.randn(10, 300))
    with pytest.raises(ValueError, match="none of the words has a pretrained vector"):
        encoder().load_vectors(torch.zeros(10, 5))
    with pytest.raises(ValueError, match="word id 10 is beyond the encoder's vocabulary of 10 words"):
        encoder()(tokens(torch.tensor([[1, 10]])))
    with pytest.raises(ValueError, match="text 1 of the batch has no words"):
        encoder()(tokens(torch.tensor([[1, 2], [0, 0]])))
