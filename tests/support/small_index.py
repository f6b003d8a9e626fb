"""An index small enough to be made in a moment, and processes that die while they make it.

Run as a program it kills, checks and finishes: see ``main``.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from PIL import Image

import wordsight.search
from wordsight.cli.main import main as command
from wordsight.files import append
from wordsight.files.index_folder import META
from wordsight.matcher import Matcher
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.search.index import database
from wordsight.search.index.database import IndexFull
from wordsight.search.index.index import Index
from wordsight.sets import EmbeddingSet

BATCH = 4
SEARCH = str(Path(wordsight.search.__file__).parent)
WRITING = (f"{SEARCH}/index/writer", f"{SEARCH}/index/vector_files", append.__file__)
Contents = dict[str, tuple[str, str, bytes]]  # path -> hash, text, the stored numbers


def small_model(folder: Path, seed: int = 0, dim: int = 8) -> Path:
    """An untrained matcher of pictures of 8 x 8 pixels and a few words."""
    torch.manual_seed(seed)
    Vocabulary.learn(["a red green blue ball dog runs"], min_count=1).save(folder / "vocabulary.json")
    tables: dict[str, dict[str, Any]] = {
        "reader": {"name": "pixels", "size": 8},
        "tokenizer": {"name": "words", "vocabulary": str(folder / "vocabulary.json")},
        "image_encoder": {"name": "grid-cnn", "dim": dim, "width": 4, "depth": 0, "cell": 4},
        "text_encoder": {"name": "recurrent", "dim": dim, "word_dim": 4},
        "similarity": {"name": "max-sim"},
    }
    Matcher.build(tables).save_pretrained(folder / "model")
    return folder / "model"


def draw(folder: Path, numbers: Sequence[int], name: str = "{:03}.png") -> list[Path]:
    """Pictures of noise, another for each number."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in numbers:
        noise = np.random.default_rng(number).integers(0, 256, (6, 5 + number % 7, 3), dtype=np.uint8)
        paths.append(folder / name.format(number))
        Image.fromarray(noise).save(paths[-1])
    return paths


def read(index: Index) -> Contents:
    """Everything that an index says, by path."""
    with index.snapshot() as snapshot:
        return {
            item.path if index.kind == "images" else item.text: (
                item.content,
                item.text,
                as_bytes(snapshot.gather([row])) + snapshot.mean_vectors([row]).tobytes(),
            )
            for row, item in enumerate(snapshot.items(range(len(snapshot))))
        }


def as_bytes(embeddings: EmbeddingSet) -> bytes:
    boxes = b"" if embeddings.boxes is None else embeddings.boxes.numpy().tobytes()
    return embeddings.vectors.numpy().tobytes() + embeddings.mask.numpy().tobytes() + boxes


def make(folder: Path, model: Path, pictures: Path, **settings: Any) -> Index:
    """What ``wordsight index`` does: go on with the index, or begin it."""
    there = (folder / META).is_file()
    index = Index.open_to_write(folder) if there else Index.create(folder, model)
    index.update([pictures], batch_size=BATCH, workers=2, **settings)
    return index


def at_line(number: int, act: Callable[[], None], places: tuple[str, ...] = (SEARCH,)) -> None:
    """``act`` before the n-th line that this thread executes in these modules, by default the index's own."""
    left = [number]

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(places):
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                sys.settrace(None)
                act()
        return trace

    sys.settrace(trace)


def in_child(work: Callable[[], Any]) -> int:
    """Do it in a process of its own; the status that it ended with. An error that is not foreseen is 99."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            work()
            code = 0
        except IndexFull:
            code = 7
        except SystemExit as error:
            code = int(error.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
        os._exit(code)
    return os.waitpid(child, 0)[1]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class World:
    """A folder of pictures that changes, an index of it, and the index that nothing ever stopped."""

    def __init__(self, folder: Path, draws: random.Random) -> None:
        self.folder, self.draws = folder, draws
        self.model = small_model(folder / "source")
        self.pictures, self.index = folder / "pictures", folder / "index"
        self.deaths = 0

    def begin(self) -> None:
        """Nothing indexed, pictures in two folders, one of them twice."""
        for path in (self.pictures, self.index):
            shutil.rmtree(path, ignore_errors=True)
        draw(self.pictures / "one", range(13))
        draw(self.pictures / "two", range(20, 29))
        draw(self.pictures / "two", [3], "copy.png")
        (self.pictures / "one" / "004.txt").write_text("a red ball\n")

    def change(self) -> None:
        """One renamed, one moved over another, some deleted, some new, one text changed, all by chance."""
        names = sorted(path for path in self.pictures.rglob("*.png"))
        first, second, third, *gone = self.draws.sample(names, 7)
        first.rename(first.with_name(f"renamed-{self.draws.random()}.png"))
        second.replace(third)
        for path in gone:
            path.unlink()
        draw(self.pictures / "new", [self.draws.randrange(100, 10_000) for _ in range(6)])
        (self.pictures / "one" / "004.txt").write_text(f"a ball {self.draws.random()}\n")

    def update(self) -> None:
        make(self.index, self.model, self.pictures)

    def compact(self) -> None:
        Index.open(self.index).compact()

    def check(self) -> None:
        """Every promise of an index that is there holds."""
        if (self.index / META).is_file():
            index = Index.open(self.index)
            problems = index.verify()
            assert not problems, problems

    def check_batches(self) -> None:
        """What was committed are whole batches: 22 contents in batches of 4."""
        if (self.index / META).is_file():
            assert Index.open(self.index).stats().contents in (0, 4, 8, 12, 16, 20, 22)

    def check_finished(self) -> None:
        self.update()
        self.check()
        fresh = self.folder / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        there, expected = read(Index.open(self.index)), read(make(fresh, self.model, self.pictures))
        assert there == expected, sorted(set(there) ^ set(expected))

    def kill(self, work: Callable[[], Any], lines: int, writing: int, seconds: float) -> None:
        """Once at any line of the index's, at any line where batches are written, or at any time."""
        way = self.draws.random()
        if way < 0.3:
            at = int(lines ** self.draws.uniform(0.3, 1))  # what is left to do is often little
            status = in_child(lambda: (at_line(at, die), work()))
        elif way < 0.7:
            at = self.draws.randrange(1, writing)
            status = in_child(lambda: (at_line(at, die, WRITING), work()))
        else:
            moment = self.draws.uniform(0.001, seconds)
            status = in_child(lambda: (signal.setitimer(signal.ITIMER_REAL, moment), work()))
        assert os.WIFSIGNALED(status) or status == 0, status
        self.deaths += os.WIFSIGNALED(status)


def killed(folder: Path, rounds: int, kills: int) -> dict[str, int]:
    """Indexing, changing and compacting, each killed some times on the way; then all is as if nothing was."""
    world = World(folder, random.Random(rounds))
    for _ in range(rounds):
        world.begin()
        for _ in range(kills):
            world.kill(world.update, 3500, 1050, 0.15)
            world.check()
            world.check_batches()
        world.check_finished()
        world.change()
        for _ in range(kills):
            world.kill(world.update, 1700, 450, 0.1)
            world.check()
        world.check_finished()
        before = read(Index.open(world.index))
        for _ in range(kills):
            world.kill(world.compact, 1500, 1100, 0.05)
            world.check()
            assert read(Index.open(world.index)) == before
        world.compact()
        world.check_finished()
    return {"deaths": world.deaths}


def filled(folder: Path, step: int) -> dict[str, int]:
    """A disk that is full after so many bytes of a file, every limit in turn; then there is room again."""
    world = World(folder, random.Random(0))
    world.begin()
    full = 0
    for limit in range(64, 120_000, step):
        shutil.rmtree(world.index, ignore_errors=True)

        def work(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            world.update()

        status = in_child(work)
        assert os.WIFEXITED(status), status
        assert os.waitstatus_to_exitcode(status) in (0, 7), f"exit code of limit {limit}"
        full += os.waitstatus_to_exitcode(status) == 7
        world.check()
        if full % 5 == 0:
            world.check_finished()
    world.check_finished()
    return {"full": full}


def interrupted(folder: Path, times: int) -> dict[str, int]:
    """Ctrl-C at any line of the command: exit code 130, and the same command goes on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in a shell's background ignores it
    world = World(folder, random.Random(0))
    world.begin()
    codes = []
    arguments = ["index", str(world.pictures), "--model", str(world.model), "--out", str(world.index)]
    arguments += ["--batch-size", str(BATCH)]
    for _ in range(times):
        at = world.draws.randrange(1, 2500)
        press = lambda: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
        status = in_child(lambda at=at, press=press: (at_line(at, press), command(arguments)))
        codes.append(os.waitstatus_to_exitcode(status))
        world.check()
        if codes[-1] == 0:
            world.check_finished()
            world.begin()
    assert set(codes) <= {0, 130}, codes
    world.check_finished()
    return {"interrupted": codes.count(130)}


def main() -> None:
    """NAME FOLDER NUMBER...: one of the functions above; prints what it returns as JSON."""
    torch.set_num_threads(1)
    database.SYNCHRONOUS = (
        "OFF"  # a kill leaves the system's memory of the files alone: no need to wait for disks
    )
    os.fsync = lambda handle: None  # type: ignore[assignment]
    name, folder, *numbers = sys.argv[1:]
    work = {"killed": killed, "filled": filled, "interrupted": interrupted}[name]
    print(json.dumps(work(Path(folder), *map(int, numbers))))


if __name__ == "__main__":
    main()
