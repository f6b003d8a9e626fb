"""Pretrained word vectors: every format gives the same table, and a broken file is named by its line."""

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
import torch

from wordsight.read.text.vocabulary import SPECIALS, Vocabulary
from wordsight.read.text.word_vectors import load_vectors

VOCABULARY = Vocabulary((*SPECIALS, "dog", "t-shirt", "zebra", "man/woman", "o'clock", "<mask>"))
VECTORS = {
    "dog": [0.5, -0.25, 1.0],
    "tshirt": [0.1, 0.2, 0.3],
    "the": [9.0, 9.0, 9.0],
    "man": [-0.5, 0.75, 0.0],
    "oclock": [0.25, 0.5, -1.0],
}
LINES = [" ".join([word, *map(str, numbers)]) for word, numbers in VECTORS.items()]
FOUND = torch.tensor([VECTORS[word] for word in ("dog", "tshirt", "man", "oclock")])


def written(folder: Path, lines: list[str], name: str = "vectors.txt") -> Path:
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def test_known_words_are_copied_also_when_spelt_a_little_otherwise(tmp_path: Path) -> None:
    table, report = load_vectors(written(tmp_path, LINES), VOCABULARY)
    assert table.shape == (10, 3)
    assert torch.equal(table[[4, 5, 7, 8]], FOUND)
    assert report.known.nonzero().flatten().tolist() == [4, 5, 7, 8]
    assert report.found == ("dog", "t-shirt", "man/woman", "o'clock")
    assert report.missing == ("zebra",)
    assert str(report) == "4 of 5 words found (1 missing, such as zebra)"


def test_the_exact_spelling_comes_first(tmp_path: Path) -> None:
    table, _ = load_vectors(written(tmp_path, [*LINES, "t-shirt 7 8 9"]), VOCABULARY)
    assert table[5].tolist() == [7, 8, 9]


def test_every_format_gives_the_same_table(tmp_path: Path) -> None:
    plain = written(tmp_path, LINES)
    header = written(tmp_path, ["5 3", *(line + " " for line in LINES)], "fasttext.vec")  # it ends lines so
    (tmp_path / "vectors.txt.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "vectors.json").write_text(json.dumps(VECTORS))
    (tmp_path / "vectors.json.gz").write_bytes(gzip.compress((tmp_path / "vectors.json").read_bytes()))
    expected, _ = load_vectors(plain, VOCABULARY, dim=3, seed=4)
    for path in (header, *tmp_path.glob("*.gz"), tmp_path / "vectors.json"):
        table, _ = load_vectors(path, VOCABULARY, dim=3, seed=4)
        assert torch.equal(table, expected), path


def test_a_word_with_spaces_inside_is_no_other_word(tmp_path: Path) -> None:
    table, _ = load_vectors(written(tmp_path, [LINES[1], "dog name@domain.com 3 3 3", *LINES]), VOCABULARY)
    assert torch.equal(table[4], FOUND[0])


def test_missing_words_are_as_loud_as_the_found_ones(tmp_path: Path) -> None:
    words = tuple(f"w{n}" for n in range(2000))
    numbers = torch.randn(2, 8, generator=torch.Generator().manual_seed(1)) * 0.05
    path = written(tmp_path, [f"w{n} " + " ".join(map(str, row)) for n, row in enumerate(numbers.tolist())])
    vocabulary = Vocabulary((*SPECIALS, *words))
    table, report = load_vectors(path, vocabulary)
    assert table[~report.known].std() == pytest.approx(float(numbers.std(correction=0)), rel=0.03)
    loud, _ = load_vectors(path, vocabulary, missing_scale=1.0)
    assert loud[~report.known].std() == pytest.approx(1.0, rel=0.03)
    assert torch.equal(loud[report.known], table[report.known])


def test_the_seed_decides_the_missing_rows(tmp_path: Path) -> None:
    path = written(tmp_path, LINES)
    once, again, other = (load_vectors(path, VOCABULARY, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once[6], other[6])
    assert torch.equal(once[4], other[4])


def test_a_large_file_is_never_held(tmp_path: Path) -> None:
    numbers = " ".join(["0.123456"] * 300)
    path = written(tmp_path, [f"word{n} {numbers}" for n in range(4000)] + [f"dog {numbers}"])
    tracemalloc.start()
    load_vectors(path, VOCABULARY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 10_000_000
    assert peak < 1_000_000


@pytest.mark.data
def test_glove_covers_the_share_of_flickr8k_words_it_is_known_to(data: Path) -> None:
    vocabulary = Vocabulary.load(data / "vocab" / "f8k_precomp_vocab.json")
    path = data / "text" / "glove-50d-5k.json"
    table, report = load_vectors(path, vocabulary)
    assert table.shape == (3159, 50)
    assert report.known.float().mean() == pytest.approx(0.405, abs=0.01)
    dog = vocabulary.ids(["dog"])[0]
    assert table[dog].tolist() == pytest.approx(json.loads(path.read_text())["dog"])


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ([*LINES, "cat 0.1 0.2"], "line 6 has 2 numbers; expected 3"),
        ([LINES[0], "cat 0.1 0.2 0.3 0.4", *LINES], "line 2 has 4 numbers; expected 3"),
        (["a 0 0 0", "dog 0.1 x 0.3"], "line 2 is not made of numbers"),
        (["a 0 0 0", "dog 0.1 nan 0.3"], "line 2 has a number that is not finite"),
        (["9 3", *LINES], "5 words, but its first line says 9"),
        (["the 0 0 0"], "knows none of the 10 words"),
        ([""], "not text with a word and its numbers"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, lines: list[str], cause: str) -> None:
    path = written(tmp_path, lines)
    with pytest.raises(ValueError, match=cause) as error:
        load_vectors(path, VOCABULARY)
    assert str(path) in str(error.value)


def test_another_dim_than_asked_for_is_an_error_that_names_both(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 numbers per word, but dim = 300"):
        load_vectors(written(tmp_path, LINES), VOCABULARY, dim=300)


@pytest.mark.parametrize("content", [b"PK\x03\x04zip", b"3 300\ndog \x00\x01\x02\x00\n", b""])
def test_what_is_not_text_is_recognized(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "glove.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"not text with a word and its numbers .* unpack a \.zip first"):
        load_vectors(tmp_path / "glove.zip", VOCABULARY)


def test_a_cut_gzip_file_is_recognized(tmp_path: Path) -> None:
    (tmp_path / "vectors.gz").write_bytes(gzip.compress("\n".join(LINES * 100).encode())[:-20])
    with pytest.raises(ValueError, match="cut short or damaged"):
        load_vectors(tmp_path / "vectors.gz", VOCABULARY)


@pytest.mark.parametrize("content", ["[1, 2]", "{}", '{"dog": 3}', '{"dog": [1'])
def test_json_of_another_form_is_recognized(tmp_path: Path, content: str) -> None:
    (tmp_path / "vectors.json").write_text(content)
    with pytest.raises(ValueError, match=r"vectors\.json: (expected JSON of the form|not JSON)"):
        load_vectors(tmp_path / "vectors.json", VOCABULARY)


def test_json_rows_of_different_lengths_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "vectors.json").write_text(json.dumps({"the": [1, 2], "dog": [1, 2, 3]}))
    with pytest.raises(ValueError, match='the vector of "dog" has 3 numbers; expected 2'):
        load_vectors(tmp_path / "vectors.json", VOCABULARY)


def test_a_missing_file_says_what_to_do() -> None:
    with pytest.raises(FileNotFoundError, match=r"no file /nowhere/glove\.txt; download"):
        load_vectors("/nowhere/glove.txt", VOCABULARY)
