"""Models, indexes, configurations and command lines of version 0.1.0 keep working.

``tests/data/before`` was written by that version: untrained matchers of 8 x 8 pixels, an index of three
pictures (in a folder /photos that need not exist), and what its search printed.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from support import warm_process

from wordsight import aliases
from wordsight.cli.main import with_current_options
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
    done = warm_process.run("search", index, "a red dog", "--json", "--false-accept", "0.3")
    assert done.returncode == 0, done.stderr
    hits = [json.loads(line) for line in done.stdout.splitlines()]
    assert [hit["path"] for hit in hits] == [hit["path"] for hit in HITS]
    assert [hit["score"] for hit in hits] == pytest.approx([hit["score"] for hit in HITS], abs=1e-4)


def test_an_old_option_works_with_a_warning() -> None:
    done = warm_process.run("vocab", "build", "captions.txt", "--rule", "cmpl", "--help")
    assert done.returncode == 0
    assert "--rule is now --word-splitter" in done.stderr


@pytest.mark.parametrize("verb", ["serve", "search", "explain"])
def test_an_old_option_is_renamed_only_where_it_was(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``--root`` of features extract was the square root; elsewhere it is a folder of pictures."""
    arguments = [verb, "photos.index", "--root", "photos"]
    assert with_current_options(arguments) == arguments
    assert capsys.readouterr().err == ""
    assert with_current_options(["features", "extract", "--root"]) == ["features", "extract", "--signed-sqrt"]


def test_an_old_configuration_means_the_same_under_names_of_today() -> None:
    with pytest.warns(FutureWarning) as warned:
        tables = Config.load(BEFORE / "config.toml").complete().tables
    told = "\n".join(str(warning.message) for warning in warned)
    assert '[data] name = "persons" is now "person-search"' in told
    assert "[similarity.similarity.words] seeker is now direction" in told
    assert "[labels] rule is now word_splitter" in told
    assert tables["data"]["name"] == "person-search"
    assert tables["reader"]["high_res_size"] == 448
    assert tables["reader"]["signed_sqrt"] is True
    assert (tables["tokenizer"]["word_splitter"], tables["tokenizer"]["max_length"]) == ("treebank", 40)
    assert tables["labels"]["word_splitter"] == "treebank"
    assert tables["image_encoder"]["projection"] == 128
    inner = tables["similarity"]["similarity"]
    assert (tables["similarity"]["name"], inner["name"]) == ("label-agreement", "bidirectional")
    assert (inner["words"]["direction"], inner["regions"]["direction"]) == ("word", "region")


def test_old_names_of_a_foreign_part_are_its_own() -> None:
    table = {"name": "my_lab:Focal", "rule": "theirs", "inner": {"joint": 3}}
    assert aliases.current(table) == table
    assert not aliases.renamed_in({"loss": table})


def test_stored_features_keep_their_identity_under_the_names_of_today() -> None:
    today = {"grid": [1, 2], "signed_sqrt": True, "high_res_size": 448, "high_res_grid": [4]}
    before = {"grid": [1, 2], "root": True, "detail": 448, "detail_grid": [4]}
    assert aliases.previous_settings(today) == before
    assert aliases.current(before) == today
