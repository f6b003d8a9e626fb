"""Models, indexes, configurations and command lines of version 0.1.0 keep working.

``tests/data/before`` was written by that version: untrained matchers of 8 x 8 pixels, an index of three
pictures (in a folder /photos that need not exist), and what its search printed.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wordsight.config import Config
from wordsight.matcher import Matcher

BEFORE = Path(__file__).parent / "data" / "before"
SCORES = json.loads((BEFORE / "scores.json").read_text())
HITS = [json.loads(line) for line in (BEFORE / "search.json").read_text().splitlines()]


@pytest.mark.parametrize("name", SCORES)
def test_an_old_model_gives_its_old_scores(name: str) -> None:
    matcher = Matcher.from_pretrained(BEFORE / "models" / name)
    pictures = [str(path) for path in sorted((BEFORE / "pictures").iterdir())]
    with torch.no_grad():
        scores = matcher.score(pictures, ["a red dog", "green ball runs"])
    torch.testing.assert_close(scores, torch.tensor(SCORES[name]), atol=1e-5, rtol=1e-5)


def test_an_old_index_gives_its_old_hits_to_an_old_command_line(tmp_path: Path) -> None:
    index = shutil.copytree(BEFORE / "pictures.index", tmp_path / "pictures.index")
    command = [sys.executable, "-m", "wordsight", "search", str(index), "a red dog"]
    done = subprocess.run([*command, "--json", "--false-accept", "0.3"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    hits = [json.loads(line) for line in done.stdout.splitlines()]
    assert [hit["path"] for hit in hits] == [hit["path"] for hit in HITS]
    assert [hit["score"] for hit in hits] == pytest.approx([hit["score"] for hit in HITS], abs=1e-4)


def test_an_old_configuration_means_what_it_meant() -> None:
    config = Config.load(BEFORE / "config.toml").complete()
    assert config.tables["reader"]["model"] == "mobilenet"
    assert config.tables["similarity"]["labels"] == 20
