"""The site of docs/ builds strictly; its commands parse, and the Python of its tutorials runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.command_verbs import verbs

from wordsight.matcher import Matcher
from wordsight.read.synthetic.dataset import World
from wordsight.read.text.vocabulary import Vocabulary

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if page.name
    not in ("LOG.md", "PERFORMANCE.md", "migrating.md")  # of the past; the last has its own tests
]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


def commands() -> list[tuple[str, str]]:
    """Each command of a block that starts with wordsight, and its page."""
    found = []
    for page in PAGES:
        blocks = "\n".join(re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL))
        joined = blocks.replace("\\\n", " ")
        lines = re.findall(r"^(?:[A-Z_]+=\S+ )*(wordsight .*)$", joined, re.MULTILINE)
        found += [(page.name, line) for line in lines]
    return found


@pytest.mark.parametrize(("page", "command"), commands(), ids=lambda text: text[:60])
def test_every_command_has_the_options_of_the_command_line(page: str, command: str) -> None:
    words = shlex.split(re.split(r" [>|] ", command)[0], comments=True)[1:]
    if words == ["--help"] or not words:
        return
    name = next(name for name in (" ".join(words[:2]), words[0]) if name in verbs())
    verbs()[name].make_context(name, list(words[len(name.split()) :]))


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_the_python_of_a_tutorial_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {
        "reader": {"name": "pixels", "size": 32},
        "tokenizer": {"name": "words"},
        "image_encoder": {"name": "grid-cnn", "dim": 16, "width": 8},
        "text_encoder": {"name": "recurrent", "word_dim": 8},
        "similarity": {"name": "max-sim"},
    }
    texts = World(seed=0, images=8).read("train").texts
    monkeypatch.chdir(tmp_path)
    Matcher.build(tables, vocabulary=Vocabulary.learn(texts, min_count=1)).save_pretrained(
        "runs/chan-flickr8k/best"
    )
    for name in ("dog.jpg", "beach.jpg"):
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(name)
    for program in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(program, {})


def test_the_site_builds_without_a_warning_and_names_every_command_and_public_name(tmp_path: Path) -> None:
    import wordsight

    pytest.importorskip("material", reason="the site is built where wordsight[docs] is installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "reference" / "cli.html").read_text()
    for name, verb in verbs().items():
        assert f"wordsight {name}" in page
        for option in verb.params:
            if option.param_type_name == "option" and not option.hidden:
                assert option.opts[0] in page, (name, option.opts)
    names = (tmp_path / "reference" / "python.html").read_text()
    assert all(f">{name}<" in names for name in wordsight.__all__)
    assert "/v1/search" in (tmp_path / "reference" / "rest.html").read_text()
    every = "".join(path.read_text() for path in tmp_path.rglob("*.html"))
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://[^"]+"', every)
