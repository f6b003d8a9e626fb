"""The feature store keeps what it was given, whatever happens to the process, the disk or the files."""

import errno
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import warm_process
from support.full_disk import files_of_at_most
from torch.nn import functional as F

from wordsight.files.append import AppendFile
from wordsight.files.lock import StoreInUse
from wordsight.pairs import Picture
from wordsight.pretrained import feature_maps
from wordsight.read.features import store_writer
from wordsight.read.features.extract import Extraction, extract, find_pictures
from wordsight.read.features.store import FeatureStore
from wordsight.read.pictures.backbone_reader import BackboneReader
from wordsight.read.pictures.pixel_reader import PixelReader, PreparedPicture
from wordsight.sets import Regions

STORE_FILES = ("features.npy", "boxes.npy", "pictures.jsonl", "files.jsonl", "meta.json")
COUNT = 11
KILLED = 7  # pictures to store while being killed


class MeanColours:
    """A small real reader: the mean colour of each cell of a 2 x 2 grid."""

    feature_dim = 3

    def __init__(self, scale: float = 1.0, pause: float = 0.0) -> None:
        self.settings: dict[str, Any] = {"scale": scale}
        self.identity = f"mean colours x {scale}"
        self.scale, self.pause = scale, pause
        self.pixels = PixelReader(4)

    def prepare(self, picture: Picture) -> PreparedPicture:
        return self.pixels.prepare(picture)

    def read(self, frames: Sequence[PreparedPicture]) -> Regions:
        time.sleep(self.pause)
        maps = F.adaptive_avg_pool2d(self.pixels.stack(frames).values, 2).flatten(2).transpose(1, 2)
        boxes = feature_maps.boxes([(2, 2)], (2, 2)).repeat(len(frames), 1, 1)
        return Regions(maps * self.scale, boxes, torch.ones(maps.shape[:2], dtype=torch.bool))

    def __call__(self, pictures: Sequence[Picture]) -> Regions:
        return self.read([self.prepare(picture) for picture in pictures])


def draw(folder: Path, count: int = COUNT) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(count):
        noise = np.random.default_rng(i).integers(0, 256, (6, 5 + i, 3), dtype=np.uint8)
        paths.append(folder / f"{i:02}.png")
        Image.fromarray(noise).save(paths[-1])
    return paths


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return draw(tmp_path / "pictures")


def run(
    paths: Sequence[Path], folder: Path, reader: MeanColours | None = None, **settings: Any
) -> Extraction:
    given = {"batch_size": 3, "workers": 2} | settings
    return extract(reader or MeanColours(), paths, folder, **given)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in STORE_FILES}


def check_prefix(folder: Path, paths: Sequence[Path]) -> int:
    """Whatever is stored is right, and is the first pictures in their order; returns how many they are."""
    if not (folder / "meta.json").is_file():
        return 0
    store = FeatureStore.open(folder)
    assert store.names == [path.name for path in paths[: len(store)]]
    if len(store):
        expected = MeanColours()(paths[: len(store)])
        stored = store.read(range(len(store)))
        torch.testing.assert_close(stored.features, expected.features.half().float(), atol=0, rtol=0)
        assert stored.boxes is not None
        assert torch.equal(stored.boxes, expected.boxes)
    return len(store)


def test_what_was_stored_comes_back(tmp_path: Path, pictures: list[Path]) -> None:
    result = run(pictures, tmp_path / "store", dtype="float32")
    assert (result.done, result.reused, result.skipped) == (COUNT, 0, [])
    store = FeatureStore.open(tmp_path / "store")
    assert (len(store), store.regions, store.feature_dim) == (COUNT, 4, 3)
    assert store.sizes[2] == (7, 6)
    order = [7, 0, 7, 3]
    source = store.source([pictures[row] for row in order])
    regions = source.read([2, 1])
    expected = MeanColours()([pictures[7], pictures[0]])
    assert torch.equal(regions.features, expected.features)
    assert regions.mask.all()
    assert len(source) == 4
    assert regions.features.dtype == torch.float32


def test_numpy_opens_the_arrays(tmp_path: Path, pictures: list[Path]) -> None:
    run(pictures, tmp_path / "store")
    features = np.load(tmp_path / "store" / "features.npy", mmap_mode="r")
    assert (features.shape, features.dtype) == ((COUNT, 4, 3), np.float16)
    assert np.load(tmp_path / "store" / "boxes.npy").shape == (COUNT, 4, 4)


def test_running_again_adds_only_what_is_new(tmp_path: Path, pictures: list[Path]) -> None:
    run(pictures[:5], tmp_path / "store")
    before = (tmp_path / "store" / "features.npy").read_bytes()[128:]
    result = run(pictures, tmp_path / "store")
    assert (result.done, result.reused) == (COUNT - 5, 5)
    assert (tmp_path / "store" / "features.npy").read_bytes()[128:].startswith(before)
    assert check_prefix(tmp_path / "store", pictures) == COUNT


def test_renames_and_duplicates_are_recognised_by_content(tmp_path: Path, pictures: list[Path]) -> None:
    twin = shutil.copy(pictures[1], tmp_path / "pictures" / "twin.png")
    result = run([*pictures[:4], Path(twin)], tmp_path / "store")
    assert (result.done, result.reused) == (4, 1)
    moved = pictures[2].rename(tmp_path / "elsewhere.png")
    assert run([moved], tmp_path / "store").reused == 1
    store = FeatureStore.open(tmp_path / "store")
    assert store.find([twin, moved, pictures[0], pictures[9]]) == [1, 2, 0, None]


def test_a_file_with_new_content_is_read_again(tmp_path: Path, pictures: list[Path]) -> None:
    run(pictures[:3], tmp_path / "store")
    shutil.copy(pictures[8], pictures[1])
    result = run(pictures[:3], tmp_path / "store")
    assert (result.done, result.reused) == (1, 2)
    store = FeatureStore.open(tmp_path / "store")
    assert store.find(pictures[:3]) == [0, 3, 2]


def test_unchanged_files_are_not_read_again(tmp_path: Path, pictures: list[Path]) -> None:
    run(pictures[:3], tmp_path / "store")
    for path in pictures[:3]:  # the same size and time of change, but nothing in it: known without reading
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run(pictures[:3], tmp_path / "store").reused == 3
    assert FeatureStore.open(tmp_path / "store").find(pictures[:3]) == [0, 1, 2]


def test_unreadable_pictures_are_skipped_and_listed(tmp_path: Path, pictures: list[Path]) -> None:
    pictures[1].write_bytes(b"")
    pictures[4].write_bytes(pictures[4].read_bytes()[:60])
    gone = tmp_path / "gone.png"
    result = run([*pictures, gone], tmp_path / "store")
    assert result.done == COUNT - 2
    assert [path for path, _ in result.skipped] == [pictures[1], pictures[4], gone]
    assert "empty" in result.skipped[0][1]
    assert "no such file" in result.skipped[2][1]
    draw(tmp_path / "pictures")  # mended
    assert run(pictures, tmp_path / "store").done == 2


def test_nothing_readable_leaves_nothing_behind(tmp_path: Path) -> None:
    assert len(run([tmp_path / "a.png"], tmp_path / "store").skipped) == 1
    assert not (tmp_path / "store").exists()


def test_threads_and_batches_change_nothing(tmp_path: Path, pictures: list[Path]) -> None:
    run(pictures, tmp_path / "one", workers=1)
    run(pictures, tmp_path / "many", workers=4, batch_size=7)
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


def test_every_picture_is_counted_and_nothing_is_printed(
    tmp_path: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[Any, ...]] = []
    run(pictures, tmp_path / "store", progress=lambda *at: seen.append(at))
    assert [done for _, done, _ in seen] == list(range(len(pictures) + 1))
    assert capsys.readouterr() == ("", "")


def test_pictures_without_features_are_one_error(tmp_path: Path, pictures: list[Path]) -> None:
    run(pictures[:8], tmp_path / "store")
    store = FeatureStore.open(tmp_path / "store")
    with pytest.raises(ValueError, match=r"3 of 11 pictures have no features") as caught:
        store.source(pictures)
    assert str(pictures[8]) in str(caught.value)
    assert f"wordsight features extract {tmp_path / 'pictures'} --out {tmp_path / 'store'}" in str(
        caught.value
    )


def test_without_the_pictures_their_names_find_them(tmp_path: Path, pictures: list[Path]) -> None:
    (tmp_path / "more").mkdir()
    twin_name = shutil.copy(pictures[9], tmp_path / "more" / "01.png")
    run([*pictures[:4], Path(twin_name)], tmp_path / "store")
    shutil.rmtree(tmp_path / "pictures")
    shutil.rmtree(tmp_path / "more")
    store = FeatureStore.open(tmp_path / "store")
    assert store.find([Path("/another/place/02.png"), pictures[1]]) == [2, None]  # two were called 01.png


def test_another_reader_is_refused(tmp_path: Path, pictures: list[Path]) -> None:
    run(pictures[:3], tmp_path / "store")
    before = contents(tmp_path / "store")
    with pytest.raises(ValueError, match=r"another reader \(scale = 1.0 there, 2.0 here\)"):
        run(pictures, tmp_path / "store", MeanColours(scale=2.0))
    store = FeatureStore.open(tmp_path / "store")
    store.check_reader(MeanColours().identity)
    with pytest.raises(ValueError, match=r"identity mean colours x 1.0 there, mean colours x 2.0 here"):
        store.check_reader(MeanColours(2.0).identity)
    with pytest.raises(ValueError, match=r"scale = 1.0 there, 2.0 here.*extract them again"):
        store.check_reader(MeanColours(2.0).identity, MeanColours(2.0).settings)
    assert contents(tmp_path / "store") == before


@pytest.mark.parametrize(
    ("scale", "told"), [(1e6, r"largest 1e\+06|largest \d+.*float32"), (float("nan"), "nan")]
)
def test_features_that_are_not_finite(tmp_path: Path, pictures: list[Path], scale: float, told: str) -> None:
    with pytest.raises(ValueError, match=rf"00.png are not finite in float16.*({told})"):
        run(pictures, tmp_path / "store", MeanColours(scale))
    assert not (tmp_path / "store").exists()


def test_a_reader_without_regions_is_refused(tmp_path: Path, pictures: list[Path]) -> None:
    with pytest.raises(ValueError, match="PixelReader gives pixels and no regions to store"):
        extract(PixelReader(4), pictures, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_one_writer_at_a_time(tmp_path: Path, pictures: list[Path]) -> None:
    run(pictures[:3], tmp_path / "store")
    with store_writer.StoreWriter(tmp_path / "store", MeanColours().identity, MeanColours().settings):
        with pytest.raises(StoreInUse, match=rf"another process \(number {os.getpid()}\) is writing"):
            run(pictures, tmp_path / "store")
        assert len(FeatureStore.open(tmp_path / "store")) == 3  # reading goes on
    assert run(pictures, tmp_path / "store").done == COUNT - 3


@pytest.mark.parametrize("limit", [50, 140, *range(200, 1000, 130)])
def test_a_full_disk_leaves_a_valid_store(tmp_path: Path, pictures: list[Path], limit: int) -> None:
    """The system itself refuses every write beyond ``limit`` bytes of a file."""
    folder = tmp_path / "store"
    with files_of_at_most(limit), pytest.raises(store_writer.StoreFull) as caught:
        run(pictures, folder)
    stored = check_prefix(folder, pictures)
    assert f"the {stored} pictures stored so far are safe" in str(caught.value)
    assert "make room and run the same command again" in str(caught.value)
    run(pictures, tmp_path / "whole")
    assert run(pictures, folder).done == COUNT - stored
    assert contents(folder) == contents(tmp_path / "whole")


def test_too_little_space_is_told_before_the_work(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(10**6, 10**6 - 100, 100)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        store_writer.StoreFull, match=r"no space for the features .* MB to come, 0.0 MB free"
    ) as caught:
        run(pictures, tmp_path / "store")
    assert caught.value.errno == errno.ENOSPC
    assert not (tmp_path / "store").exists()


def test_other_disk_errors_are_told_as_they_are_and_undone(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pictures[:3], tmp_path / "store")
    before = contents(tmp_path / "store")

    def fails(self: AppendFile, data: bytes) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(AppendFile, "add", fails)
        with pytest.raises(OSError, match="Input/output"):
            run(pictures, tmp_path / "store")
    assert contents(tmp_path / "store") == before


def test_torn_and_surplus_bytes_are_cut_off(tmp_path: Path, pictures: list[Path]) -> None:
    run(pictures, tmp_path / "whole")
    run(pictures[:6], tmp_path / "store")
    for name in ("features.npy", "boxes.npy"):
        with (tmp_path / "store" / name).open("ab") as file:
            file.write(b"half a batch")
    for name in ("pictures.jsonl", "files.jsonl"):
        with (tmp_path / "store" / name).open("ab") as file:
            file.write(b'{"content": "0123')
    assert check_prefix(tmp_path / "store", pictures) == 6
    run(pictures, tmp_path / "store")
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


def test_damaged_folders_say_what_is_wrong(tmp_path: Path, pictures: list[Path]) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no meta.json: it is not a feature store; make one"):
        FeatureStore.open(tmp_path)
    run(pictures, tmp_path / "store")

    def broken(name: str, content: bytes) -> Path:
        folder = shutil.copytree(tmp_path / "store", tmp_path / name)
        (folder / name).write_bytes(content)
        return folder

    features = (tmp_path / "store" / "features.npy").read_bytes()
    cut = broken("features.npy", features[:-30])
    for attempt in (FeatureStore.open, lambda folder: run(pictures, folder)):
        with pytest.raises(ValueError, match=r"holds 9 rows but pictures.jsonl lists 11.*copy it again"):
            attempt(cut)
    shutil.rmtree(cut)
    with pytest.raises(ValueError, match=r"is no array of regions"):
        FeatureStore.open(broken("features.npy", bytes(5000)))
    newer = json.loads((tmp_path / "store" / "meta.json").read_text()) | {"format": 9}
    with pytest.raises(ValueError, match=r"says format 9; this version reads format 1"):
        FeatureStore.open(broken("meta.json", json.dumps(newer).encode()))
    shutil.rmtree(tmp_path / "meta.json")
    with pytest.raises(ValueError, match=r"meta.json is not JSON"):
        FeatureStore.open(broken("meta.json", b"{"))
    with pytest.raises(ValueError, match=r"pictures.jsonl line 1 is damaged"):
        FeatureStore.open(broken("pictures.jsonl", b"{\n" * 11))


def test_files_of_another_kind_are_left_alone(tmp_path: Path, pictures: list[Path]) -> None:
    (tmp_path / "pictures" / "features.npy").write_bytes(b"precious")
    with pytest.raises(ValueError, match=r"holds features.npy but no meta.json: it is not a feature store"):
        run(pictures, tmp_path / "pictures")
    assert (tmp_path / "pictures" / "features.npy").read_bytes() == b"precious"
    assert len(list((tmp_path / "pictures").iterdir())) == COUNT + 1


def test_find_pictures_goes_into_folders(tmp_path: Path, pictures: list[Path]) -> None:
    (tmp_path / "pictures" / "inner").mkdir()
    inner = shutil.copy(pictures[0], tmp_path / "pictures" / "inner" / "A.JPG")
    (tmp_path / "pictures" / "notes.txt").touch()
    (tmp_path / "pictures" / ".trash").mkdir()
    (tmp_path / "pictures" / ".trash" / "old.jpg").touch()
    (tmp_path / "pictures" / "._A.jpg").touch()
    files, closed = find_pictures(tmp_path / "pictures")
    assert (files, closed) == (sorted([*pictures, Path(inner)]), [])
    assert find_pictures(tmp_path / "pictures" / ".trash")[0] == [
        tmp_path / "pictures" / ".trash" / "old.jpg"
    ]
    assert find_pictures(tmp_path / "nowhere") == ([], [(tmp_path / "nowhere", "no such file or directory")])


@pytest.mark.data
def test_backbone_features_come_back_as_they_were(tmp_path: Path, data: Path) -> None:
    reader = BackboneReader(str(data / "weights" / "mobilenet_v2_1.0_224"), grid=[1, 2], signed_sqrt=True)
    photos = sorted((data / "flickr8k" / "images").glob("*.jpg"))[:5]
    assert extract(reader, photos, tmp_path / "store", batch_size=4).done == 5
    store = FeatureStore.open(tmp_path / "store")
    store.check_reader(reader.identity)
    direct, stored = reader(photos[::-1]), store.source(photos[::-1]).read(range(5))
    torch.testing.assert_close(stored.features, direct.features, atol=2e-3, rtol=1e-3)
    assert stored.boxes is not None
    assert torch.equal(stored.boxes, direct.boxes)
    assert store.sizes[0] == (224, 224)


def test_kill_at_any_write_and_at_any_moment(tmp_path: Path, pictures: list[Path]) -> None:
    """Real processes, really killed: in the middle of each write in turn, and again and again at work."""
    run(pictures[:KILLED], tmp_path / "whole")
    done = warm_process.run(tmp_path, program=("file", __file__))
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["writes"] > 18
    assert told["kills"] > 3
    for folder in sorted((tmp_path / "killed").iterdir()):
        assert contents(folder) == contents(tmp_path / "whole"), folder


def in_a_process(work: Callable[[], None], kill_after: float | None = None) -> int:
    """Run in a forked process; the number of the signal that ended it, or 0."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def killed_in_write(number: int, work: Callable[[], None]) -> None:
    """Half of that write reaches the disk, then the process is gone."""
    write, left = AppendFile.write, [number]

    def tears(self: AppendFile, at: int, data: bytes) -> None:
        left[0] -= 1
        if left[0] == 0:
            write(self, at, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, at, data)

    AppendFile.write = tears  # type: ignore[method-assign]
    work()


def be_killed(home: Path) -> None:
    """What the test above runs apart from itself: one process that forks the ones to be killed."""
    paths = sorted((home / "pictures").iterdir())[:KILLED]
    number = 0
    while True:
        number += 1
        folder = home / "killed" / f"write {number}"
        signal_ = in_a_process(lambda: killed_in_write(number, lambda: run(paths, folder)))  # noqa: B023
        check_prefix(folder, paths)
        in_a_process(lambda: run(paths, folder))  # noqa: B023
        if signal_ == 0:
            break
    kills, stored = 0, 0
    folder = home / "killed" / "again and again"
    while in_a_process(
        lambda: run(paths, folder, MeanColours(pause=0.06), batch_size=1), 0.07 + 0.003 * kills
    ):
        kills += 1
        now = check_prefix(folder, paths)
        assert now >= stored
        stored = now
    (home / "told.json").write_text(json.dumps({"writes": number, "kills": kills}))


if __name__ == "__main__":
    be_killed(Path(sys.argv[1]))
