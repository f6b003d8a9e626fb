"""Nothing but a seed in; a trained model, its numbers and a page that shows why out."""

import sys
from pathlib import Path
from time import monotonic

from wordsight.config import load_config
from wordsight.runs import measure_model, train
from wordsight.serve.page import write_page

TITLE = "A small matcher of a generated world"
OWN = """on your own pictures, with a table captions.csv (columns image, caption, split):
  wordsight features extract captions.csv --config own-pairs --out features
  wordsight train own-pairs"""


def run_demo(folder: Path, seed: int = 0) -> None:
    """Generate, train, measure, explain: numbers on stdout, and ``folder/report.html``."""
    started = monotonic()
    run = folder / "run"
    _say("drawing a world of coloured things, and learning to match its pictures with sentences")
    config = load_config("demo", [f"data.seed={seed}", f"training.seed={seed}"])
    history = train(config, run, resume=(run / "last").is_dir())
    measured = measure_model(str(run), None, (), "test", {})
    print(measured.recalls.to_text())
    if measured.pointing is not None:
        print(measured.pointing.to_text())
    page = write_page(
        folder / "report.html", "A small matcher of a generated world", measured, history.epochs
    )
    _say(f"done in {monotonic() - started:.0f} s; which region each word found: {page}")
    _say(OWN)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
