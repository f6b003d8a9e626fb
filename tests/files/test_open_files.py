"""Files that are open: Windows neither deletes nor replaces them, and nothing is lost by that."""

import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
from support.small_index import draw, small_model
from support.windows_files import rules_of_windows

from wordsight.files import atomic
from wordsight.files.append import AppendFile
from wordsight.search.index.database import uri_of
from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher

needs_linux = pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="Linux says which files are open"
)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    with rules_of_windows(monkeypatch) as names:
        yield names


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Of pictures which a test may delete."""
    draw(tmp_path / "pictures", range(24))
    made = Index.create(tmp_path / "index", small_model(tmp_path))
    made.update([tmp_path / "pictures"])
    return made


@needs_linux
def test_a_compaction_leaves_mapped_files_to_the_next_writer(index: Index, refused: list[str]) -> None:
    folder, some = index.folder, sorted((index.folder.parent / "pictures").iterdir())
    searcher = Searcher(index)
    before = {hit.item.path: hit.score for hit in searcher.find_images("a red ball", k=24).hits}
    with index.snapshot() as snapshot:
        expected = np.array(snapshot.gather(list(range(24))).vectors)
        for path in some[:9]:
            path.unlink()
        index.update([folder.parent / "pictures"])
        assert index.compact().dropped == 9
        assert "vectors-000001.bin" in refused
        assert np.array_equal(snapshot.gather(list(range(24))).vectors, expected)
    after = searcher.find_images("a red ball", k=24).hits
    assert sorted(hit.item.path for hit in after) == [str(path) for path in some[9:]]
    assert [hit.score for hit in after] == pytest.approx([before[hit.item.path] for hit in after], abs=1e-6)
    del searcher, snapshot
    Index.open(folder).update([folder.parent / "pictures"])
    assert not (folder / "vectors-000001.bin").exists()
    assert not index.verify()


@needs_linux
def test_rows_behind_the_committed_ones_stay_in_a_mapped_file(tmp_path: Path, refused: list[str]) -> None:
    path = tmp_path / "rows.bin"
    path.write_bytes(b"a" * 4096 + b"of a process that died")
    mapped = np.memmap(path, np.uint8, "c")
    file = AppendFile(path, 4096)
    file.add(b"b" * 10)
    assert refused == ["rows.bin"]
    assert path.read_bytes()[:4106] == b"a" * 4096 + b"b" * 10
    assert bytes(mapped[:4096]) == b"a" * 4096


@needs_linux
def test_a_file_is_replaced_when_its_reader_is_done(tmp_path: Path, refused: list[str]) -> None:
    path = tmp_path / "index.json"
    path.write_text("old")
    reader = path.open()
    threading.Timer(0.15, reader.close).start()
    with atomic.atomic_file(path) as file:
        file.write(b"new")
    assert path.read_text() == "new"
    assert set(refused) == {"index.json"}


@needs_linux
def test_a_folder_that_stays_open_is_left_as_it_was(
    tmp_path: Path, refused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "_REPLACE_SECONDS", 0.05)
    path = tmp_path / "onnx" / "text.onnx"
    path.parent.mkdir()
    path.write_text("old")
    with (
        path.open(),
        pytest.raises(PermissionError, match="used by another process"),
        atomic.atomic_folder(path.parent) as fresh,
    ):
        (fresh / "text.onnx").write_text("new")
    assert [one.name for one in tmp_path.iterdir()] == ["onnx"]
    assert path.read_text() == "old"
    with atomic.atomic_folder(path.parent) as fresh:
        (fresh / "text.onnx").write_text("new")
    assert path.read_text() == "new"


def test_where_no_symbolic_link_may_be_made_a_folder_has_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    source, target = small_model(tmp_path), tmp_path / "linked"
    atomic.link_folder(source, target)
    there = {path.relative_to(target) for path in target.rglob("*")}
    assert there == {path.relative_to(source) for path in source.rglob("*")}


@pytest.mark.parametrize(
    ("path", "address"),
    [
        (PureWindowsPath(r"\\nas\photos\a b\facts.sqlite"), "file:////nas/photos/a%20b/facts.sqlite"),
        (PureWindowsPath(r"C:\photos\facts.sqlite"), "file:///C:/photos/facts.sqlite"),
        (PurePosixPath("/home/a/facts.sqlite"), "file:///home/a/facts.sqlite"),
    ],
)
def test_the_address_of_a_database_names_no_server(
    path: PurePosixPath | PureWindowsPath, address: str
) -> None:
    assert uri_of(path) == address
