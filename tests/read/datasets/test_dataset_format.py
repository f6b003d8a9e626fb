"""A format of another package is recognized, read and checked by every command once it is installed."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.installed_examples import EXAMPLES, install
from typer.testing import CliRunner

from wordsight import registry
from wordsight.builder import Builder
from wordsight.cli.main import app
from wordsight.config import load_config
from wordsight.pairs import PairSet
from wordsight.read.datasets.dataset import Dataset
from wordsight.read.datasets.detect_format import open_dataset, picture_paths, texts_of
from wordsight.read.validate.check import check

CAPTIONS = {
    "train": {"en": ["a red ring", "two dogs"], "de": ["ein roter Ring", "zwei Hunde"]},
    "val": {"en": ["a blue box"], "de": ["eine blaue Kiste"]},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install("dataset_format", tmp_path / "site", monkeypatch)
    folder = tmp_path / "multi30k"
    (folder / "images").mkdir(parents=True)
    for split, texts in CAPTIONS.items():
        names = [f"{split}{n}.png" for n in range(len(texts["en"]))]
        (folder / f"{split}_images.txt").write_text("\n".join(names))
        for language, lines in texts.items():
            (folder / f"{split}.{language}").write_text("\n".join(lines))
        for n, name in enumerate(names):
            Image.fromarray(np.full((8, 8, 3), len(name) + 40 * n, np.uint8)).save(folder / "images" / name)
    return folder


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return str(done.output)


def test_every_command_knows_the_format(folder: Path, tmp_path: Path) -> None:
    report = check(folder)
    assert (report.kind, report.ok) == ("Multi30k", True)
    assert [(facts.split, facts.images) for facts in report.facts] == [("train", 2), ("val", 1)]
    assert texts_of(folder, ["train"]) == CAPTIONS["train"]["en"]
    assert [path.name for path in picture_paths(folder)[0]] == ["train0.png", "train1.png", "val0.png"]
    out = tmp_path / "v.json"
    run("vocab", "build", folder, "--out", out, "--min-count", 1, "--splits", "train,val")
    assert "box" in json.loads(out.read_text())["word2idx"]
    assert "train 2 pairs of 2 pictures, val 1 pairs of 1 pictures" in run(
        "data", "records", folder, "--out", tmp_path / "records", "--format", "webdataset"
    )


def test_a_configuration_reads_the_format_by_its_name(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(f'[data]\nname = "multi30k"\npath = "{folder}"\nlanguage = "de"\n')
    assert Builder(load_config(str(config))).captioned("validation").texts == CAPTIONS["val"]["de"]
    with pytest.raises(ValueError, match=r"langage is not a setting of Multi30k \(did you mean .language"):
        Builder(load_config(str(config), ["data.langage=en"])).captioned("train")


def test_what_the_format_says_wrong_is_an_error_with_its_place(folder: Path) -> None:
    (folder / "train.en").write_text("a red ring\n\n")
    (finding,) = [found for found in check(folder).findings if found.severity == "error"]
    assert (finding.what, finding.where) == ("empty captions in train: 1", "train.en line 2")


def test_a_format_needs_no_more_than_splits_and_read(tmp_path: Path) -> None:
    class Lines(Dataset):
        """The generated world under other names."""

        kind = "lines"

        def splits(self) -> list[str]:
            return ["train", "dev"]

        def read(self, split: str | None = None) -> PairSet:
            return registry.build("data", {"name": "world", "images": 2, "size": 8}).read(split)

    assert len(Lines().texts(["val"])) == 10
    with pytest.raises(ValueError, match=r"lines has no split 'test'; it has train, dev"):
        Lines().texts(["test"])
    with pytest.raises(ValueError, match="its pictures are no files"):
        Lines().items()


def test_a_broken_package_does_not_stop_the_other_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install("dataset_format", tmp_path / "site", monkeypatch)
    (tmp_path / "site" / "wordsight_multi30k.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "t.csv").write_text("image,caption\na,b\n")
    with caplog.at_level(logging.WARNING):
        assert open_dataset(tmp_path / "t.csv").kind == "table of pictures and captions"
    assert "nowhere_to_be_found" in caplog.text


def test_the_example_is_what_the_documentation_shows() -> None:
    page = (EXAMPLES.parent / "docs" / "extending.md").read_text()
    code = (EXAMPLES / "dataset_format" / "wordsight_multi30k.py").read_text()
    assert code[code.index("from pathlib") :].strip() in page
    assert len(code.splitlines()) < 45
