"""One command searches a plain folder of pictures: its index is made, kept, and brought in step."""

from pathlib import Path

import pytest
from support.small_index import draw, small_model
from support.small_problem import wordsight

from wordsight.cli.open_index import index_at
from wordsight.files.user_cache import cached_index_folder
from wordsight.search.index import manifest


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [small_model(tmp_path_factory.mktemp(f"source{seed}"), seed) for seed in range(2)]


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORDSIGHT_CACHE", str(tmp_path / "cache"))
    draw(tmp_path / "pictures", range(10))
    return tmp_path / "pictures"


def searched(*arguments: object) -> tuple[set[str], str]:
    done = wordsight("search", *arguments, "-0", "-k", 100)
    assert done.exit_code == 0, done.exception
    return {Path(path).name for path in done.stdout.split("\0") if path}, done.stderr


def test_the_first_question_makes_the_index_and_the_next_ones_follow(
    pictures: Path, models: list[Path]
) -> None:
    names = {path.name for path in pictures.iterdir()}
    found, told = searched(pictures, "a red ball", "--model", models[0])
    assert found == names
    assert "indexed for the first time" in told
    assert str(cached_index_folder(pictures)) in told
    assert "10 added" in told
    assert {path.name for path in pictures.iterdir()} == names
    (pictures / "003.png").unlink()
    draw(pictures, [77])
    found, told = searched(pictures, "a red ball")
    assert found == names - {"003.png"} | {"077.png"}
    assert "1 added, 1 deleted" in told
    assert "added" not in searched(pictures, "a red ball")[1]


def test_every_model_has_an_index_of_its_own_and_the_last_named_is_asked(
    pictures: Path, models: list[Path]
) -> None:
    for model in (*models, models[0]):
        searched(pictures, "a ball", "--model", model)
        assert index_at(pictures).meta.model == manifest.identity(model)
    assert len(list(cached_index_folder(pictures).iterdir())) == 2


def test_a_picture_is_a_question_and_hits_are_explained(pictures: Path, models: list[Path]) -> None:
    done = wordsight("similar", pictures, pictures / "004.png", "--model", models[0], "-k", 1)
    assert (done.exit_code, ".png" in done.stdout, "004.png" in done.stdout) == (0, True, False)
    done = wordsight("explain", pictures, "a red ball", pictures / "004.png")
    assert (done.exit_code, "ball" in done.stdout) == (0, True)


def test_what_is_missing_is_told_and_nothing_is_made(
    pictures: Path, models: list[Path], tmp_path: Path
) -> None:
    done = wordsight("search", pictures, "a ball")
    assert (done.exit_code, "--model" in done.stderr) == (2, True)
    (tmp_path / "empty" / ".trash").mkdir(parents=True)
    (tmp_path / "empty" / ".trash" / "old.jpg").touch()
    for where, told in (("empty", "is no index, and holds no pictures"), ("none", "is not there")):
        done = wordsight("search", tmp_path / where, "a ball", "--model", models[0])
        assert (done.exit_code, told in str(done.exception)) == (1, True)
    assert not (tmp_path / "cache").exists()


def test_pictures_that_cannot_be_read_are_counted_with_the_command_that_names_them(
    pictures: Path, models: list[Path]
) -> None:
    (pictures / "bad.jpg").touch()
    found, told = searched(pictures, "a ball", "--model", models[0])
    assert len(found) == 10
    assert f"1 of its files or folders cannot be read; which, and why: wordsight index {pictures}" in told


def test_while_another_process_writes_what_is_there_is_searched(pictures: Path, models: list[Path]) -> None:
    searched(pictures, "a ball", "--model", models[0])
    draw(pictures, [77])
    (kept,) = cached_index_folder(pictures).iterdir()
    with manifest.writing(kept):
        found, told = searched(pictures, "a ball")
    assert (len(found), "another process" in told) == (10, True)
    assert len(searched(pictures, "a ball")[0]) == 11
