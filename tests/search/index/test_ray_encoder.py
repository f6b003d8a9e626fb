"""Indexing on Ray gives the index of one process, also when an actor or the driver is killed."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support import warm_process
from support.small_index import draw, read, small_model
from support.waiting import wait_until

from wordsight.errors import MissingPackageError, WordsightError
from wordsight.search.index.index import Index
from wordsight.search.index.ray_encoder import RayEncoder

ray = pytest.importorskip("ray", reason="ray has no wheel for this Python")


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster on this machine, for two actors of these tests and one of another driver; its address."""
    paths = [str(Path(__file__).parents[3] / "src"), os.environ.get("PYTHONPATH", "")]
    context: Any = ray.init(
        num_cpus=3,
        object_store_memory=80 << 20,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, paths))}},
    )
    yield context.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayEncoder]:
    """Two actors that outlive the tests."""
    with closing(RayEncoder(small_model(tmp_path_factory.mktemp("model")), actors=2)) as made:
        yield made


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    draw(folder, range(30))
    draw(folder, [3], "copy.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def expected(folder: Path, pictures: Path) -> Index:
    """The index that one process makes."""
    made = Index.create(folder / "expected", small_model(folder / "same"))
    made.update([pictures], batch_size=4)
    return made


def test_an_index_is_the_same_though_an_actor_is_killed(
    encoder: RayEncoder, pictures: Path, tmp_path: Path
) -> None:
    """And an update of nothing, and a broken picture, are reported as without Ray."""
    made = Index.create(tmp_path / "index", small_model(tmp_path))
    victims = [ray.get(encoder.actors[0].process.remote())]

    def progress(noun: str, done: int, total: int) -> None:
        if victims and noun == "pictures" and made.generation() >= 2:
            os.kill(victims.pop(), signal.SIGKILL)

    report = made.update([pictures], progress, batch_size=4, encoder=encoder)
    assert not victims
    assert (report.added, [Path(path).name for path, _ in report.skipped]) == (31, ["broken.png"])
    alone = expected(tmp_path, pictures)
    assert read(made) == read(alone)
    assert made.stats().contents == alone.stats().contents == 30
    assert made.verify() == []
    again = made.update([pictures], encoder=encoder)
    assert (again.added, again.unchanged, again.skipped) == (0, 31, report.skipped)


def test_a_killed_driver_goes_on_where_it_was(cluster: str, encoder: RayEncoder, tmp_path: Path) -> None:
    files = draw(tmp_path / "pictures", range(300))
    made = Index.create(tmp_path / "index", small_model(tmp_path))
    update = [
        *("index", tmp_path / "pictures", "--out", made.folder),
        *("--batch-size", "2", "--ray", cluster, "--ray-actors", "1"),
    ]
    source = {"PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    driver = warm_process.start(*update, env=os.environ | source)
    wait_until(lambda: made.generation() >= 10 or driver.poll() is not None, seconds=120)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL, (driver.stderr or sys.stdin).read()
    there = made.stats().items
    assert 0 < there < 300
    assert made.verify() == []
    report = made.update([tmp_path / "pictures"], encoder=encoder)
    assert (report.unchanged, report.added) == (there, 300 - there)
    assert sorted(read(made)) == sorted(map(str, files))
    assert made.verify() == []


def test_texts_are_encoded_too(encoder: RayEncoder, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a red ball\na dog runs\na green ball\n")
    indexes = []
    for name, by in (("ray", encoder), ("alone", None)):
        indexes.append(Index.create(tmp_path / name, small_model(tmp_path / "model"), "texts"))
        indexes[-1].update([tmp_path / "texts.txt"], batch_size=2, encoder=by)
    assert read(indexes[0]) == read(indexes[1])
    assert len(read(indexes[0])) == 3


def test_without_ray_the_command_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "pictures", [1])
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        MissingPackageError, match=r"--ray needs the package ray; pip install 'wordsight\[ray\]'"
    ):
        RayEncoder(small_model(tmp_path))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1"),
        ("somewhere", "--ray somewhere is no address"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_sentence(address: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(WordsightError, match=message) as refused:
        RayEncoder(small_model(tmp_path), address)
    assert "\n" not in str(refused.value)
