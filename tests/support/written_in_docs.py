"""Programs and commands of a page of documentation, checked by the code that they use."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.command_verbs import verbs

from wordsight.matcher import Matcher
from wordsight.read.synthetic.dataset import World
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.search.index.index import Index

TABLES = {
    "reader": {"name": "pixels", "size": 32},
    "tokenizer": {"name": "words"},
    "image_encoder": {"name": "grid-cnn", "dim": 16, "width": 8},
    "text_encoder": {"name": "recurrent", "word_dim": 8},
    "similarity": {"name": "max-sim"},
}


def programs_in(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def run_programs(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each block in a folder that has the model, the index and the pictures that pages speak of."""
    monkeypatch.chdir(folder)
    vocabulary = Vocabulary.learn(World(seed=0, images=8).read("train").texts, min_count=1)
    Matcher.build(TABLES, vocabulary=vocabulary).save_pretrained("runs/chan-flickr8k/best")
    for name in {"dog.jpg", "beach.jpg", *re.findall(r'"(\w+\.jpg)"', page)}:
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(name)
    if "photos.index" in "".join(programs_in(page)):
        Index.create("photos.index", "runs/chan-flickr8k/best").update([folder / "dog.jpg"])
    for program in programs_in(page):
        exec(program, {"__name__": "program"})


def commands_in(page: str) -> list[str]:
    """The commands of a page's console blocks that call wordsight, without what a shell does with them."""
    blocks = "\n".join(re.findall(r"```console\n(.*?)```", page, re.DOTALL)).replace("\\\n", " ")
    lines = re.findall(r"^(?:[A-Z_]+=\S+ )*(wordsight .*)$", blocks, re.MULTILINE)
    return [re.split(r" [>|] ", line)[0] for line in lines]


def check_command(command: str, may_be_bare: bool = False) -> None:
    """Raise where the command line has no such verb, or the verb does not take these options.

    ``may_be_bare``: a verb alone, without what it needs, names itself.
    """
    words = shlex.split(command, comments=True)[1:]
    if not words or words[0].startswith("--"):
        return
    name = next(name for name in (" ".join(words[:2]), words[0]) if name in verbs())
    rest = words[len(name.split()) :]
    if rest or not may_be_bare:
        verbs()[name].make_context(name, list(rest))
