"""A bidirectional GRU on a processor, forward and backward, against torch's own.

    python benchmarks/reading_both_ways.py [--rounds 10] [--threads 1]

CPU time, the least of all rounds, both in turn in one process; texts of half to all of the longest length.
"""

import argparse
from collections.abc import Callable
from time import process_time

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from wordsight.encode.gru import read_both_ways

SIZES = [(48, 20, 64, 64), (96, 20, 64, 64), (128, 16, 300, 512), (128, 16, 300, 1024)]  # texts, words, dims
Read = Callable[[Tensor, Tensor, nn.GRU], Tensor]


def torchs(words: Tensor, lengths: Tensor, reader: nn.GRU) -> Tensor:
    packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(reader(packed)[0], batch_first=True, total_length=words.shape[1])[0]


def seconds(read: Read, words: Tensor, lengths: Tensor, reader: nn.GRU) -> tuple[float, float]:
    start = process_time()
    states = read(words, lengths, reader)
    forward = process_time()
    states.sum().backward()
    return forward - start, process_time() - forward


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--threads", type=int, default=1)
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    for texts, longest, word_dim, units in SIZES:
        reader = nn.GRU(word_dim, units, batch_first=True, bidirectional=True)
        lengths = torch.randint(longest // 2, longest + 1, (texts,)).index_fill_(0, torch.tensor(0), longest)
        words = torch.randn(texts, longest, word_dim, requires_grad=True)
        rounds = [
            [seconds(read, words, lengths, reader) for read in (torchs, read_both_ways)]
            for _ in range(asked.rounds)
        ]
        best = [[min(one[way][part] for one in rounds) for part in (0, 1)] for way in (0, 1)]
        told = [f"{1e3 * forward:.1f} + {1e3 * backward:.1f}" for forward, backward in best]
        print(
            f"{texts} texts x {longest} words, {units} units: torch {told[0]} ms, here {told[1]} ms, "
            f"{sum(best[0]) / sum(best[1]):.2f}x"
        )


if __name__ == "__main__":
    main()
