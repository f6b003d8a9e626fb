"""The store of a frozen network's hidden states: right values, computed once, within its memory."""

import torch

from wordsight.encode.state_cache import StateCache
from wordsight.sets import Tokens

SIZE = 4
BYTES_PER_STATE = 2 * SIZE


def tokens(*texts: list[int]) -> Tokens:
    width = max(map(len, texts))
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts])
    return Tokens(ids, ids != 0)


class Network:
    """A frozen network that counts the texts it reads; a state is its token's id, repeated."""

    def __init__(self) -> None:
        self.read = self.padding = 0

    def __call__(self, texts: Tokens) -> torch.Tensor:
        self.read += len(texts)
        self.padding += int((~texts.mask).sum())
        return texts.ids[..., None].expand(-1, -1, SIZE).float() + 100 * ~texts.mask[..., None]


def test_states_are_those_of_the_network_and_zeros_at_padding() -> None:
    cache, network = StateCache(1), Network()
    for _ in range(2):
        texts = tokens([7, 8, 9], [5])
        states = cache.read(texts, network)
        assert torch.equal(states, texts.ids[..., None].expand(-1, -1, SIZE).float())
        assert states.dtype == torch.float32


def test_a_text_is_computed_once_whatever_batch_it_comes_in() -> None:
    cache, network = StateCache(1), Network()
    cache.read(tokens([7, 8, 9], [5]), network)
    states = cache.read(tokens([5], [6, 4], [7, 8, 9]), network)
    assert network.read == 3
    assert states[:, 0, 0].tolist() == [5, 6, 7]


def test_texts_beyond_the_memory_are_computed_each_time() -> None:
    cache, network = StateCache(2 * BYTES_PER_STATE / 2**20), Network()
    for _ in range(2):
        states = cache.read(tokens([1, 2], [3, 4]), network)
        assert states[..., 0].tolist() == [[1, 2], [3, 4]]
    assert len(cache) == 1
    assert network.read == 2 + 1


def test_no_memory_stores_nothing() -> None:
    cache, network = StateCache(0), Network()
    cache.read(tokens([1, 2]), network)
    assert len(cache) == 0


def test_texts_of_one_length_are_computed_together() -> None:
    cache, network = StateCache(1), Network()
    texts = [[row + 1] * (1 + row % 2 * 9) for row in range(64)]
    states = cache.read(tokens(*texts), network)
    assert network.padding == 0
    assert states[:, 0, 0].tolist() == list(range(1, 65))
