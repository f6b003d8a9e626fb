"""One verdict, whoever says it: a picture matches by its score, or because every word is found in it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.search_models import KINDS, PICTURES, WORD_KINDS, index, path_of, searcher, texts_index
from support.small_problem import wordsight

from wordsight.search.index.index import Filters, Index
from wordsight.search.relevance.threshold import Calibration
from wordsight.search.results import Hit
from wordsight.search.searcher import Searcher

QUERIES = ("a red star", "star", "a small blue circle above a ring", "the", "a red giraffe")


def shows_every_word(hit: Hit) -> bool:
    return any(word.judged for word in hit.words) and not hit.missing


@pytest.mark.parametrize("kind", WORD_KINDS)
@pytest.mark.parametrize("line", [10.0, -10.0, None])
def test_a_picture_matches_by_its_score_or_by_all_its_words(
    monkeypatch: pytest.MonkeyPatch, kind: str, line: float | None
) -> None:
    asking = searcher(kind)
    if line is not None:
        monkeypatch.setattr(Calibration, "line", lambda *_: line)
    for query in QUERIES:
        for engine, filters in (("exact", None), ("exact", Filters(folder="even")), ("shortlist", None)):
            hits = asking.find_images(query, k=PICTURES, engine=engine, filters=filters)
            expected = [line == -10.0 or shows_every_word(hit) for hit in hits.hits]
            if line is not None:
                assert [hit.relevant for hit in hits.hits] == expected
            assert all(hit.relevant for hit in hits.hits if shows_every_word(hit))
            assert hits.relevant == sum(hit.relevant for hit in hits.hits)
            matching = [number for number, hit in enumerate(hits.hits, 1) if hit.relevant]
            assert hits.last_match == max(matching, default=0)
            assert not any(hit.relevant for hit in hits.hits if hit.score < hits.line - 1e-4)


@pytest.mark.parametrize("kind", ["cosine", "order"])
def test_a_sentence_that_is_one_vector_is_found_where_it_matches(kind: str) -> None:
    hits = searcher(kind).find_images("a red star", k=PICTURES)
    assert [hit.words[0].is_found for hit in hits.hits] == [hit.relevant for hit in hits.hits]
    for hit in (hits.hits[0], hits.hits[-1]):
        (word,) = searcher(kind).explain("a red star", hit.item.id).words
        assert word.word.is_found == hit.relevant


def test_pages_and_the_order_by_date_agree_on_what_matches() -> None:
    asking = searcher()
    whole = asking.find_images("star", k=PICTURES)
    pages = [asking.find_images("star", k=5, offset=offset) for offset in range(0, PICTURES, 5)]
    assert {(page.relevant, page.last_match, page.line) for page in pages} == {
        (whole.relevant, whole.last_match, whole.line)
    }
    assert [hit.relevant for page in pages for hit in page.hits] == [hit.relevant for hit in whole.hits]
    by_date = asking.find_images("star", k=PICTURES, sort="date")
    assert by_date.relevant == whole.relevant == len(by_date.hits)
    assert {hit.row for hit in by_date.hits} == {hit.row for hit in whole.hits if hit.relevant}


def test_the_commands_say_it_in_one_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Calibration, "line", lambda *_: 10.0)
    search = ("search", index().folder, "star", "-k", PICTURES)
    count = searcher().find_images("star").relevant
    assert 0 < count < PICTURES
    done = wordsight(*search)
    assert done.stderr.startswith(f"{count} of 24 pictures match; ")
    assert done.stdout.count("no match from here on") == 1
    told = [json.loads(line) for line in wordsight(*search, "--json").stdout.splitlines()]
    assert sum(hit["relevant"] for hit in told) == count
    strict = wordsight(*search, "--strict", "-0")
    assert (strict.exit_code, strict.stdout.count("\0")) == (0, count)
    wordsight(*search, "--explain", tmp_path / "why.html")
    page = (tmp_path / "why.html").read_text()
    assert f"{count} of 24 pictures match." in page
    assert page.count('<p class="rank first">') == count
    nothing = wordsight("search", index().folder, "a giraffe", "--explain", tmp_path / "none.html")
    assert nothing.stderr.startswith("No picture matches; 24 pictures compared")
    assert "No picture matches; 24 pictures compared." in (tmp_path / "none.html").read_text()


@pytest.mark.parametrize("kind", WORD_KINDS)
def test_a_sentence_whose_words_are_all_found_matches_its_picture(kind: str) -> None:
    hits = Searcher(texts_index(kind)).find_texts(str(path_of(3)), k=60)
    assert all(hit.relevant for hit in hits.hits if shows_every_word(hit))
    assert hits.relevant >= sum(hit.relevant for hit in hits.hits)
    done = wordsight("captions", texts_index(kind).folder, path_of(3), "-k", 5)
    assert "sentences match; " in done.stderr or "No sentence matches; " in done.stderr


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "regions" not in kind and kind != "order"])
def test_a_picture_of_the_index_is_left_out_of_the_verdict_on_its_like(kind: str, tmp_path: Path) -> None:
    """Its own score would be so far above all others that none of them could match."""
    copied = tmp_path / "index"
    shutil.copytree(index(kind).folder, copied)
    shutil.copy(path_of(5), tmp_path / "elsewhere.png")
    asking = Searcher(Index.open(copied))
    hits = asking.similar(str(tmp_path / "elsewhere.png"), k=PICTURES)
    assert (hits.itself, hits.total) == (1, PICTURES)
    assert Path(hits.hits[0].item.path) == path_of(5)
    without = asking.similar(hits.hits[0].item.id, k=PICTURES)
    assert without.itself == 0
    assert hits.relevant == without.relevant + 1
    assert [(hit.item.id, hit.relevant) for hit in hits.hits[1:]] == [
        (hit.item.id, hit.relevant) for hit in without.hits
    ]
    done = wordsight("similar", copied, tmp_path / "elsewhere.png")
    matching = without.relevant or "none"
    assert done.stderr.startswith(f"This picture is in the index. Similar: {matching} of the 23 others; ")
    assert asking.similar(str(path_of(5)), filters=Filters(folder="even")).itself == 0


def test_a_picture_that_was_sent_is_known_by_the_hash_of_its_bytes() -> None:
    from PIL import Image

    from wordsight.files.fingerprint import content_of

    picture = Image.open(path_of(5))
    assert searcher().similar(picture).itself == 0
    assert searcher().similar(picture, content=content_of(path_of(5))).itself == 1
    assert searcher().similar(np.asarray(picture.convert("RGB"))).itself == 0
