"""The README is true: its Python runs as written, its commands exist, its tables name what is there."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.command_verbs import verbs

from wordsight.config import configs_folder
from wordsight.matcher import Matcher
from wordsight.read.text.vocabulary import Vocabulary

README = (Path(__file__).parents[2] / "README.md").read_text()
CONSOLE = "\n".join(re.findall(r"```console\n(.*?)```", README, re.DOTALL))
COMMANDS = re.findall(r"^wordsight .*$", CONSOLE, re.MULTILINE)


def test_the_python_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    tables = {
        "reader": {"name": "pixels", "size": 32},
        "tokenizer": {"name": "words"},
        "image_encoder": {"name": "grid-cnn", "dim": 16, "width": 8},
        "text_encoder": {"name": "recurrent", "word_dim": 8},
        "similarity": {"name": "max-sim"},
    }
    vocabulary = Vocabulary.learn(["a dog runs on the grass"], min_count=1)
    monkeypatch.chdir(tmp_path)
    Matcher.build(tables, vocabulary=vocabulary).save_pretrained("runs/chan-flickr8k/best")
    for name in re.findall(r'"(\w+\.jpg)"', program):
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(name)
    exec(program, {})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command: str) -> None:
    words = shlex.split(command.partition(" > ")[0], comments=True)[1:]
    name = next(name for name in (" ".join(words[:2]), words[0]) if name in verbs())
    rest = words[len(name.split()) :]
    verbs()[name].make_context(name, list(rest))


def test_the_table_of_commands_is_the_menu_of_commands() -> None:
    named = re.findall(r"^\| `wordsight ([a-z]+(?: [a-z]+)?)", README, re.MULTILINE)
    assert sorted(named) == sorted(verbs())


def test_the_table_of_runs_names_every_published_configuration() -> None:
    """Alone, or by the ends of names that differ at the end only: `scan-f30k-t2i-lse`, `-t2i-avg`."""
    table = README.split("## Published runs")[1].split("##")[0]
    rows = [re.findall(r"`([\w-]+)`", line) for line in table.splitlines() if line.startswith("| `")]
    for path in configs_folder().glob("*.toml"):
        if "flickr8k" not in path.stem and path.stem not in ("demo", "own-pairs"):
            assert any(_names(row, path.stem) for row in rows), path


def _names(row: list[str], run: str) -> bool:
    ends = [name for name in row if name.startswith("-") and run.endswith(name)]
    return run in row or any(full.startswith(run.removesuffix(end)) for end in ends for full in row)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parents[2] / target).exists(), target
