"""Reports of new users, by a matcher that sees exactly what is there: what a picture shows matches it."""

from pathlib import Path

import pytest
from support.small_problem import wordsight
from support.written_weights import CAPTIONS, SHOWN, WORDS, written_indexes

from wordsight.search.index.index import Index
from wordsight.search.searcher import Searcher


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Index, Index]:
    """Pictures and their captions."""
    return written_indexes(tmp_path_factory.mktemp("written"))


def named(text: str) -> set[str]:
    return set(text.split()) & set(WORDS)


@pytest.mark.parametrize("name", SHOWN)
def test_the_own_captions_of_a_picture_match_it(name: str, indexes: tuple[Index, Index]) -> None:
    """A new user's report: a picture's own captions came first, and "nothing here matches" above them."""
    pictures, texts = indexes
    path = pictures.folder.parent / "pictures" / name
    hits = Searcher(texts).find_texts(str(path), 100)
    matching = {hit.item.text for hit in hits.hits if hit.relevant}
    assert set(CAPTIONS[name]) <= matching
    assert all(named(text) <= set(SHOWN[name]) for text in matching), "of others only what it shows too"
    assert {hit.item.text for hit in hits.hits[: hits.relevant]} == matching
    done = wordsight("captions", texts.folder, path)
    count = f"{len(matching)} of {sum(map(len, CAPTIONS.values()))} sentences match; "
    assert (done.exit_code, done.stderr.startswith(count)) == (0, True), done.stderr


def test_a_word_is_found_only_where_it_is_shown(indexes: tuple[Index, Index]) -> None:
    """A new user's report: "people" was found in pictures of one dog."""
    hits = Searcher(indexes[0]).find_images("two people on a beach").hits
    assert Path(hits[0].item.path).name == "sea.png"
    assert [hit.relevant for hit in hits] == [True, False, False, False]
    for hit in hits:
        found = {word.word for word in hit.words if word.judged and word.is_found}
        assert found == {"people", "beach"} & set(SHOWN[Path(hit.item.path).name])
    done = wordsight("search", indexes[0].folder, "a dog on a beach")
    assert done.stderr.startswith("No picture shows all of it; the closest are missing *")
    assert "not found" not in wordsight("search", indexes[0].folder, "a dog", "--strict").stdout
