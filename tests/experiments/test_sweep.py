"""A comparison: what its grid means, that its differences are tested rightly, and that it goes on."""

import csv
import json
import os
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import IO

import numpy as np
import pytest
from support import warm_process
from support.warm_process import WarmProcess

from wordsight.evaluation.bootstrap import QueryHits, difference, interval
from wordsight.experiments import run_cell
from wordsight.experiments.grid import read_grid
from wordsight.experiments.run_cell import MEASURED
from wordsight.experiments.sweep import compare
from wordsight.experiments.table import SystemRow, _difference, read_rows, to_markdown
from wordsight.files.json_text import rounded
from wordsight.files.lock import LOCK, locked
from wordsight.files.toml import changed

GRID = """
base = "{base}"
seeds = [3]
split = "test"

[systems."hard, words look"]
[systems."both ways"]
similarity = {{ name = "bidirectional", words = "max-sim", regions = "max-sim" }}
[systems."broken"]
similarity = {{ name = "max-sim", pooling = "nothing-like-it" }}
"""
BASE = """
data = { name = "world", images = 24, size = 32 }
reader = { name = "pixels", size = 32 }
vocabulary = { min_count = 1 }
tokenizer = { name = "words" }
image_encoder = { name = "grid-cnn", dim = 16, width = 8 }
text_encoder = { name = "recurrent", word_dim = 16 }
similarity = { name = "max-sim", pooling = "mean" }
loss = { name = "info-nce" }
training = { epochs = 1, batch_size = 30 }
"""


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    (tmp_path / "base.toml").write_text(BASE)
    path = tmp_path / "grid.toml"
    path.write_text(GRID.format(base=tmp_path / "base.toml"))
    return path


def test_a_part_with_another_name_keeps_no_setting_of_the_old_one() -> None:
    tables = {"similarity": {"name": "max-sim", "direction": "region"}, "training": {"epochs": 3, "seed": 1}}
    other = changed(tables, {"similarity": {"name": "cosine"}, "training": {"seed": 2}})
    assert other == {"similarity": {"name": "cosine"}, "training": {"epochs": 3, "seed": 2}}
    assert changed(tables, {"similarity": {"direction": "word"}})["similarity"]["name"] == "max-sim"


def test_cells_come_seed_by_seed_and_losses_multiply(grid: Path) -> None:
    grid.write_text(grid.read_text() + "[losses.hinge]\nname = 'triplet'\n[losses.nce]\nname = 'info-nce'\n")
    top, cells = read_grid([str(grid)], seeds=2)
    assert [cell.seed for cell in cells] == [0] * 6 + [1] * 6
    assert cells[0].name == "hard, words look, hinge" == top.reference
    assert cells[0].config.tables["loss"] == {"name": "triplet"}
    assert cells[1].config.tables["training"] == {"epochs": 1, "batch_size": 30, "seed": 0}
    assert len({cell.folder(Path()) for cell in cells}) == len(cells)


def test_the_grid_of_the_documentation_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "compare.md").read_text(encoding="utf-8")
    (tmp_path / "grid.toml").write_text(text.split("```toml\n")[1].split("```")[0])
    top, cells = read_grid([str(tmp_path / "grid.toml")])
    assert len(cells) == 3 * 2 * 3
    assert cells[0].name == "CHAN, hinge"
    assert top.split == "test"


@pytest.mark.usefixtures("warm_cells")
def test_a_cell_that_had_begun_resumes_after_its_failure(grid: Path, tmp_path: Path) -> None:
    top, cells = read_grid([str(grid)])
    folder = cells[0].folder(tmp_path / "out")
    compare(top, cells[:1], tmp_path / "out", jobs=1, threads=1, say=lambda _: None)
    (folder / MEASURED).unlink()
    (folder / "best" / "weights.safetensors").write_bytes(b"cut")
    failed = compare(top, cells[:1], tmp_path / "out", jobs=1, threads=1, say=lambda _: None)
    assert f"The same command resumes it from its last epoch ({folder})" in failed[0]
    assert (folder / "config.toml").is_file()


def test_several_configurations_are_a_row_each() -> None:
    top, cells = read_grid(["demo", "chan-flickr8k"])
    assert [cell.name for cell in cells] == ["demo", "chan-flickr8k"]
    assert top.reference == "demo"


def test_rows_that_would_share_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text("base = 'demo'\n[systems.'VSE++']\n[systems.'VSE']\n")
    with pytest.raises(
        ValueError, match=r'"VSE\+\+" and "VSE", seed 0, would have one folder, cells/vse/seed-0'
    ):
        read_grid([str(tmp_path / "grid.toml")])
    (tmp_path / "grid.toml").write_text("base = 'demo'\nseeds = [1, 1]\n[systems.a]\n")
    with pytest.raises(ValueError, match="every seed once"):
        read_grid([str(tmp_path / "grid.toml")])
    (tmp_path / "demo.toml").write_text(BASE)
    with pytest.raises(ValueError, match=r"demo and .*demo\.toml would be one row, demo"):
        read_grid(["demo", str(tmp_path / "demo.toml")])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[systems]\na = 3", "expected a table"),
        ("[systems.a]\ntraining = {epochs = 2}", "names no base"),
        ("reference = 'b'\nbase = 'demo'\n[systems.a]", "known: a"),
        ("sedes = [1]\nbase = 'demo'\n[systems.a]", "seeds"),
        ("base = 'demo'\n[systems.a]\n[systmes.b]", 'did you mean "systems"'),
        ("base = 'demo'\nseeds = []\n[systems.a]", "at least one seed"),
        ("[systems", "not TOML"),
    ],
)
def test_a_wrong_grid_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "grid.toml").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_grid([str(tmp_path / "grid.toml")])


def hits(*, images: int = 40, good: float = 0.5, seed: int = 0) -> QueryHits:
    random = np.random.default_rng(seed)
    ranks = [np.where(random.random(n) < good, 0, 20) for n in (images, 5 * images)]
    return QueryHits.of(*ranks, np.arange(images), np.repeat(np.arange(images), 5))


def test_the_difference_is_that_of_a_slow_loop_over_the_same_resamples() -> None:
    one, other = hits(good=0.6, seed=1), hits(good=0.5, seed=2)
    found = difference(one, other, resamples=200, seed=5)
    random, slow = np.random.default_rng(5), []
    for drawn in random.multinomial(40, np.full(40, 1 / 40), size=200):
        images = [image for image in range(40) for _ in range(drawn[image])]
        texts = [5 * image + n for image in images for n in range(5)]
        rsums = [100 * (h.images[images].mean(0).sum() + h.texts[texts].mean(0).sum()) for h in (one, other)]
        slow.append(rsums[0] - rsums[1])
    assert found.ends == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])))
    assert found.rsum == pytest.approx(one.rsum - other.rsum)


def test_equal_systems_do_not_differ_and_a_better_one_does() -> None:
    same = difference(hits(), hits())
    assert (same.rsum, same.ends, same.p) == (0, (0, 0), 1)
    better = difference(hits(good=0.9), hits(good=0.3))
    assert better.p == 0
    assert better.ends[0] > 0


def test_pairing_makes_the_difference_surer_than_the_numbers_themselves() -> None:
    one = hits(seed=3)
    texts = one.texts.copy()
    texts[::25] = 1  # a few texts more are found, for whatever images are drawn
    slightly = QueryHits(one.images, texts, one.image_identities, one.text_identities)
    low, high = difference(slightly, one).ends
    alone = interval(one)
    assert high - low < (alone[1] - alone[0]) / 3


def test_no_more_is_claimed_than_the_resamples_can_tell() -> None:
    better = difference(hits(good=0.9), hits(good=0.3))
    assert better.p == 0
    row = SystemRow("better", [], 1, (0.0, 0.0), better)
    assert _difference(row).endswith("p < 0.002")  # 1,000 resamples, two-sided


def test_systems_that_were_asked_other_queries_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same queries"):
        difference(hits(images=40), hits(images=41))
    with pytest.raises(ValueError, match="same queries"):
        QueryHits.mean([hits(images=40), hits(images=41)])


@pytest.mark.usefixtures("warm_cells")
def test_a_comparison_runs_every_cell_names_what_failed_and_goes_on(grid: Path, tmp_path: Path) -> None:
    home, told = tmp_path / "out", []
    top, cells = read_grid([str(grid)])
    failed = compare(top, cells, home, jobs=3, threads=1, say=told.append)
    assert len(failed) == 1
    assert "broken" in failed[0]
    assert "nothing-like-it" in failed[0]
    assert "Nothing was trained yet; once the cause is removed, the same command runs it" in failed[0]
    assert [path.name for path in cells[2].folder(home).iterdir() if path.name != LOCK] == ["output.txt"]
    rows = read_rows(top, cells, home)
    assert [row.name for row in rows] == ["hard, words look", "both ways"]
    table = (home / "table.md").read_text()
    # A new user's report: p 0.036 between two untrained systems, and nothing said what the test covers.
    assert "They cover the choice of queries, for these trained models" in table
    assert "a small p does not say that one system is better than another" in table
    assert table == to_markdown(top, rows)
    assert "| reference |" in table
    lines = list(csv.DictReader((home / "table.csv").read_text().splitlines()))
    saved = json.loads((cells[0].folder(home) / MEASURED).read_text())
    assert float(lines[0]["rsum"]) == saved["recalls"]["rsum"]
    numbers = [float(row[key]) for row in lines for key in row if key != "row" and row[key]]
    assert numbers == rounded(numbers), "no binary tails"
    assert saved["pointing"] is not None
    assert saved["peak_memory_mb"] > 50
    assert (home / "table.png").read_bytes()[:4] == b"\x89PNG"

    before = (cells[0].folder(home) / MEASURED).stat().st_mtime_ns
    compare(top, cells[:2], home, jobs=1, threads=1, say=told.append)
    assert (cells[0].folder(home) / MEASURED).stat().st_mtime_ns == before
    assert told[-1].startswith("2 runs, 2 of them done before")


def test_a_folder_of_other_settings_is_not_taken_for_done(grid: Path, tmp_path: Path) -> None:
    top, cells = read_grid([str(grid)])
    folder = cells[0].folder(tmp_path / "out")
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("[data]\nname = 'world'\n")
    with pytest.raises(ValueError, match="another configuration"):
        compare(top, cells[:1], tmp_path / "out", jobs=1, threads=1, say=print)


def test_a_killed_comparison_leaves_no_run_behind_and_goes_on(grid: Path, tmp_path: Path) -> None:
    grid.write_text(grid.read_text().partition('[systems."both ways"]')[0] + "training = {epochs = 500}\n")
    home = tmp_path / "out"
    comparison = warm_process.start("compare", grid, "--out", home)
    folder = read_grid([str(grid)])[1][0].folder(home)
    wait_for(lambda: comparison.poll() is not None or (folder / "last").is_dir())
    run = int((folder / LOCK).read_text())
    comparison.kill()
    comparison.wait()
    wait_for(lambda: not is_running(run))
    with closing(locked(folder)):  # whoever goes on is not in anybody's way
        assert not (folder / MEASURED).exists()


@pytest.mark.usefixtures("warm_cells")
def test_two_runs_never_write_into_one_folder(grid: Path, tmp_path: Path) -> None:
    top, cells = read_grid([str(grid)])
    folder = cells[0].folder(tmp_path / "out")
    folder.mkdir(parents=True)
    with closing(locked(folder)):
        failed = compare(top, cells[:1], tmp_path / "out", jobs=1, threads=1, say=lambda _: None)
    assert "is writing to" in failed[0]
    assert (folder / "config.toml").is_file(), "the other process needs it"
    assert not (folder / "last").exists()


@pytest.fixture
def warm_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells are processes that begin with torch loaded."""

    def start(command: list[str], *, env: dict[str, str], stdout: IO[bytes], **_: object) -> WarmProcess:
        _, _, module, *arguments = command
        return warm_process.start(*arguments, program=("module", module), env=env, log=stdout)

    monkeypatch.setattr(run_cell, "subprocess", SimpleNamespace(Popen=start, PIPE=subprocess.PIPE))


def wait_for(what: Callable[[], bool]) -> None:
    while True:
        with suppress(OSError):
            if what():
                return
        sleep(0.05)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
