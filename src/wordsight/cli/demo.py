"""Nothing but a seed in; a trained model, its numbers, a searched folder, a page that shows why out."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from time import monotonic

import torch
import typer

from wordsight.cli.index import index
from wordsight.cli.index_options import CaptionOptions, UpdateOptions, UpkeepOptions
from wordsight.cli.search import search
from wordsight.cli.search_options import FilterOptions, HitOptions, IndexOptions, OutputOptions
from wordsight.cli.serve import missing_packages
from wordsight.cli.stderr import say
from wordsight.config import CONFIG, load_config
from wordsight.errors import InputError
from wordsight.learn.resume import LAST
from wordsight.read.synthetic.dataset import generate
from wordsight.read.synthetic.export import write_pictures
from wordsight.read.synthetic.scenes import COLOURS, SHAPES, Scene
from wordsight.read.synthetic.semantics import Meaning, Phrase, holds
from wordsight.report.evaluation_report import write_page
from wordsight.runs.measuring import measure_model
from wordsight.runs.training import train
from wordsight.runtime.progress import ProgressDisplay

TITLE = "A small matcher of a generated world"
RUN, PICTURES, INDEX, REPORT = "run", "pictures", "world.index", "report.html"
PLAIN, OPERATORS = "a white heart", "a +red heart^2 -green"
HITS = 3


def run_demo(folder: Path, seed: int = 0, changes: Sequence[str] = (), device: str = "auto") -> Path:
    """Generate, train, measure, index, search: numbers and hits on stdout, and ``folder/report.html``.

    Returns the index. Interrupted, it goes on where it was; the report is written last. Training computes
    the two batches of a step at once; each, and all else, takes one thread, since two threads would wait for
    each other longer than so small a product takes. The numbers are the same on any number of cores.
    """
    torch.set_num_threads(1)
    started = monotonic()
    _refuse_other_seed(folder, seed)
    run = folder / RUN
    say("drawing a world of coloured things, and learning to match its pictures with sentences")
    config = load_config(
        "demo", [f"data.seed={seed}", f"training.seed={seed}", f'training.device="{device}"', *changes]
    )
    with ProgressDisplay() as progress:
        history = train(config, run, (run / LAST).is_dir(), progress)
    measured = measure_model(str(run), None, (), "test", {}, device=device)
    typer.echo(measured.recalls.to_text())
    if measured.pointing is not None:
        typer.echo(measured.pointing.to_text())
    count = len(measured.pairs.images)
    say("\nthe test pictures as files, and an index of them:")
    if not (folder / PICTURES).exists():
        write_pictures(folder / PICTURES, "test", seed, count, measured.matcher.reader.size)
    _search(folder, absent(generate("test", seed, count).scenes), device)
    page = write_page(folder / REPORT, TITLE, measured, history.epochs)
    say(f"\ndone in {monotonic() - started:.0f} s; which region each word found: {page}")
    _show_next_steps(folder)
    return folder / INDEX


def finished(folder: Path, seed: int) -> Path | None:
    """The index of a demo that came to its end, or None."""
    _refuse_other_seed(folder, seed)
    return folder / INDEX if (folder / REPORT).is_file() and (folder / INDEX).is_dir() else None


def _refuse_other_seed(folder: Path, seed: int) -> None:
    if (folder / RUN / CONFIG).is_file():
        before = load_config(str(folder / RUN)).training.seed
        if before != seed:
            raise InputError(
                f"{folder} was made with the seed {before}; ask for it by --seed {before}, or name another "
                "folder with --out"
            )


def absent(scenes: Sequence[Scene]) -> str:
    """Two things, each of a kind that there is, that no picture shows together."""
    kinds = [pair for pair in zip(SHAPES, COLOURS, strict=True) if pair[1] != "orange"]  # "an orange"
    for (shape, colour), (other_shape, other_colour) in combinations(kinds, 2):
        both = Meaning((Phrase(shape, colour), Phrase(other_shape, other_colour)))
        if not any(holds(both, scene) for scene in scenes):
            return f"a {colour} {shape} and a {other_colour} {other_shape}"
    return f"a {COLOURS[0]} house"


def _search(folder: Path, nowhere: str, device: str) -> None:
    """The commands as a reader would give them, and what they answer."""
    _show("index", folder / PICTURES, "--model", folder / RUN, "--out", folder / INDEX)
    index(
        folder / INDEX,
        [folder / PICTURES],
        str(folder / RUN),
        captions=CaptionOptions(),
        how=UpdateOptions(device=device),
        upkeep=UpkeepOptions(),
    )
    queries = {
        "what a sentence finds, and how well each of its words was found:": PLAIN,
        "what must be there, what must not, and what counts twice:": OPERATORS,
        "what no picture shows; how near do the closest come?": nowhere,
    }
    for number, (caption, query) in enumerate(queries.items(), 1):
        why = folder / f"search-{number}.html"
        say(f"\n{caption}")
        _show("search", folder / INDEX, query, "-k", HITS, "--explain", why)
        search(
            folder / INDEX,
            query,
            hits=HitOptions(top=HITS),
            filters=FilterOptions(),
            explain=why,
            output=OutputOptions(),
            source=IndexOptions(device=device),
        )


def _show_next_steps(folder: Path) -> None:
    serve = f"{command()} demo --serve" + ("" if folder == Path("demo") else f" --out {folder}")
    say("\nsearch these pictures in the browser, each word with its region:")
    if missing_packages():
        say(f"  {_python()} -m pip install 'wordsight[serve]'")
    say(f"  {serve}")
    say("search in your own pictures (the model is fetched once from the Hugging Face Hub):")
    say(f"  {command()} index ~/Pictures --model openai/clip-vit-base-patch32 --out pictures.index")
    say(f'  {command()} search pictures.index "a dog on the beach"')


def command() -> str:
    """How the shell that this process came from calls this very installation."""
    own = Path(sys.executable).with_name("wordsight")
    if not own.is_file():
        return f"{_python()} -m wordsight"
    known = shutil.which("wordsight")
    return "wordsight" if known and os.path.samefile(known, own) else _shown(own)


def _python() -> str:
    return _shown(Path(sys.executable))


def _shown(path: Path) -> str:
    """Relative where that is shorter, and quoted for the shell."""
    here = os.path.relpath(path)
    return shlex.quote(here if not here.startswith("..") else str(path))


def _show(*words: object) -> None:
    say(f"$ {command()} {' '.join(shlex.quote(str(word)) for word in words)}")
