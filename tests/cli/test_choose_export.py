"""Commands run an export by themselves where it suffices, and torch where it does not."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from support import search_models

from wordsight import checkpoint
from wordsight.cli.choose_export import WITHOUT_TORCH, export_suffices
from wordsight.cli.leave_export import NO_EXPORT, leave_export
from wordsight.cli.main import main as command
from wordsight.exported import has_export
from wordsight.exporters.onnx_export import export_onnx
from wordsight.files.index_folder import MODEL
from wordsight.search.index.index import Index

RUN = """
import json, sys
from wordsight.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(json.dumps(["torch" in sys.modules, end.code]), file=sys.stderr)
"""


def run(*arguments: object, without_torch: str | None = None) -> tuple[bool, int, list[str]]:
    """Whether a command loaded torch, its exit code, and the lines that it printed."""
    own = {} if without_torch is None else {WITHOUT_TORCH: without_torch}
    env = {key: value for key, value in os.environ.items() if key != WITHOUT_TORCH} | own
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    used_torch, code = json.loads(done.stderr.splitlines()[-1])
    return used_torch, code, done.stdout.splitlines()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index whose model has an export."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copytree(search_models.index().folder, folder / "index")
    export_onnx(folder / "index" / "model")
    return folder


def test_an_export_is_used_by_itself_and_finds_the_same(home: Path) -> None:
    query = ("search", home / "index", "a red circle", "-k", "24", "--json")
    right, found = run(*query, without_torch="0"), run(*query)
    assert (right[0], found[0]) == (True, False)
    pairs = list(zip(map(json.loads, found[2]), map(json.loads, right[2]), strict=True))
    assert [one["path"] for one, _ in pairs] == [one["path"] for _, one in pairs]
    assert [one["score"] for one, _ in pairs] == pytest.approx([one["score"] for _, one in pairs], abs=1e-4)


def test_indexing_by_torch_leaves_an_export_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(NO_EXPORT, "0")
    shutil.copytree(search_models.index().folder, tmp_path / "index")
    onnx, update = tmp_path / "index" / MODEL / "onnx", ["index", search_models.pictures(), "--out"]
    arguments = [*map(str, [*update, tmp_path / "index"])]
    index(arguments, "--no-export")
    assert not onnx.exists()
    index(arguments)
    assert export_suffices(onnx.parent, reads_pictures=False)
    assert capsys.readouterr().err.count("the model is exported (") == 1
    made = (onnx / "export.json").stat().st_mtime_ns
    index(arguments)
    assert (onnx / "export.json").stat().st_mtime_ns == made


def test_a_folder_of_pictures_is_searched_without_torch_from_the_second_time_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NO_EXPORT, "0")
    pictures = shutil.copytree(search_models.pictures(), tmp_path / "pictures")
    model = search_models.index().folder / MODEL
    first = run("search", pictures, "a red star", "--model", model)
    second = run("search", pictures, "a red star")
    assert first[:2] == (True, 0)
    assert second[:2] == (False, 0)
    assert first[2] == second[2]


def test_a_failed_export_costs_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NO_EXPORT, "0")
    shutil.copytree(search_models.index().folder, tmp_path / "index")
    opened = Index.open(tmp_path / "index")
    opened.matcher.text_encoder = torch.nn.Identity()  # it encodes nothing
    leave_export(opened)
    assert not has_export(opened.model_folder)


def index(arguments: list[str], *more: str) -> None:
    with suppress(SystemExit):
        command([*arguments, *more])


def test_pictures_are_read_and_indexed_by_the_export(home: Path, tmp_path: Path) -> None:
    assert run("similar", home / "index", search_models.path_of(3))[:2] == (False, 0)
    made = run(
        "index", search_models.pictures(), "--model", home / "index" / "model", "--out", tmp_path / "i"
    )
    assert made[:2] == (False, 0)
    explained = run("explain", tmp_path / "i", "a red circle", "1", "--out", tmp_path / "why.png")
    assert explained[:2] == (False, 0)
    assert (tmp_path / "why.png").stat().st_size > 0


def test_a_device_that_is_no_processor_is_left_to_torch(home: Path) -> None:
    assert run("search", home / "index", "a red circle", "--device", "cuda:99")[:2] == (True, 1)


@pytest.fixture
def model(home: Path, tmp_path: Path) -> Path:
    """A copy of the exported model."""
    copy = Path(shutil.copytree(home / "index" / "model", tmp_path / "model"))
    assert export_suffices(copy, reads_pictures=True)
    return copy


def test_a_stale_export_and_none_are_left_to_torch(model: Path) -> None:
    state = checkpoint.read_weights(model / checkpoint.WEIGHTS)
    checkpoint.save_weights(model / checkpoint.WEIGHTS, {name: one + 1 for name, one in state.items()})
    assert not export_suffices(model, reads_pictures=False)
    shutil.rmtree(model / "onnx")
    assert not export_suffices(model, reads_pictures=False)


def test_an_export_that_reads_no_pictures_searches_only(model: Path) -> None:
    path = model / "onnx" / "export.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"reader": None}))
    assert export_suffices(model, reads_pictures=False)
    assert not export_suffices(model, reads_pictures=True)


@pytest.mark.parametrize("table", [{"name": "max-sim", "pooling": "soft-mean"}, {"name": "lab.parts:MaxSim"}])
def test_parts_of_other_packages_are_left_to_torch(table: dict[str, str], model: Path) -> None:
    path = model / checkpoint.CONFIG
    config = json.loads(path.read_text())
    config["parts"]["similarity"] |= table
    path.write_text(json.dumps(config))
    assert not export_suffices(model, reads_pictures=False)
