"""An index is in step with its folders, and whole, whatever happens to the process, the disk or the files."""

import json
import os
import re
import shutil
import struct
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import small_index, warm_process
from support.heic import save_heic, without_heic
from support.small_index import BATCH, Contents, draw, make, read
from support.small_problem import small_matcher, wordsight
from torch.nn import functional as F

from wordsight.files.append import AppendFile
from wordsight.files.lock import StoreInUse
from wordsight.matcher import Matcher
from wordsight.search.index import database, manifest, vector_files
from wordsight.search.index.database import IndexFull
from wordsight.search.index.index import Filters, Index, IndexReplaced, Item
from wordsight.search.index.snapshot import Snapshot


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_index.small_model(tmp_path_factory.mktemp("source"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    draw(tmp_path / "pictures", range(10))
    return tmp_path / "pictures"


@pytest.fixture
def index(tmp_path: Path, model: Path, pictures: Path) -> Index:
    return make(tmp_path / "index", model, pictures)


def items_of(index: Index) -> list[Item]:
    with index.snapshot() as snapshot:
        return sorted(snapshot.items(range(len(snapshot))), key=lambda item: item.id)


def ids_of(index: Index) -> dict[str, int]:
    return {Path(item.path).name: item.id for item in items_of(index)}


def program(*arguments: object) -> dict[str, int]:
    ran = warm_process.run(*arguments, program=("file", small_index.__file__))
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


# What is stored


@pytest.mark.parametrize(("precision", "error"), [("float16", 1e-3), ("int8", 1e-2)])
def test_embeddings_are_those_of_the_model(
    tmp_path: Path, model: Path, pictures: Path, precision: str, error: float
) -> None:
    index = Index.create(tmp_path / "index", model, precision=precision)
    assert index.update([pictures], batch_size=3).added == 10
    with index.snapshot() as snapshot, torch.no_grad():
        paths = [item.path for item in snapshot.items(range(10))]
        fresh = Matcher.from_pretrained(model).encode_images(paths)
        stored = snapshot.embeddings(0, 10)
        units = F.normalize(fresh.vectors, dim=-1)
        torch.testing.assert_close(stored.vectors, units, atol=error, rtol=0)
        assert stored.boxes is not None
        torch.testing.assert_close(stored.boxes, fresh.boxes, atol=1e-3, rtol=0)
        assert stored.mask.all()
        torch.testing.assert_close(
            torch.from_numpy(snapshot.mean_vectors(range(10))).float(), units.mean(1), atol=1e-3, rtol=0
        )
        assert snapshot.mean_vectors(range(10)).shape == (10, 8)
        rows = np.array([7, 2, 2])
        assert torch.equal(snapshot.gather(rows).vectors, stored.vectors[[7, 2, 2]])
        assert torch.equal(snapshot.embeddings(3, 5).vectors, stored.vectors[3:5])
        assert (snapshot.mean_vectors(rows) == snapshot.mean_vectors(range(10))[rows]).all()


def test_texts_of_any_length_are_those_of_the_model(tmp_path: Path, model: Path) -> None:
    lines = ["a red dog", "a", "the ball of the green dog runs", "dog", "a red red red red red dog"]
    (tmp_path / "texts.txt").write_text("\n".join([*lines, "", "dog"]))
    index = Index.create(tmp_path / "index", model, kind="texts")
    report = index.update([tmp_path / "texts.txt"], batch_size=2)
    assert (report.added, report.skipped) == (5, [])
    with index.snapshot() as snapshot, torch.no_grad():
        texts = [item.text for item in snapshot.items(range(5))]
        assert sorted(texts) == sorted(lines)
        stored, fresh = snapshot.gather([4, 1, 0, 2, 3]), index.matcher.encode_texts(texts)[[4, 1, 0, 2, 3]]
        assert torch.equal(stored.mask, fresh.mask)
        assert stored.boxes is None
        units = F.normalize(fresh.vectors, dim=-1) * fresh.mask[..., None]
        torch.testing.assert_close(stored.vectors, units, atol=1e-3, rtol=0)
        assert (stored.vectors[~stored.mask] == 0).all()
        assert snapshot.lengths.tolist() == index.matcher.encode_texts(texts).lengths.tolist()


def test_scores_from_the_index_are_those_of_the_matcher(index: Index) -> None:
    with index.snapshot() as snapshot, torch.no_grad():
        texts = index.matcher.encode_texts(["a red dog", "the ball runs"])
        scores = index.matcher.similarity(snapshot.embeddings(0, 10), texts)
        paths = [item.path for item in snapshot.items(range(10))]
        expected = index.matcher.score(paths, ["a red dog", "the ball runs"])
    torch.testing.assert_close(scores, expected, atol=2e-3, rtol=0)


def test_lengths_are_kept_where_the_similarity_asks_for_them(
    tmp_path: Path, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dot(self: Any, images: Any, texts: Any) -> torch.Tensor:
        return torch.einsum("ird,twd->it", images.vectors, texts.vectors)

    monkeypatch.setattr("wordsight.similarity.max_sim.MaxSim.forward", dot)
    index = Index.create(tmp_path / "lengths", model)
    assert not index.meta.unit
    index.update([pictures])
    with index.snapshot() as snapshot, torch.no_grad():
        fresh = index.matcher.encode_images([snapshot.item(0).path])
        assert not torch.allclose(fresh.vectors.norm(dim=-1), torch.ones(1))
        torch.testing.assert_close(snapshot.embeddings(0, 1).vectors, fresh.vectors, atol=1e-3, rtol=1e-3)


def test_facts_are_those_of_the_files(index: Index, pictures: Path) -> None:
    for item in items_of(index):
        status = Path(item.path).stat()
        assert item.path.startswith(str(pictures))
        assert (item.bytes, item.modified) == (status.st_size, status.st_mtime_ns / 1e9)
        assert (item.width, item.height) == Image.open(item.path).size
    assert [item.id for item in items_of(index)] == list(range(1, 11))


def test_an_item_is_found_by_its_id(index: Index) -> None:
    with index.snapshot() as snapshot:
        assert [snapshot.row_of(int(id_)) for id_ in snapshot.ids] == list(range(10))
        assert snapshot.item(snapshot.row_of(4)).id == 4
        with pytest.raises(KeyError, match="item 11 is not in this index of 10 items"):
            snapshot.row_of(11)


def test_segments_are_closed_and_begun(
    tmp_path: Path, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = read(make(tmp_path / "one", model, pictures))
    monkeypatch.setattr(vector_files, "SEGMENT_BYTES", 100)
    several = make(tmp_path / "several", model, pictures)
    assert several.stats().segments == 3
    assert read(several) == one
    with several.snapshot() as snapshot:
        assert len(snapshot.embeddings(2, 9)) == 7
    assert several.verify() == []


# Keeping in step


def test_the_same_command_again_changes_nothing(index: Index, pictures: Path) -> None:
    before, generation = read(index), index.generation()
    report = index.update([pictures])
    assert (report.unchanged, report.added + report.updated + report.renamed + report.deleted) == (10, 0)
    assert (read(index), index.generation()) == (before, generation)


def test_renamed_changed_deleted_and_new_pictures(index: Index, tmp_path: Path, pictures: Path) -> None:
    before = ids_of(index)
    (pictures / "deep").mkdir()
    (pictures / "000.png").rename(pictures / "deep" / "other.png")
    (pictures / "001.png").unlink()
    os.replace(draw(tmp_path, [50])[0], pictures / "002.png")
    draw(pictures, [60])
    os.utime(pictures / "003.png", (1, 1))
    report = index.update([pictures])
    assert (report.added, report.updated, report.renamed, report.deleted, report.unchanged) == (1, 1, 1, 1, 7)
    after = ids_of(index)
    assert after["other.png"] == before["000.png"]
    assert after["002.png"] == before["002.png"]
    assert after["060.png"] == 11
    assert set(before) - set(after) == {"000.png", "001.png"}
    assert next(item.modified for item in items_of(index) if item.path.endswith("003.png")) == 1
    assert index.verify() == []


def test_an_updated_index_equals_a_fresh_one(
    index: Index, tmp_path: Path, model: Path, pictures: Path
) -> None:
    os.replace(pictures / "000.png", pictures / "004.png")
    draw(pictures, range(20, 25))
    index.update([pictures])
    assert read(index) == read(make(tmp_path / "fresh", model, pictures))


def test_copies_share_vectors_and_are_items_of_their_own(index: Index, pictures: Path) -> None:
    vectors = index.stats().vectors
    (pictures / "copy.png").write_bytes((pictures / "000.png").read_bytes())
    assert index.update([pictures]).added == 1
    assert index.stats().vectors == vectors
    (pictures / "000.png").unlink()
    assert index.update([pictures]).deleted == 1
    assert index.compact().dropped == 0
    assert "copy.png" in ids_of(index)
    assert index.verify() == []


@pytest.mark.parametrize(
    "copies", ["005", "copy"]
)  # right after the first, which is not stored yet; much later
def test_more_copies_than_one_page(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path, copies: str
) -> None:
    for name in (
        "wordsight.search.index.sync.KNOWN_PER_WRITE",
        "wordsight.search.index.scan_sources.PAGE_ROWS",
    ):
        monkeypatch.setattr(name, 3)
    for number in range(20):
        (pictures / f"{copies}-{number}.png").write_bytes((pictures / "005.png").read_bytes())
    index = make(tmp_path / "index", model, pictures)
    assert index.update([pictures]).unchanged == 30
    assert index.stats().contents == 10
    for number in range(20):
        (pictures / f"{copies}-{number}.png").unlink()
    assert index.update([pictures]).deleted == 20
    assert index.verify() == []


def test_other_folders_stay_as_they_are(index: Index, tmp_path: Path, pictures: Path) -> None:
    draw(tmp_path / "pictures-of-may", [30])
    assert index.update([tmp_path / "pictures-of-may"]).deleted == 0
    (pictures / "000.png").unlink()
    assert index.update([tmp_path / "pictures-of-may"]).deleted == 0
    assert index.update([pictures]).deleted == 1
    assert len(items_of(index)) == 10


def test_a_picture_that_moved_to_another_folder_keeps_its_id(
    index: Index, tmp_path: Path, pictures: Path
) -> None:
    before = ids_of(index)
    (tmp_path / "elsewhere").mkdir()
    (pictures / "007.png").rename(tmp_path / "elsewhere" / "007.png")
    assert index.update([tmp_path / "elsewhere"]).renamed == 1
    assert ids_of(index) == before


def test_a_folder_that_is_gone_or_empty_is_an_error_unless_told(index: Index, pictures: Path) -> None:
    for path in pictures.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"has no pictures now; 10 of its pictures are in.*--drop-all"):
        index.update([pictures])
    pictures.rmdir()
    with pytest.raises(FileNotFoundError, match=r"there is no .*--drop-all"):
        index.update([pictures])
    assert len(items_of(index)) == 10
    assert index.update([pictures], drop_all=True).deleted == 10
    with index.snapshot() as snapshot:
        assert len(snapshot) == len(snapshot.embeddings(0, 5)) == len(snapshot.mean_vectors([])) == 0
    assert index.verify() == []


def test_captions_beside_pictures_and_in_files_are_found_by_their_words(
    index: Index, pictures: Path, tmp_path: Path
) -> None:
    def found(text: str) -> list[str]:
        with index.snapshot() as snapshot:
            rows = snapshot.rows_where(Filters(text=text))
            return [Path(item.path).name for item in snapshot.items([] if rows is None else rows)]

    (pictures / "001.txt").write_text("Zwei Hunde\n\nlaufen über Gras\n", encoding="utf-8")
    (pictures / "002.png.txt").write_text("a ball")
    table = tmp_path / "captions.csv"
    table.write_text(f"image,caption\n{pictures}/001.png,two dogs\n{pictures}/003.png,a cat\n")
    assert index.update([pictures], captions=[table]).updated == 3
    assert (found("uber HUNDE"), found("dogs"), found("ball"), found("cat 003")) == (
        ["001.png"], ["001.png"], ["002.png"], ["003.png"])  # fmt: skip
    texts = {Path(item.path).name: item.text for item in items_of(index)}
    assert texts["001.png"] == "Zwei Hunde\nlaufen über Gras\ntwo dogs"
    assert index.update([pictures]).updated == 0
    (pictures / "001.txt").write_text("drei Katzen")
    table.write_text(f"image,caption\n{pictures}/003.png,a mouse\n")
    assert index.update([pictures], captions=[table]).updated == 2
    assert (found("Hunde"), found("Katzen dogs"), found("mouse"), found("cat")) == (
        [], ["001.png"], ["003.png"], [])  # fmt: skip
    (pictures / "001.txt").unlink()
    index.update([pictures])
    assert (found("Katzen"), index.verify()) == ([], [])


def test_texts_come_from_lines_tables_and_json_and_go_with_them(tmp_path: Path, model: Path) -> None:
    (tmp_path / "a.txt").write_text("a red ball\na dog\n")
    (tmp_path / "b.csv").write_text('caption\n"a dog, green"\na dog\n')
    (tmp_path / "c.jsonl").write_text('{"text": "runs"}\n{"text": "half a pair \\ud800"}\n')
    sources = [tmp_path / name for name in ("a.txt", "b.csv", "c.jsonl")]
    index = Index.create(tmp_path / "index", model, kind="texts")
    assert index.update(sources).added == 6
    assert index.stats().contents == 5
    assert index.update(sources).unchanged == 6
    (tmp_path / "a.txt").write_text("a red ball\na blue dog\n")
    report = index.update(sources)
    assert (report.added, report.deleted, report.unchanged) == (1, 1, 5)
    sources[2].unlink()
    with pytest.raises(FileNotFoundError):
        index.update(sources)
    assert index.update(sources, drop_all=True).deleted == 2
    assert index.verify() == []


def test_texts_that_the_model_cannot_read_are_skipped_with_the_reason(tmp_path: Path, model: Path) -> None:
    (tmp_path / "a.txt").write_text("a dog\n" + "red " * 400 + "\n" + "x" * 20_000 + "\na\0ball\n")
    index = Index.create(tmp_path / "index", model, kind="texts")
    report = index.update([tmp_path / "a.txt"])
    assert report.added == 2
    assert "max_length" in report.skipped[1][1] or "256" in report.skipped[1][1]
    assert "20000 characters" in report.skipped[0][1]
    assert index.verify() == []


# What cannot be read


def png_of(width: int, height: int) -> bytes:
    """A picture that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_unreadable_pictures_are_skipped_counted_and_listed(index: Index, pictures: Path) -> None:
    (pictures / "empty.jpg").touch()
    (pictures / "text.png").write_text("no picture")
    (pictures / "half.png").write_bytes((pictures / "009.png").read_bytes()[:60])
    (pictures / "bomb.png").write_bytes(png_of(60_000, 60_000))
    (pictures / "loop.png").symlink_to(pictures / "loop.png")
    (pictures / "dangling.png").symlink_to(pictures / "nowhere")
    (pictures / "again").symlink_to(pictures, target_is_directory=True)
    (pictures / "folder.png").mkdir()
    os.mkfifo(pictures / "pipe.png")
    report = index.update([pictures])
    reasons = {Path(path).name: reason for path, reason in report.skipped}
    assert set(reasons) == {
        "empty.jpg", "text.png", "half.png", "bomb.png", "loop.png", "dangling.png", "pipe.png"
    }  # fmt: skip
    assert reasons["empty.jpg"] == "the file is empty"
    assert "pixels, and the limit is" in reasons["bomb.png"]
    assert "symbolic links" in reasons["loop.png"]
    assert (report.unchanged, report.added, report.deleted) == (10, 0, 0)
    assert index.verify() == []


def test_photographs_of_telephones_are_pictures_or_say_what_they_need(index: Index, pictures: Path) -> None:
    save_heic(Image.open(pictures / "003.png"), pictures / "IMG_0001.HEIC", orientation=6)
    with without_heic():
        report = index.update([pictures])
    assert [(Path(path).name, reason) for path, reason in report.skipped] == [
        ("IMG_0001.HEIC", "an HEIC photograph, which needs pillow-heif: pip install 'wordsight[heic]'")
    ]
    assert (report.unchanged, report.added) == (10, 0)
    report = index.update([pictures])
    assert (report.unchanged, report.added, report.skipped) == (10, 1, [])
    (item,) = (item for item in items_of(index) if item.path.endswith(".HEIC"))
    with Image.open(pictures / "003.png") as stored:
        assert (item.height, item.width) == stored.size


def test_a_picture_that_changes_while_it_is_read_waits_for_the_next_time(
    index: Index, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its vectors would be those of other bytes than the hash that they are known by."""
    path, bytes_of_another = draw(pictures, [20])[0], (pictures / "001.png").read_bytes()
    prepare = index.matcher.reader.prepare

    def slow(picture: Path) -> Any:
        path.write_bytes(bytes_of_another)
        return prepare(picture)

    with monkeypatch.context() as patch:
        patch.setattr(index.matcher.reader, "prepare", slow)
        report = index.update([pictures])
    assert [(Path(name).name, reason) for name, reason in report.skipped] == [
        ("020.png", "it changed while it was read; run the same command again")
    ]
    assert (report.added, len(items_of(index))) == (0, 10)
    assert index.update([pictures]).added == 1


def test_what_is_hidden_is_left_out_unless_it_is_named(index: Index, pictures: Path) -> None:
    (pictures / "._001.png").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    draw(pictures, [20], ".hidden.png")
    draw(pictures / ".thumbnails" / "large", [21, 22])
    report = index.update([pictures])
    assert (report.unchanged, report.added, report.skipped) == (10, 0, [])
    assert index.update([pictures / ".thumbnails"]).added == 2
    report = index.update([pictures])
    assert (report.unchanged, report.deleted) == (10, 2)


def test_a_picture_that_became_unreadable_leaves_the_index(index: Index, pictures: Path) -> None:
    (pictures / "004.png").write_bytes(b"")
    assert len(index.update([pictures]).skipped) == 1
    assert "004.png" not in ids_of(index)
    assert index.verify() == []


def test_what_is_in_a_closed_folder_stays(
    index: Index, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(pictures / "closed", [40, 41])
    index.update([pictures])
    before, scandir = ids_of(index), os.scandir

    def closed(folder: Any) -> Any:
        if os.fsencode(folder).endswith(b"closed"):
            raise PermissionError(13, "Permission denied", os.fsdecode(folder))
        return scandir(folder)

    monkeypatch.setattr("os.scandir", closed)
    report = index.update([pictures])
    assert report.skipped == [(str(pictures / "closed"), "permission denied")]
    assert ids_of(index) == before


def test_numbers_that_are_not_finite_are_never_stored(
    tmp_path: Path, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index.create(tmp_path / "index", model)
    encode = index.matcher.image_encoder.forward

    def broken(pixels: Any) -> Any:
        encoded = encode(pixels)
        encoded.vectors[1] = torch.nan
        return encoded

    monkeypatch.setattr(index.matcher.image_encoder, "forward", broken)
    report = index.update([pictures], batch_size=5)
    assert (report.added, len(report.skipped)) == (8, 2)
    assert "not finite" in report.skipped[0][1]
    assert index.verify() == []


def test_names_that_are_not_text_are_names(index: Index, pictures: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xff.png")
    draw(pictures, [70], name)
    draw(pictures, [71], "new\nline ' \" %.png")
    report = index.update([pictures])
    assert (report.added, report.skipped) == (2, [])
    assert {name, "new\nline ' \" %.png"} < set(ids_of(index))
    (pictures / name).rename(pictures / os.fsdecode(b"\xfe.png"))
    assert index.update([pictures]).renamed == 1
    assert Image.open(next(item.path for item in items_of(index) if item.path.endswith("\udcfe.png"))).size
    assert index.verify() == []


def test_an_index_inside_its_own_folder_does_not_index_itself(tmp_path: Path, model: Path) -> None:
    draw(tmp_path, range(3))
    index = make(tmp_path / "index", model, tmp_path)
    draw(tmp_path / "index", [9])
    assert index.update([tmp_path]).unchanged == 3
    assert len(items_of(index)) == 3


# Filters


def test_filters_choose_rows(index: Index, pictures: Path) -> None:
    draw(pictures / "holiday" / "may", [80, 81])
    draw(pictures / "holidays", [82])
    draw(pictures / "x ", [83])
    for n, path in enumerate(sorted(pictures.rglob("*.png"))):
        os.utime(path, (1000 + n, 1000 + n))
    index.update([pictures])

    def chosen(**filters: Any) -> set[str]:
        with index.snapshot() as snapshot:
            rows = snapshot.rows_where(Filters(**filters))
            assert rows is not None
            assert (np.diff(rows) > 0).all()
            return {Path(item.path).name for item in snapshot.items(rows)}

    assert chosen(folder="holiday") == chosen(folder="holiday/may") == {"080.png", "081.png"}
    assert chosen(folder=str(pictures / "holiday")) == {"080.png", "081.png"}
    assert chosen(folder=str(pictures / "holiday" / "..")) == set(ids_of(index))
    assert chosen(folder="x ") == chosen(folder=str(pictures / "x ")) == {"083.png"}
    assert chosen(folder="x") == chosen(folder=str(pictures / "x")) == set()
    assert chosen(folder="pictures/holi") == chosen(folder="%") == chosen(folder="' OR 1=1 --") == set()
    assert chosen(after=1009, before=1011) == {"009.png", "080.png"}
    assert chosen(after=float("-inf"), before=float("inf")) == set(ids_of(index))
    assert chosen(ids=[3, 99, 1]) == {"000.png", "002.png"}
    assert chosen(ids=[]) == set()
    largest = max(items_of(index), key=lambda item: item.bytes)
    assert Path(largest.path).name in chosen(min_bytes=largest.bytes)
    assert chosen(min_bytes=10**30) == set()
    assert chosen(text="holiday 081") == {"081.png"}
    assert chosen(text='"holiday" OR 001 NOT *') == set()
    assert chosen(text="-- \0 ;") == set()
    assert chosen(text="holiday - 081 !") == {"081.png"}
    with index.snapshot() as snapshot:
        assert snapshot.rows_where(None) is None
        assert snapshot.rows_where(Filters(text="  ")) is None
        assert sorted(snapshot.dates()) == [1000 + n for n in range(14)]
        assert snapshot.dates()[snapshot.row_of(1)] == 1000


# Readers beside a writer


def copy_of(snapshot: Snapshot) -> tuple[list[Item], bytes, bytes, Any]:
    rows = snapshot.rows_where(Filters(text="png"))
    return (
        snapshot.items(range(len(snapshot))),
        small_index.as_bytes(snapshot.embeddings(0, len(snapshot))),
        snapshot.mean_vectors(range(len(snapshot))).tobytes(),
        None if rows is None else rows.tolist(),
    )


def test_a_snapshot_stays_what_it_was(index: Index, pictures: Path) -> None:
    with index.snapshot() as snapshot:
        before = copy_of(snapshot)
        (pictures / "000.png").rename(pictures / "renamed.png")
        (pictures / "001.png").unlink()
        draw(pictures, range(20, 40))
        (pictures / "005.txt").write_text("news")
        index.update([pictures], batch_size=BATCH)
        index.compact()
        assert index.generation() > snapshot.generation
        assert copy_of(snapshot) == before
    with index.snapshot() as snapshot:
        assert copy_of(snapshot) != before
        assert index.generation() == snapshot.generation
    assert index.verify() == []


def test_readers_never_see_half_a_batch(index: Index, pictures: Path) -> None:
    """While one thread writes and compacts, another reads, at least once after each batch."""
    paths = draw(pictures, range(100, 140))
    known = read(make(index.folder.parent / "all", index.folder / "model", pictures))
    seen: set[int] = set()
    failures: list[BaseException] = []
    reads, done, turn = [0], threading.Event(), threading.Condition()

    def read_on() -> None:
        try:
            while not done.is_set():
                with index.snapshot() as snapshot:
                    seen.add(len(snapshot))
                for path, content in read(index).items():
                    assert known[path] == content
                with turn:
                    reads[0] += 1
                    turn.notify()
        except BaseException as error:
            failures.append(error)

    def let_read(stage: str, done: int, total: int) -> None:
        if done % BATCH == 0:
            with turn:
                enough = reads[0] + 2  # one may have begun before this batch
                assert turn.wait_for(lambda: reads[0] >= enough or failures, 30)

    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        index.update([pictures], let_read, batch_size=BATCH)
        for path in paths[::2]:
            path.unlink()
        index.update([pictures], let_read)
        index.compact(let_read)
    finally:
        done.set()
        reader.join()
    assert not failures, failures
    assert seen >= set(range(10 + BATCH, 51, BATCH))
    assert seen <= {*range(10, 51, BATCH), 30}


def test_several_threads_share_a_snapshot(index: Index) -> None:
    with index.snapshot() as snapshot, ThreadPoolExecutor(4) as pool:
        expected = copy_of(snapshot)
        copies = list(pool.map(lambda _: copy_of(snapshot), range(60)))
    assert all(copy == expected for copy in copies)


def test_a_second_writer_is_refused_at_once(index: Index, pictures: Path) -> None:
    with manifest.writing(index.folder):
        for work in (lambda: index.update([pictures]), index.compact, index.repair):
            with pytest.raises(StoreInUse, match=f"another process .number {os.getpid()}. is writing"):
                work()
        assert len(items_of(index)) == 10
        assert index.verify() == []
    assert index.update([pictures]).unchanged == 10


def test_what_was_opened_is_told_from_what_took_its_place(index: Index, pictures: Path, model: Path) -> None:
    shutil.rmtree(index.folder)
    with pytest.raises(IndexReplaced, match="was deleted"):
        index.generation()
    make(index.folder, model, pictures)
    for work in (index.generation, index.snapshot, index.compact, lambda: index.update([pictures])):
        with pytest.raises(IndexReplaced, match="made anew"):
            work()
    assert len(items_of(Index.open(index.folder))) == 10


# Compaction, checks, formats, models


def test_compaction_gives_space_back_and_keeps_ids_and_vectors(
    index: Index, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (0, 3, 4, 9):
        (pictures / f"00{number}.png").unlink()
    index.update([pictures])
    before, ids, size = read(index), ids_of(index), index.stats()
    assert size.unneeded == 4
    monkeypatch.setattr("wordsight.search.index.compact.CONTENTS_PER_COPY", 2)
    done = index.compact()
    assert (done.dropped, index.stats().unneeded) == (4, 0)
    assert index.stats().bytes["vectors"] == size.bytes["vectors"] * 6 / 10
    assert (read(index), ids_of(index)) == (before, ids)
    assert index.verify() == []
    generation = index.generation()
    assert (index.compact().dropped, index.generation()) == (0, generation)
    draw(pictures, [90])
    assert index.update([pictures]).added == 1
    assert ids_of(index)["090.png"] == 11
    assert index.verify() == []


def write(index: Index, sql: str) -> None:
    connection = database.connect(index.folder, write=True)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(sql)
    connection.close()


def out_of_step(index: Index) -> None:
    values = "SELECT 'delete', id, shown, beside, told FROM items WHERE id = 3"
    write(index, f"INSERT INTO words (words, rowid, shown, beside, told) {values}")


DAMAGES: dict[str, tuple[Callable[[Index], Any], str]] = {
    "a bit of the vectors": (
        lambda i: flip(i.folder / "vectors-000001.bin"),
        r"vectors of .*002\.png are dam",
    ),
    "a bit of the boxes": (lambda i: flip(i.folder / "boxes-000001.bin"), "are damaged"),
    "a bit of the pooled": (lambda i: flip(i.folder / "pooled-000001.bin"), "are damaged"),
    "a file cut short": (lambda i: os.truncate(i.folder / "vectors-000001.bin", 100), "has 100 bytes; "),
    "a file gone": (lambda i: (i.folder / "boxes-000001.bin").unlink(), "boxes-000001.bin"),
    "a weight": (lambda i: flip_copy(i.folder / "model" / "weights.safetensors"), "is not the model"),
    "words out of step": (out_of_step, "out of step"),
    "an id above the last": (
        lambda i: write(i, "UPDATE sqlite_sequence SET seq = 4 WHERE name = 'items'"),
        "ids above 4",
    ),
    "a content gone": (lambda i: write(i, "DELETE FROM contents WHERE key = 3"), "names a missing row"),
    "vectors that overlap": (lambda i: write(i, "UPDATE contents SET start = 1 WHERE key = 3"), "overlaps"),
    "a segment too short": (lambda i: write(i, "UPDATE segments SET contents = 5"), "has no content 5 of"),
    "a name of the database": (
        lambda i: rewrite(i.folder / "facts.sqlite", b"items_of_content", b"\xfftems_of_content"),
        "facts.sqlite is damaged .*UTF-8",
    ),
    "a name of the database and its definition": (
        lambda i: rewrite(
            i.folder / "facts.sqlite",
            b"items_of_content",
            b"\xfftems_of_content",
            b"CREATE INDEX \xff",
            b"CREATE INDEZ \xff",
        ),
        "facts.sqlite is damaged .*UTF-8",
    ),
    "the database": (lambda i: (i.folder / "facts.sqlite").write_bytes(b"x" * 5000), "is damaged"),
}


def flip(path: Path) -> None:
    """One bit, in what belongs to the third picture."""
    content = bytearray(path.read_bytes())
    content[len(content) * 25 // 100] ^= 1
    path.write_bytes(content)


def rewrite(path: Path, *pieces: bytes) -> None:
    """Replace each piece at an even place by the one that follows it."""
    content = path.read_bytes()
    for old, new in zip(pieces[::2], pieces[1::2], strict=True):
        assert old in content
        content = content.replace(old, new)
    path.write_bytes(content)


def flip_copy(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()  # the model that the index was made from has the same bytes by a link
    path.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_tells_what_is_damaged(index: Index, damage: str) -> None:
    assert index.verify() == []
    harm, told = DAMAGES[damage]
    harm(index)
    problems = index.verify()
    assert re.search(told, "\n".join(problems)), problems


def test_repair_drops_what_is_damaged_and_the_next_update_makes_it_again(
    index: Index, pictures: Path
) -> None:
    before = read(index)
    flip(index.folder / "vectors-000001.bin")
    with pytest.raises(ValueError, match="--verify"):
        (pictures / "009.png").rename(pictures.parent / "009.png"), index.update([pictures]), index.compact()
    (pictures.parent / "009.png").rename(pictures / "009.png")
    assert index.repair() == 1
    assert index.verify() == []
    assert index.update([pictures]).added == 2
    assert (read(index), index.verify()) == (before, [])


def test_the_index_is_complete_in_itself(tmp_path: Path, pictures: Path) -> None:
    source = small_index.small_model(tmp_path / "gone", seed=3)
    index = make(tmp_path / "index", source, pictures)
    os.rename(tmp_path / "gone", tmp_path / "hidden")
    os.rename(tmp_path / "index", tmp_path / "moved")
    moved = Index.open(tmp_path / "moved")
    assert read(moved) == read(Index(tmp_path / "moved", index.meta))
    assert moved.update([pictures]).unchanged == 10
    draw(pictures, [90])
    assert moved.update([pictures]).added == 1
    assert moved.verify() == []


def test_another_model_is_refused_with_the_reason(index: Index, tmp_path: Path, model: Path) -> None:
    index.check_model(model)
    with pytest.raises(ValueError, match=r"made by another model.*same settings, other weights.*--model"):
        index.check_model(small_index.small_model(tmp_path / "other", seed=1))
    with pytest.raises(ValueError, match=r"image_encoder\.dim = 8 there, 16 here"):
        index.check_model(small_index.small_model(tmp_path / "wider", dim=16))


def test_a_model_that_cannot_look_at_pictures_is_refused(tmp_path: Path) -> None:
    small_matcher().save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="Precomputed, cannot read pictures"):
        Index.create(tmp_path / "index", tmp_path / "model")
    (tmp_path / "texts.txt").write_text("red green\nblue\n")
    index = Index.create(tmp_path / "index", tmp_path / "model", kind="texts")
    assert index.update([tmp_path / "texts.txt"]).added == 2


def test_folders_that_are_no_index_are_told_apart(index: Index, tmp_path: Path, model: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"it is not an index; make one: wordsight index"):
        Index.open(tmp_path)
    with pytest.raises(FileExistsError, match="is an index already"):
        Index.create(index.folder, model)
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "monday.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds monday.txt"):
        Index.create(tmp_path / "diary", model)
    assert (tmp_path / "diary" / "monday.txt").read_text() == "mine"
    shutil.copytree(model, tmp_path / "mine" / "model")  # a name that an index uses, too
    with pytest.raises(FileExistsError, match=r"holds model, and is no index"):
        Index.create(tmp_path / "mine", tmp_path / "mine" / "model")
    assert Matcher.from_pretrained(tmp_path / "mine" / "model")
    for kind, precision in (("pictures", "float16"), ("images", "float8")):
        with pytest.raises(ValueError, match="is unknown; known:"):
            Index.create(tmp_path / "new", model, kind, precision)


def test_formats_newer_are_refused_and_older_are_brought_up(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = json.loads((index.folder / "index.json").read_text())
    (index.folder / "index.json").write_text(json.dumps(told | {"format": 4}))
    with pytest.raises(ValueError, match=r"has format 4, newer than 3, .* update wordsight"):
        Index.open(index.folder)
    (index.folder / "index.json").write_text(json.dumps(told))
    monkeypatch.setattr(manifest, "FORMAT", 5)
    monkeypatch.setattr(manifest, "OLDEST", 5)
    with pytest.raises(ValueError, match="run wordsight index --out"):
        Index.open(index.folder)
    with pytest.raises(ValueError, match="cannot be migrated to 4"):
        Index.open_to_write(index.folder)
    steps: list[int] = []
    monkeypatch.setattr(manifest, "MIGRATIONS", {n: lambda folder, n=n: steps.append(n) for n in (3, 4)})
    assert Index.open_to_write(index.folder).meta.format == 5
    assert (steps, len(items_of(Index.open(index.folder)))) == ([3, 4], 10)


def test_an_index_on_a_disk_that_is_read_only_can_be_read(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read(index)
    assert (index.folder / "facts.sqlite-wal").stat().st_size == 0
    for name in ("facts.sqlite-wal", "facts.sqlite-shm"):
        (index.folder / name).unlink()
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK and access(path, mode))
    assert read(index) == before
    assert index.verify() == []
    assert not (index.folder / "facts.sqlite-shm").exists()


# Killed, interrupted, out of space


def test_killed_anywhere_it_loses_one_batch_and_ends_the_same(tmp_path: Path) -> None:
    deaths = program("killed", tmp_path, 2, 10)["deaths"]
    assert deaths >= 12  # some kills come too late, and how many depends on the machine


def test_interrupted_anywhere_the_same_command_goes_on(tmp_path: Path) -> None:
    assert program("interrupted", tmp_path, 6)["interrupted"] >= 3


def test_a_full_disk_loses_nothing_whatever_the_limit(tmp_path: Path) -> None:
    assert program("filled", tmp_path, 6000)["full"] >= 8


@pytest.mark.parametrize("number", range(1, 14))
def test_a_write_that_fails_is_told_and_undone(
    tmp_path: Path, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The n-th write to the vectors fails; half of it has reached the disk."""
    index = Index.create(tmp_path / "index", model)
    left, whole = [number], AppendFile.write

    def failing(self: AppendFile, at: int, data: bytes) -> None:
        left[0] -= 1
        if left[0] == 0:
            whole(self, at, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        whole(self, at, data)

    with monkeypatch.context() as patched:
        patched.setattr(AppendFile, "write", failing)
        if number <= 9:  # three files, three batches
            with pytest.raises(IndexFull, match=r"no space for the index .* run the same command again"):
                index.update([pictures], batch_size=BATCH)
            assert len(items_of(index)) == (number - 1) // 3 * BATCH
        else:
            index.update([pictures], batch_size=BATCH)
    assert index.verify() == []
    index.update([pictures], batch_size=BATCH)
    expected: Contents = read(make(tmp_path / "fresh", model, pictures))
    assert read(index) == expected


# The command


def test_the_command_makes_checks_and_tells(tmp_path: Path, model: Path, pictures: Path) -> None:
    (pictures / "bad.jpg").touch()
    made = wordsight("index", pictures, "--model", model, "--out", tmp_path / "i", "--batch-size", 4)
    assert made.exit_code == 3
    assert "10 added, 0 updated, 0 renamed, 0 deleted, 0 unchanged, 1 skipped" in made.stdout
    assert f"skipped {pictures / 'bad.jpg'}: the file is empty" in made.stderr
    (pictures / "bad.jpg").unlink()
    again = wordsight("index", pictures, "--out", tmp_path / "i", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["unchanged"] == 10
    told = wordsight("index", "--out", tmp_path / "i", "--compact", "--verify", "--stats")
    assert told.exit_code == 0
    assert "integrity check passed" in told.stdout
    assert "10 images, 10 different" in told.stdout
    numbers = json.loads(wordsight("index", "--out", tmp_path / "i", "--stats", "--json").stdout)
    assert (numbers["items"], numbers["vectors"]) == (10, 40)
    flip(tmp_path / "i" / "vectors-000001.bin")
    assert wordsight("index", "--out", tmp_path / "i", "--verify").exit_code == 1
    repaired = wordsight("index", pictures, "--out", tmp_path / "i", "--repair", "--verify")
    assert (repaired.exit_code, "1 damaged" in repaired.stdout) == (0, True)


def test_the_command_tells_what_does_not_go_together(
    tmp_path: Path, model: Path, pictures: Path, index: Index
) -> None:
    (tmp_path / "texts.txt").write_text("a dog\n")
    wrong = {
        ("--out", tmp_path / "new", pictures): "give the model that makes it with --model",
        ("--out", index.folder): "give a folder of pictures",
        ("--out", index.folder, pictures, "--texts", tmp_path / "texts.txt"): "not both",
        ("--out", index.folder, "--texts", tmp_path / "texts.txt"): "is an index of images",
        ("--out", index.folder, pictures, "--precision", "int8"): "is in float16",
        ("--out", tmp_path, "--stats"): "it is not an index",
        ("--out", index.folder, tmp_path / "texts.txt"): "is no picture",
    }
    for arguments, reason in wrong.items():
        result = wordsight("index", *arguments)
        assert result.exit_code != 0
        assert reason in " ".join((result.stderr + str(result.exception)).replace("│", " ").split()), (
            arguments
        )
    texts, new = tmp_path / "texts.txt", tmp_path / "new"
    mistyped = {
        (tmp_path / "phots",): "there is no",
        (texts,): "is no picture",
        ("--texts", pictures): "is a folder",
        (pictures, "--captions", tmp_path / "none.csv"): "--captions takes a caption file",
    }
    for arguments, reason in mistyped.items():
        result = wordsight("index", *arguments, "--model", model, "--out", new)
        assert reason in str(result.exception)
        assert not new.exists()
    made = wordsight(
        "index",
        "--texts",
        tmp_path / "texts.txt",
        "--model",
        model,
        "--out",
        tmp_path / "t",
        "--precision",
        "int8",
    )
    assert (made.exit_code, "1 added" in made.stdout) == (0, True)
