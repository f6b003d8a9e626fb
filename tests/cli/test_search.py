"""wordsight search, similar, captions, explain: what is printed, written and returned."""

import json
from pathlib import Path

import pytest
from PIL import Image
from support.search_models import PICTURES, index, model, path_of, searcher, texts_index
from support.small_problem import wordsight

from wordsight.errors import MissingItemError
from wordsight.files.json_text import rounded
from wordsight.search.index.index import Index
from wordsight.search.relevance.threshold import Calibration

FOLDER = index().folder


def test_a_table_has_a_line_where_relevance_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    third = searcher().find_images("a red star", k=3).hits[-1].score
    monkeypatch.setattr(Calibration, "threshold", lambda *_: third - 1e-6)
    done = wordsight("search", FOLDER, "a red star", "-k", 5)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "----", "4", "5"]
    assert ".png" in lines[0]
    assert "3 of 24 pictures match; " in done.stderr
    second = wordsight("search", FOLDER, "a red star", "-k", 5, "--page", 2).stdout.splitlines()
    assert [line.split()[0] for line in second] == ["6", "7", "8", "9", "10"]
    past = wordsight("search", FOLDER, "a red star", "-k", 5, "--page", 99)
    assert (past.stdout, "this page is past the last hit" in past.stderr) == ("", True)
    after = wordsight("search", FOLDER, "a red star", "-k", 3, "--page", 2).stdout.splitlines()
    assert [line.split()[0] for line in after] == ["----", "4", "5", "6"]


def test_strict_exits_with_5_when_nothing_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Calibration, "threshold", lambda *_: 10.0)
    done = wordsight("search", FOLDER, "a red star", "--strict")
    assert (done.exit_code, done.stdout) == (5, "")
    assert done.stderr.startswith("No picture surely shows all of it; ")
    assert wordsight("search", FOLDER, "a red star").exit_code == 0
    monkeypatch.setattr(Calibration, "threshold", lambda *_: -10.0)
    assert wordsight("search", FOLDER, "a red star", "--strict").exit_code == 0


def test_a_word_that_must_be_there_and_is_not_leaves_nothing() -> None:
    assert wordsight("search", FOLDER, "a +giraffe", "--strict").exit_code == 5


def test_json_lines_hold_all_of_a_hit() -> None:
    done = wordsight("search", FOLDER, "a red star", "-k", 3, "--json")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    hits = searcher().find_images("a red star", k=3).hits
    assert [(one["rank"], one["id"], one["score"]) for one in told] == [
        (n, hit.item.id, rounded(hit.score)) for n, hit in enumerate(hits, start=1)
    ]
    assert [word["word"] for word in told[0]["words"]] == ["a", "red", "star"]
    assert told[0]["words"][1]["box"] == list(hits[0].words[1].box or ())
    assert told[0]["missing"] == hits[0].missing


def test_paths_for_xargs_end_with_nul() -> None:
    done = wordsight("search", FOLDER, "a star", "-0", "-k", 2)
    assert done.stdout_bytes == b"".join(
        hit.item.path.encode() + b"\0" for hit in searcher().find_images("a star", k=2).hits
    )


def test_a_name_of_a_file_neither_ends_a_line_nor_steers_the_terminal(tmp_path: Path) -> None:
    name = "one\nline \x1b[31mred.png"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / name).write_bytes(path_of(0).read_bytes())
    Index.create(tmp_path / "index", model("max-sim")).update([tmp_path / "photos"])
    done = wordsight("search", tmp_path / "index", "a star")
    assert r"one\nline \x1b[31mred.png" in done.stdout
    assert done.stdout.count("\n") <= 2  # the hit, and perhaps the line of relevance
    assert wordsight("search", tmp_path / "index", "a star", "-0").stdout.endswith(f"/{name}\0")


def test_words_that_the_model_never_learnt_are_told_apart() -> None:
    line = wordsight("search", FOLDER, "a giraffe", "-k", 1).stdout.splitlines()[-1]
    assert line.endswith("unknown to the model: giraffe")


def test_filters_reach_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(*options: object) -> int:
        return len(wordsight("search", FOLDER, "a star", "-k", 100, "-0", *options).stdout.split("\0")) - 1

    assert count() == PICTURES
    assert count("--folder", "even") == PICTURES // 2
    monkeypatch.chdir(path_of(0).parent)
    assert [count("--folder", name) for name in (".", "./", "..", "../odd")] == [12, 12, 24, 12]
    assert count("--after", "2001-09-09T12:00", "--before", "2001-09-20") < PICTURES
    assert count("--text", "crescent") < PICTURES
    assert count("--min-size", "1MB") == 0
    assert count("--min-size", "1kB") == PICTURES


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--after", "soon"], "is no date; write 2024-05-31"),
        (["--min-size", "big"], "is no size; write 200kB"),
        (["--engine", "magic"], "known: auto, exact, regions, shortlist"),
        (["--sort", "name"], "known: score, date"),
        (["--false-positive-rate", "3"], "between 0 and 1"),
        (["--explain", "why.txt"], "written as .png, .jpg or .html"),
    ],
)
def test_wrong_options_are_told(options: list[str], reason: str) -> None:
    done = wordsight("search", FOLDER, "a star", *options)
    assert done.exit_code != 0
    assert reason in " ".join(f"{done.stderr} {done.exception}".split())


@pytest.mark.parametrize("query", ['a st"a"r', "a\0b", "x" * 100_000, "++a", ""])
def test_what_is_no_query_is_one_sentence(query: str) -> None:
    done = wordsight("search", FOLDER, query)
    assert done.exit_code == 1
    assert isinstance(done.exception, ValueError)
    assert len(str(done.exception)) < 200
    assert (
        "query" in str(done.exception)
        or "characters" in str(done.exception)
        or "empty" in str(done.exception)
    )


def test_a_folder_that_is_no_index_is_told(tmp_path: Path) -> None:
    done = wordsight("captions", tmp_path, tmp_path / "star.png")
    assert "is not an index; make one: wordsight index" in str(done.exception)


def test_similar_takes_a_file_or_an_id_and_words() -> None:
    by_file = wordsight("similar", FOLDER, path_of(3), "-k", 100, "-0")
    assert by_file.stderr.startswith("This picture is in the index. ")
    with index().snapshot() as snapshot:
        id_ = snapshot.id_of(str(path_of(3)))
    others = wordsight("similar", FOLDER, id_, "-k", 100, "-0").stdout.split("\0")
    assert by_file.stdout.split("\0") == others
    assert len(others) - 1 == PICTURES - 1
    assert str(path_of(3)) not in others
    told = json.loads(wordsight("similar", FOLDER, path_of(3), "--words", "a star", "-k", 1, "--json").stdout)
    assert [word["word"] for word in told["words"]] == ["a", "star"]
    assert "there is no picture" in str(wordsight("similar", FOLDER, "nowhere.png").exception)


def test_captions_are_printed_as_sentences() -> None:
    done = wordsight("captions", texts_index().folder, path_of(3), "-k", 2)
    best = [hit.item.text for hit in Searcher_of_texts().find_texts(str(path_of(3)), k=2).hits]
    printed = [line for line in done.stdout.splitlines() if not line.startswith("----")]
    assert all(text in line for text, line in zip(best, printed, strict=True))
    assert "an index of images" in str(wordsight("captions", FOLDER, path_of(3)).exception)


def Searcher_of_texts():  # type: ignore[no-untyped-def]  # noqa: N802
    from wordsight.search.searcher import Searcher

    return Searcher(texts_index())


def test_reasons_are_written_as_a_picture_and_as_a_page(tmp_path: Path) -> None:
    wordsight("search", FOLDER, "a <red> star", "-k", 4, "--explain", tmp_path / "why.html")
    page = (tmp_path / "why.html").read_text()
    assert page.count("<article") == 4
    assert "a &lt;red&gt; star" in page
    assert "<red>" not in page
    assert "http" not in page.replace("http-equiv", "")
    wordsight("search", FOLDER, "a red star", "--explain", tmp_path / "why.png")
    assert Image.open(tmp_path / "why.png").width == 640
    done = wordsight("search", FOLDER, "a +giraffe", "--explain", tmp_path / "none.png")
    assert (done.exit_code, "no hit to explain" in done.stderr) == (0, True)


def test_a_page_of_hits_says_where_relevance_ends_what_evidence_it_shows_and_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = searcher().find_images("a red star", k=2).hits[-1].score
    monkeypatch.setattr(Calibration, "threshold", lambda *_: second - 1e-6)
    wordsight("search", FOLDER, "a red star", "-k", 5, "--explain", tmp_path / "why.html")
    page = (tmp_path / "why.html").read_text()
    assert (page.count('<p class="rank first">'), page.count(", no match")) == (2, 3)
    assert "Each word was compared with 16 cells of a grid" in page
    (tmp_path / "photos").mkdir()
    for row in range(2):
        (tmp_path / "photos" / f"{row}.png").write_bytes(path_of(row).read_bytes())
    Index.create(tmp_path / "index", model("cosine")).update([tmp_path / "photos"])
    (tmp_path / "photos" / "0.png").unlink()
    lines = wordsight("search", tmp_path / "index", "a red star", "--explain", tmp_path / "whole.html").stdout
    assert lines.count(".png\n") == 2, "the sentence as its only word is the query once more"
    page = (tmp_path / "whole.html").read_text()
    assert "the sentence with the whole picture" in page
    assert (page.count("<article"), "1 left out, whose files are no longer there" in page) == (1, True)
    done = wordsight("explain", tmp_path / "index", "a red star", 2, "--out", tmp_path / "one.html")
    assert f"explanation written to {tmp_path / 'one.html'}" in done.stderr, "a new user's report"
    assert "Rank" not in (tmp_path / "one.html").read_text().split("</style>")[1]


def test_explain_tells_words_boxes_and_what_adds_up(tmp_path: Path) -> None:
    done = wordsight("explain", FOLDER, "a red giraffe", path_of(2), "--out", tmp_path / "why.png")
    assert done.exit_code == 0
    assert "Each word was compared with 16 cells of a grid" in done.stdout
    assert "giraffe  .09 (level 1.00)  unknown to the model" in done.stdout
    assert Image.open(tmp_path / "why.png").width == 640
    told = json.loads(wordsight("explain", FOLDER, "a red star", path_of(2), "--json").stdout)
    assert sum(part["score"] for part in told["parts"]) == pytest.approx(told["score"])
    assert len(told["words"][1]["shares"]) == len(told["regions"]) == 16
    text = texts_index().snapshot().item(0)
    whole = wordsight("explain", texts_index().folder, path_of(2), text.id, "--out", tmp_path / "why.html")
    assert whole.exit_code == 0
    assert (tmp_path / "why.html").read_text().count("<article") == 1


def test_an_item_that_is_not_there_is_one_sentence() -> None:
    for id in (999, 10**30):
        for asked in (("explain", FOLDER, "a star", id), ("similar", FOLDER, id)):
            error = wordsight(*asked).exception
            assert isinstance(error, MissingItemError)
            assert f"item {id} is not in this index" in str(error)
    assert "neither an id nor the path" in str(wordsight("explain", FOLDER, "a star", "x.png").exception)
