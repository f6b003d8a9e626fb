"""A model folder and an index of others: they keep to themselves, are of their types, and fit into memory."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.small_index import draw, make, small_model

from wordsight.cli.main import main
from wordsight.errors import InputError, WordsightError
from wordsight.matcher import Matcher
from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made")
    draw(home / "pictures", range(5))
    make(home / "index", small_model(home / "source"), home / "pictures")
    return home


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "source" / "model", tmp_path / "model")


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "index", tmp_path / "index")


def change(model: Path, kind: str, /, **settings: Any) -> None:
    config = json.loads((model / "config.json").read_text())
    config["parts"][kind] |= settings
    (model / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("name", ["../secret.json", "/etc/passwd", "..", "a/../../secret.json"])
def test_a_path_in_a_model_does_not_leave_its_folder(model: Path, name: str) -> None:
    shutil.copy(model / "vocabulary.json", model.parent / "secret.json")
    (model / "a").mkdir()
    change(model, "tokenizer", vocabulary=name)
    with pytest.raises(InputError, match=r"outside of that folder; .*copy the file there"):
        Matcher.from_pretrained(model)


@pytest.mark.parametrize("name", ["vocabulary.json", "weights.safetensors", "config.json"])
def test_a_link_in_a_model_does_not_leave_its_folder(model: Path, name: str) -> None:
    (model / name).rename(model.parent / "elsewhere")
    (model / name).symlink_to("../elsewhere")
    with pytest.raises(InputError, match="outside of that folder"):
        Matcher.from_pretrained(model)


def test_links_within_a_model_and_into_the_blobs_of_the_hub_are_read(model: Path, tmp_path: Path) -> None:
    (model / "vocabulary.json").rename(model / "words")
    (model / "vocabulary.json").symlink_to("words")
    Matcher.from_pretrained(model)
    snapshot, blobs = tmp_path / "models--a--b/snapshots/1", tmp_path / "models--a--b/blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(model.iterdir())):
        shutil.copy(path, blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    Matcher.from_pretrained(snapshot)


def test_a_model_names_no_model_of_the_hub(model: Path) -> None:
    """Opening a folder would fetch from the network what its author chose."""
    change(model, "tokenizer", name="wordpieces", model="somebody/else")
    with pytest.raises(
        FileNotFoundError, match=r"has no somebody/else, which its config\.json names as model"
    ):
        Matcher.from_pretrained(model)


NESTED = "[" * 10_000 + "]" * 10_000
WRONG = {
    "list": "[]",
    "number": "7",
    "text": '"model"',
    "null": "null",
    "deep": NESTED,
    "deep in a setting": json.dumps({"format": 1, "parts": {}})[:-2] + f', "reader": {NESTED}}}}}',
    "cut": '{"format": 1, "par',
    "bytes": "\x00\xff",
    "NaN": '{"format": 1, "parts": {"reader": {"name": "pixels", "size": NaN}}}',
    "digits": '{"format": ' + "9" * 5000 + "}",
    "format": '{"format": "1", "parts": {}}',
    "true": '{"format": true, "parts": {}}',
    "parts": '{"format": 1, "parts": [1]}',
    "empty": '{"format": 1, "parts": {}}',
    "table": '{"format": 1, "parts": {"reader": 5}}',
    "name": '{"format": 1, "parts": {"reader": {"name": ["pixels"]}}}',
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_configuration_of_a_wrong_type_is_one_sentence(
    text: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / "config.json").write_text(text, encoding="latin-1")
    draw(tmp_path / "pictures", range(2))
    out = tmp_path / "new" / "index"
    with pytest.raises(SystemExit) as end:
        main(["index", str(tmp_path / "pictures"), "--model", str(model), "--out", str(out)])
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 1
    assert str(model / "config.json") in sentence
    assert len(sentence) < 600
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("image_encoder", {"dim": 10**12}, r"dim = 1000000000000; expected at most 1,000,000"),
        ("text_encoder", {"layers": 10**9}, "layers = 1000000000; expected at most 1,024"),
        ("reader", {"size": 10**6}, "size = 1000000; expected at most 16,384"),
        ("image_encoder", {"dim": True}, "dim = True; expected a whole number"),
        ("image_encoder", {"dim": "8"}, "dim = '8'; expected a whole number"),
        ("text_encoder", {"pool": 3}, r"pool = 3; expected text or a table"),
        ("text_encoder", {"pool": {"name": 3}}, r"\[pool\] name = 3; expected text"),
        ("reader", {"mean": [0.5]}, "a mean and a std for each of three channels"),
    ],
)
def test_a_setting_of_a_wrong_type_or_size_is_named(
    kind: str, settings: dict[str, Any], message: str, model: Path
) -> None:
    change(model, kind, **settings)
    with pytest.raises(InputError, match=message):
        Matcher.from_pretrained(model).build_all()


@pytest.mark.parametrize("kind", ["image_encoder", "text_encoder"])
def test_a_model_asks_for_no_more_memory_than_its_weights_fill(kind: str, model: Path) -> None:
    """192 GB: 48 times 10^9 numbers; nothing of it is taken, so that this takes no time either."""
    wide = {"dim": 10**6, "width": 3000} if kind == "image_encoder" else {"dim": 10**6, "word_dim": 48_000}
    change(model, kind, **wide)
    with pytest.raises(InputError, match=rf"\[{kind}\] asks for .* GB: more than the weights in .* can fill"):
        Matcher.from_pretrained(model).build_all()


def drop(index: Path) -> None:
    sql(index, "DROP TABLE state")


def trigger(index: Path) -> None:
    sql(index, "CREATE TRIGGER evil AFTER INSERT ON items BEGIN UPDATE items SET path = x'41'; END")


def view(index: Path) -> None:
    sql(index, "ALTER TABLE items RENAME TO hidden", "CREATE VIEW items AS SELECT * FROM hidden")


def column(index: Path) -> None:
    sql(index, "ALTER TABLE segments ADD COLUMN big AS (zeroblob(1000000000))")


def text(index: Path) -> None:
    sql(index, "UPDATE contents SET start = 'x' WHERE key = 1")


def beyond(index: Path) -> None:
    sql(index, "UPDATE contents SET start = 1000000000000 WHERE key = 1")


def many(index: Path) -> None:
    sql(index, "UPDATE contents SET count = 2000000000 WHERE key = 1")


def below(index: Path) -> None:
    sql(index, "UPDATE contents SET place = -1 WHERE key = 1")


def nowhere(index: Path) -> None:
    sql(index, "PRAGMA foreign_keys = OFF", "UPDATE contents SET segment = 77 WHERE key = 1")


def rows(index: Path) -> None:
    sql(index, "UPDATE segments SET vectors = 1 << 40")


def negative(index: Path) -> None:
    sql(index, "UPDATE segments SET vectors = -1")


def blob(index: Path) -> None:
    sql(index, "UPDATE items SET told = x'ff', changed = 'today'")


def noise(index: Path) -> None:
    (index / "facts.sqlite").write_bytes(b"SQLite format 3\0" + os.urandom(5000))


def link(index: Path) -> None:
    (index / "vectors-000001.bin").rename(index.parent / "vectors")
    (index / "vectors-000001.bin").symlink_to(index.parent / "vectors")


def dim(index: Path) -> None:
    meta(index, dim=10**9)


def other_dim(index: Path) -> None:
    meta(index, dim=4)


def kind(index: Path) -> None:
    meta(index, kind=["images"])


def deep(index: Path) -> None:
    (index / "index.json").write_text(NESTED)


def sql(index: Path, *statements: str) -> None:
    connection = sqlite3.connect(index / "facts.sqlite")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def meta(index: Path, **changes: Any) -> None:
    path = index / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


SPOILS = [
    drop, trigger, view, column, text, beyond, many, below, nowhere, rows, negative, blob, noise, link, dim,
    other_dim, kind, deep,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILS)
def test_an_index_that_is_none_is_one_sentence(spoil: Callable[[Path], None], index: Path) -> None:
    spoil(index)
    with pytest.raises((WordsightError, ValueError)) as error:
        Searcher(Index.open(index)).find_images("a dog", 5)
    assert str(index) in str(error.value) or "the index is damaged" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("name", ["lock", "vectors-000001.bin", "pooled-000001.bin", "facts.sqlite"])
def test_an_update_writes_through_no_link(name: str, index: Path, made: Path, tmp_path: Path) -> None:
    """What counts of a file is less than it holds, so that a writer would cut the file off."""
    private = tmp_path / "private"
    before = (index / name).read_bytes() + b"the end of a private file"
    private.write_bytes(before)
    (index / name).unlink()
    (index / name).symlink_to(private)
    draw(tmp_path / "more", [9])
    with pytest.raises(InputError, match="outside of that folder"):
        Index.open_to_write(index).update([tmp_path / "more"])
    assert private.read_bytes() == before


def test_a_failed_training_leaves_no_new_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "run"
    for wrong in (
        "loss.name=none",
        "data.images=0",
        "training.batch_size=-1",
        "text_encoder.word_dim=99999999",
    ):
        with pytest.raises(SystemExit):
            main(["train", "demo", "--set", "data.images=8", "--set", wrong, "--out", str(out)])
        assert not (tmp_path / "new").exists(), wrong
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [
        ["features", "extract", "pictures", "--model", "nowhere/at-all", "--out"],
        ["import", "broken.pth", "--from", "chan", "--out"],
        ["vocab", "build", "broken.pth", "--out"],
        ["data", "convert", "broken.pth", "--out"],
        ["data", "records", "broken.json", "--out"],
        ["compare", "broken.toml", "--out"],
        ["index", "pictures", "--captions", "broken.json", "--model", "model", "--out"],
        ["index", "--texts", "broken.json", "--model", "model", "--out"],
    ],
    ids=" ".join,
)
def test_a_failed_command_leaves_no_new_folder(
    command: list[str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    draw(tmp_path / "pictures", range(2))
    for name in ("broken.pth", "broken.toml", "broken.json"):
        (tmp_path / name).write_bytes(b"\xff{[\x00")
    with pytest.raises(SystemExit) as end:
        main([*command, "new/out"])
    assert end.value.code not in (0, None)
    assert not (tmp_path / "new").exists()
