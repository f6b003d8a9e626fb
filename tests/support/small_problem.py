"""A problem small enough to learn in a second: images of coloured regions, texts that name the colours.

Run as a program it trains in a folder, so that tests can kill it: see ``main``.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from wordsight.builder import Builder
from wordsight.encode.recurrent import RecurrentEncoder
from wordsight.encode.regions import RegionEncoder
from wordsight.learn.settings import Training
from wordsight.learn.training import History, fit
from wordsight.learn.triplet import Triplet
from wordsight.matcher import Matcher
from wordsight.pairs import PairSet, one_identity_per_image
from wordsight.read.features.precomputed_reader import Precomputed
from wordsight.read.text.base import Tokenizer
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.read.text.word_tokenizer import Words
from wordsight.sets import Regions, Tokens
from wordsight.similarity.max_sim import MaxSim

COLOURS = ["red", "orange", "yellow", "green", "blue", "violet", "white", "black", "brown", "pink"]
DIM = 16
SETTINGS = Training(precision="float32",
    epochs=3, batch_size=8, learning_rate=0.01, schedule="constant", device="cpu", log_every=1, workers=1,
    drop_regions=0.2, drop_words=0.2, ema=0.9,
)  # fmt: skip


@dataclass(frozen=True)
class RowCache:
    """Regions in memory as an image source."""

    regions: Regions

    def __len__(self) -> int:
        return len(self.regions)

    def read(self, rows: Sequence[int]) -> Regions:
        return self.regions[rows]


def small_pairs(images: int = 20, texts: int = 2, seed: int = 0) -> PairSet:
    """Each image has three regions of different colours; each of its texts names two of them."""
    draw = torch.Generator().manual_seed(seed)
    colours = torch.stack([torch.randperm(len(COLOURS), generator=draw)[:3] for _ in range(images)])
    noise = 0.1 * torch.randn(images, 3, len(COLOURS), generator=draw)
    regions = Regions(torch.eye(len(COLOURS))[colours] + noise, None, torch.ones(images, 3, dtype=torch.bool))
    named = [colours[i][torch.randperm(3, generator=draw)[:2]] for i in range(images) for _ in range(texts)]
    return PairSet(
        RowCache(regions),
        [f"image {i}" for i in range(images)],
        [" ".join(COLOURS[c] for c in row) for row in named],
        torch.arange(images).repeat_interleave(texts),
        one_identity_per_image(images),
        source="small problem",
    )


def small_matcher(dropout: float = 0.2, seed: int = 0) -> Matcher:
    torch.manual_seed(seed)
    words = Words(Vocabulary.learn([" ".join(COLOURS)], min_count=1))
    return Matcher(
        Precomputed(len(COLOURS)),
        words,
        RegionEncoder(len(COLOURS), DIM, dropout=dropout),
        RecurrentEncoder(len(words), DIM, word_dim=DIM, dropout=dropout),
        MaxSim(),
    )


class SpacedWords(Tokenizer):
    """A tokenizer in few lines: words stand between spaces, and ``pieces_of`` gives the ids of each."""

    max_length, mask_id = 64, None

    def __init__(self, pieces_of: Callable[[str], list[int]], size: int = 512) -> None:
        self.pieces_of, self.size = pieces_of, size

    def __len__(self) -> int:
        return self.size

    def words(self, text: str) -> list[list[int]]:
        return [self.pieces_of(word) for word in text.split()]

    def finish(self, words: Sequence[Sequence[int]]) -> list[int]:
        return [1, *(piece for word in words for piece in word), 2]

    def labels(self, text: str) -> list[str]:
        words = [[word] + [""] * (len(self.pieces_of(word)) - 1) for word in text.split()]
        return ["<start>", *(piece for word in words for piece in word), "<end>"]

    def save(self, folder: Path) -> dict[str, Any]:
        return {}

    def __call__(self, texts: Sequence[str]) -> Tokens:
        rows = [torch.tensor(self.finish(self.words(text))) for text in texts]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return Tokens(ids, ids > 0)


def untrained_run(folder: Path, seed: int = 0, images: int = 24) -> Path:
    """What training on the demo's world, in small, would leave after no step at all."""
    from wordsight.config import CONFIG, load_config

    small = [
        f"data.images={images}",
        "image_encoder.dim=16",
        "image_encoder.width=8",
        "text_encoder.word_dim=8",
    ]
    config = load_config("demo", small)
    torch.manual_seed(seed)
    Builder(config).matcher(Builder(config).pairs("train")).save_pretrained(folder / "best")
    config.save(folder / CONFIG)
    return folder


def wordsight(*arguments: object) -> Any:
    """Run a command in this process: exit_code, stdout, stderr, exception."""
    from typer.testing import CliRunner

    from wordsight.cli.main import app
    from wordsight.cli.stderr import logged_to_stderr

    with logged_to_stderr():
        return CliRunner().invoke(app, [str(argument) for argument in arguments])


def share_ranked_first(pairs: PairSet) -> Callable[[Matcher], dict[str, float]]:
    """A validation: percent of texts that score their own image highest."""

    def validate(matcher: Matcher) -> dict[str, float]:
        scores = matcher.score(pairs.images.read(range(len(pairs.images))), pairs.texts)
        return {"rsum": 100 * float((scores.argmax(0).cpu() == pairs.image_of).float().mean())}

    return validate


def train(folder: Path, settings: Training = SETTINGS, resume: bool = False, dropout: float = 0.2) -> History:
    pairs = small_pairs()
    validate = share_ranked_first(pairs)
    loss = Triplet(0.2, warmup_epochs=1)
    return fit(small_matcher(dropout), loss, pairs, settings, folder, validate, resume)


def dying(folder: Path, settings: Training, after_events: int | None, after_seconds: float | None) -> int:
    """Go on with the run in a process of its own that is killed on the way; its exit status."""
    child = os.fork()
    if child == 0:
        if after_events is not None:
            _kill_at_file_event(after_events)
        if after_seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, after_seconds)  # nothing catches SIGALRM: it kills
        train(folder, settings, resume=True)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def _kill_at_file_event(number: int) -> None:
    """SIGKILL at the n-th time that this process opens, renames or removes a file or folder."""
    left = [number]

    def watch(event: str, args: Any) -> None:
        if event in (
            "open",
            "os.mkdir",
            "os.rename",
            "os.remove",
            "os.rmdir",
            "shutil.rmtree",
            "os.truncate",
        ):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def main() -> None:
    """PLAN...: for each, a run that dies as its plan says and is then finished; prints how many died.

    A plan is JSON: {"folder": ..., "checkpoint_every": 1, "events": [n, ...], "seconds": [s, ...]}.
    """
    import torch._dynamo
    import torch.utils.tensorboard  # noqa: F401 - both take seconds: once, before the processes part

    torch.set_num_threads(1)
    for plan in map(json.loads, sys.argv[1:]):
        settings = replace(SETTINGS, checkpoint_every=plan["checkpoint_every"])
        deaths = [(number, None) for number in plan["events"]] + [(None, time) for time in plan["seconds"]]
        died = [os.WIFSIGNALED(dying(Path(plan["folder"]), settings, *death)) for death in deaths]
        train(Path(plan["folder"]), settings, resume=True)
        print(sum(died))


if __name__ == "__main__":
    main()
