"""An index from stored features is that of the pictures, and reads only the pictures that the store lacks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_index import draw

from wordsight.cli.main import main
from wordsight.errors import InputError
from wordsight.matcher import Matcher
from wordsight.pairs import Picture
from wordsight.read.features.extract import extract
from wordsight.read.features.store import FeatureStore
from wordsight.read.pictures.backbone_reader import BackboneReader
from wordsight.read.pictures.pixel_reader import PreparedPicture
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.search.index.index import Index
from wordsight.search.index.stored_encoder import StoredEncoder


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained matcher of a real backbone's regions."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    Vocabulary.learn(["a red dog runs"], min_count=1).save(folder / "vocabulary.json")
    weights = str(data / "weights" / "mobilenet_v2_1.0_224")
    tables: dict[str, dict[str, Any]] = {
        "reader": {"name": "backbone", "model": weights, "size": 64, "grid": [1, 2]},
        "tokenizer": {"name": "words", "vocabulary": str(folder / "vocabulary.json")},
        "image_encoder": {"name": "regions", "dim": 8},
        "text_encoder": {"name": "recurrent", "dim": 8, "word_dim": 4},
        "similarity": {"name": "max-sim"},
    }
    Matcher.build(tables).save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    draw(tmp_path / "pictures", range(9))
    return tmp_path / "pictures"


@pytest.fixture
def stored(model: Path, pictures: Path, tmp_path: Path) -> Path:
    """A store of all pictures but two, in another order than the index takes them."""
    reader = Matcher.from_pretrained(model).reader
    extract(reader, sorted(pictures.iterdir())[:1:-1], tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures that the reader opens from here on."""
    names: list[str] = []
    prepare = BackboneReader.prepare

    def noted(self: BackboneReader, picture: Picture) -> PreparedPicture:
        names.append(Path(str(picture)).name)
        return prepare(self, picture)

    monkeypatch.setattr(BackboneReader, "prepare", noted)
    return names


def vectors(index: Index) -> dict[str, torch.Tensor]:
    with index.snapshot() as snapshot:
        names = [Path(item.path).name for item in snapshot.items(range(len(snapshot)))]
        return dict(zip(names, snapshot.embeddings(0, len(snapshot)).vectors, strict=True))


def sizes(index: Index) -> Sequence[tuple[int, int]]:
    with index.snapshot() as snapshot:
        return sorted((item.width, item.height) for item in snapshot.items(range(len(snapshot))))


@pytest.mark.data
def test_the_index_is_that_of_the_pictures(
    model: Path, pictures: Path, stored: Path, opened: list[str], tmp_path: Path
) -> None:
    expected = Index.create(tmp_path / "expected", model)
    expected.update([pictures])
    opened.clear()
    index = Index.create(tmp_path / "index", model)
    index.update([pictures], encoder=StoredEncoder(index.matcher, FeatureStore.open(stored)), batch_size=4)
    assert sorted(opened) == ["000.png", "001.png"]
    made, same = vectors(index), vectors(expected)
    assert made.keys() == same.keys()
    for name, value in same.items():
        torch.testing.assert_close(made[name], value, atol=5e-3, rtol=0, msg=name)
    assert sizes(index) == sizes(expected)


@pytest.mark.data
def test_the_command_reads_no_stored_picture(
    model: Path, pictures: Path, stored: Path, opened: list[str], tmp_path: Path
) -> None:
    opened.clear()
    command = ["index", pictures, "--model", model, "--features", stored, "--out", tmp_path / "i"]
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in command])
    assert ended.value.code == 0
    assert sorted(opened) == ["000.png", "001.png"]
    assert len(vectors(Index.open(tmp_path / "i"))) == 9


@pytest.mark.data
def test_features_of_another_reader_leave_no_index(
    data: Path, model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = BackboneReader(str(data / "weights" / "mobilenet_v2_1.0_224"), size=64, grid=1)
    extract(other, sorted(pictures.iterdir())[:1], tmp_path / "other")
    command = ["index", pictures, "--model", model, "--features", tmp_path / "other", "--out", tmp_path / "i"]
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in command])
    assert ended.value.code == 1
    assert "came from another reader than the model's (grid" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "i").exists()


def test_a_reader_of_pixels_takes_no_features(tmp_path: Path) -> None:
    class Pixels:
        reader = object()

    with pytest.raises(InputError, match="reads no features"):
        StoredEncoder(Pixels(), None)  # type: ignore[arg-type]
