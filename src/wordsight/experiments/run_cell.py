"""One cell of a comparison, in a process of its own: a trained run in, its numbers and ranks out.

``python -m wordsight.experiments.run_cell FOLDER SPLIT [--trust-remote-code]`` trains what FOLDER/config.toml
says, or goes on with it, and writes measured.json and ranks.npz there. It ends when its standard input does:
a comparison that is killed leaves no run behind that writes into the folders of the next one.
"""

import logging
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Thread
from time import monotonic, perf_counter
from typing import Any

import numpy as np
import torch

from wordsight.builder import Builder
from wordsight.config import CONFIG, load_config
from wordsight.errors import InputError, user_message
from wordsight.evaluation import pointing_accuracy
from wordsight.evaluation.encode import encode_images, encode_texts
from wordsight.evaluation.pointing import can_point
from wordsight.experiments.grid import Cell
from wordsight.files.atomic import atomic_file
from wordsight.files.json_text import to_json
from wordsight.files.lock import StoreInUse, locked
from wordsight.learn.resume import BEST, LAST, RUN
from wordsight.matcher import Matcher
from wordsight.matcher.inference import inference
from wordsight.pairs import PairSet
from wordsight.runs.measuring import measure
from wordsight.runs.training import train
from wordsight.runtime.malloc import keep_freed_memory
from wordsight.runtime.progress import ProgressDisplay
from wordsight.runtime.usage import cpu_seconds, peak_memory_mb

TRUST = "--trust-remote-code"
MEASURED, RANKS, LOG = "measured.json", "ranks.npz", "output.txt"
IN_USE = 75  # exit code of a cell whose folder another process writes to
TIMED_IMAGES, TIMED_TEXTS = 500, 1000  # enough pairs to time a similarity


def is_done(cell: Cell, folder: Path) -> bool:
    """Whether this very cell has been measured; a folder of other settings is an error."""
    saved = folder / CONFIG
    if saved.is_file() and saved.read_text(encoding="utf-8") != cell.config.to_toml():
        raise InputError(
            f"{folder} was begun with another configuration; give the comparison another --out, "
            "or remove that folder to run the cell again"
        )
    return (folder / MEASURED).is_file()


def run_cell(cell: Cell, home: Path, split: str, threads: int) -> None:
    """Train and measure in another process, so that memory and processor time are this cell's own.

    Raises RuntimeError with the last line of its output and the way on when it fails.
    """
    folder = cell.folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / CONFIG).exists():
        cell.config.save(folder / CONFIG)
    command = [sys.executable, "-m", "wordsight.experiments.run_cell", str(folder), split]
    command += [TRUST] if cell.config.trust_remote_code else []
    number = str(threads)
    environment = os.environ | {"OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number}
    with (
        (folder / LOG).open("ab") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment) as process,
    ):
        failed = process.wait()
    if failed:
        raise RuntimeError(
            f"{cell.name}, seed {cell.seed}: {_reason(folder, failed)}. {_way_on(folder, failed)}"
        )


def _reason(folder: Path, code: int) -> str:
    """The last line of a cell's output, or the signal that ended it."""
    if code < 0:
        return f"killed by signal {-code}" + (", perhaps for want of memory" if code == -9 else "")
    said = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return said[-1].rstrip(".") if said else f"exit code {code}"


def _way_on(folder: Path, code: int) -> str:
    """Keep what can be resumed; of a cell that trained nothing, keep its output alone."""
    if code == IN_USE:
        return "Wait until that ends"
    if (folder / LAST).is_dir():
        return f"The same command resumes it from its last epoch ({folder})"
    shutil.rmtree(folder / BEST, ignore_errors=True)
    for name in (CONFIG, RUN):
        (folder / name).unlink(missing_ok=True)
    return (
        f"Nothing was trained yet; once the cause is removed, the same command runs it (see {folder / LOG})"
    )


def measure_cell(folder: Path, split: Any, trust_remote_code: bool = False) -> None:
    """Train (or go on), then measure the best model; both files are written whole."""
    config = load_config(str(folder), trust_remote_code=trust_remote_code)
    begun = (folder / LAST).is_dir()
    started = monotonic()
    with ProgressDisplay() as progress:
        history = train(config, folder, begun, progress, calibrate=False)
    spent = {
        "wall": monotonic() - started,
        "cpu": cpu_seconds(),
        "went_on": begun,
    }  # then it is not all of the time
    matcher = Matcher.from_pretrained(folder / BEST, trust_remote_code=trust_remote_code)
    pairs = Builder(config).measured_pairs(split)
    recalls = measure(config, matcher, pairs, device=config.training.device)
    ranks = recalls.ranks
    with atomic_file(folder / RANKS) as file:
        np.savez(
            file,
            images=np.concatenate([fold.images for fold in ranks]),
            texts=np.concatenate([fold.texts for fold in ranks]),
            image_identities=np.concatenate([fold.image_identities for fold in ranks]),
            text_identities=np.concatenate([fold.text_identities for fold in ranks]),
        )
    pointing = pointing_accuracy(matcher, pairs).to_dict() if can_point(matcher, pairs) else None
    facts = {
        "recalls": recalls.to_dict(),
        "pointing": pointing,
        "training_seconds": spent,
        "peak_memory_mb": peak_memory_mb(),  # null where the system does not say
        "pairs_scored_per_second": scoring_speed(matcher, pairs),
        "best_epoch": history.best_epoch,
        "validation_rsum": history.best_rsum,
        "weights": sum(weight.numel() for weight in matcher.parameters()),
        "threads": torch.get_num_threads(),
    }
    _write(folder / MEASURED, facts)


def scoring_speed(matcher: Matcher, pairs: PairSet) -> float:
    """Scores per second of encoded images with encoded texts, the best of three."""
    some = pairs.subset(range(min(TIMED_IMAGES, len(pairs.images))))
    with inference(matcher):
        images, texts = encode_images(matcher, some), encode_texts(matcher, some)
        texts = texts[: min(TIMED_TEXTS, len(texts))]
        times = []
        for _ in range(3):
            start = perf_counter()
            matcher.similarity(images, texts)
            times.append(perf_counter() - start)
    return len(images) * len(texts) / min(times)


def _write(path: Path, facts: Any) -> None:
    with atomic_file(path) as file:
        file.write((to_json(facts, indent=2) + "\n").encode())


def _end_with_the_input() -> None:
    """The comparison holds the other end and writes nothing; a kill closes it too."""
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    keep_freed_memory()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("wordsight").setLevel(logging.INFO)
    Thread(target=_end_with_the_input, daemon=True).start()
    try:
        with closing(locked(Path(sys.argv[1]))):
            measure_cell(Path(sys.argv[1]), sys.argv[2], TRUST in sys.argv[3:])
    except StoreInUse as failure:
        sys.stderr.write(f"{failure}\n")
        sys.exit(IN_USE)
    except Exception as failure:
        message = user_message(failure)
        if message is None:
            raise
        sys.exit(message)
