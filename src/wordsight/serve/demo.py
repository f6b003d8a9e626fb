"""Nothing but a seed in; a trained model, its numbers and a page that shows why out."""

import json
import sys
from pathlib import Path
from time import monotonic

from wordsight.config import load_config
from wordsight.learn.resume import BEST
from wordsight.matcher import Matcher
from wordsight.measure import pointing_accuracy
from wordsight.serve.examples import make_examples
from wordsight.serve.report import write_report

EXAMPLES = 12


def run_demo(folder: Path, seed: int = 0) -> None:
    """Generate, train, measure, explain; the numbers go to stdout, the page to ``folder/report.html``."""
    started = monotonic()
    config = load_config("demo", [f"data.seed={seed}", f"training.seed={seed}"])
    _say("generating a world of coloured things, and learning to match its pictures with sentences")
    history = config.train(folder / "run")
    matcher = Matcher.from_pretrained(folder / "run" / BEST)
    test = config.pairs("test")
    recalls, pointing = config.measure(matcher, test), pointing_accuracy(matcher, test)
    print(recalls.to_text())
    print(pointing.to_text())
    chosen = range(0, len(test), len(test) // EXAMPLES)[:EXAMPLES]
    page = folder / "report.html"
    write_report(
        page,
        "A small matcher of a generated world",
        recalls,
        pointing,
        history.epochs,
        make_examples(matcher, test, list(chosen)),
        config.complete().tables,
    )
    (folder / "numbers.json").write_text(json.dumps(recalls.to_dict() | {"pointing": pointing.to_dict()}) + "\n")
    _say(f"done in {monotonic() - started:.0f} s: open {page} to see which region each word found")
    _say("on your own pictures, with captions in captions.csv (columns image, caption, split) and a backbone:")
    _say("  wordsight features extract captions.csv --model facebook/dinov2-small --out features")
    _say("  wordsight train configs/own-pairs.toml")


def _say(line: str) -> None:
    print(line, file=sys.stderr)
