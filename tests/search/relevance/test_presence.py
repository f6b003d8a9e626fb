"""Probabilities of words and matches: one threshold decides everywhere, and a model carries them as data."""

import json
import math
import re
import shutil
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
import torch
from PIL import Image
from support.search_models import PICTURES, index, model, path_of, pictures, texts_index, world
from support.small_problem import COLOURS, small_matcher, small_pairs, wordsight

from wordsight.errors import InputError
from wordsight.inflection import lemma
from wordsight.matcher import Matcher
from wordsight.presence.model import (
    CommonRule,
    MatchRule,
    PictureRule,
    PresenceModel,
    WordRules,
    shown_logits,
)
from wordsight.presence.saved import FILE, load_presence, save_presence
from wordsight.search.index.index import Filters, Index
from wordsight.search.index.manifest import adopt_presence, identity
from wordsight.search.query.stop_words import names_something
from wordsight.search.relevance.fit_presence import TooFewPairsError, fit_presence
from wordsight.search.relevance.fit_words import WordEvidence, fit_words
from wordsight.search.relevance.mentions import unmentioned_log_odds
from wordsight.search.relevance.presence_quality import area_under_curve, calibration_error
from wordsight.search.relevance.word_vectors import word_vectors
from wordsight.search.searcher import Searcher
from wordsight.search.verdict_text import verdict_text
from wordsight.sets import EmbeddingSet

WORDS = ("red", "blue", "star", "circle", "ring")


def presence_of(matcher: Matcher, spread: float = 40.0) -> PresenceModel:
    """Rules that give the words of this world probabilities of all sizes, without any training."""
    units = word_vectors(matcher, WORDS)
    draw = torch.Generator().manual_seed(0)
    heads = spread * torch.nn.functional.normalize(torch.randn(units.shape, generator=draw), dim=-1)
    none = torch.zeros(len(WORDS))
    rules = WordRules(units, heads, none, none, none - 3)
    with torch.no_grad():
        shown = matcher.encode_images([str(path_of(row)) for row in range(PICTURES)])
        rules = replace(rules, offsets=-rules.mentioned_logits(shown).mean(0))  # about half of them match
    return PresenceModel(
        WORDS,
        rules,
        CommonRule(5.0, 5.0, -2.5, -1.0),
        MatchRule(0.2, -0.3, 0.1, 0.2, 0.7, 0.4),
        PictureRule(-4.0, 0.3, 1.0),
        EmbeddingSet(shown.vectors, shown.mask),
    )


@lru_cache
def folder(kind: str = "max-sim", texts: bool = False) -> Path:
    """An index whose model has probabilities."""
    home = Path(mkdtemp()) / "index"
    shutil.copytree((texts_index if texts else index)(kind).folder, home)
    save_presence(presence_of(Matcher.from_pretrained(home / "model")), home / "model")
    return home


def searcher(kind: str = "max-sim", texts: bool = False, least: float = 0.5) -> Searcher:
    return Searcher(Index.open(folder(kind, texts)), min_probability=least)


def odds(chance: float) -> float:
    return math.log(chance / (1 - chance))


KINDS = ("max-sim", "cross-attention", "bidirectional", "cosine")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("least", [0.2, 0.7])
def test_one_probability_decides_on_every_match(kind: str, least: float) -> None:
    for query in ("star", "a red star", "red ring or a blue circle", "a red giraffe", "the"):
        for filters, engine in ((None, "exact"), (Filters(folder="even"), "exact"), (None, "shortlist")):
            hits = searcher(kind, least=least).find_images(query, PICTURES, 0, filters, engine)
            matches = [hit.probability >= least for hit in hits.hits if hit.probability is not None]
            assert [hit.relevant for hit in hits.hits] == matches == sorted(matches, reverse=True)
            assert (hits.relevant, hits.min_probability) == (sum(matches), least)
            for same in (True, False):
                scores = [hit.score for hit in hits.hits if hit.relevant is same]
                assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("query", ["the", "a red giraffe", "giraffe"])
def test_what_names_nothing_or_is_not_known_matches_nothing(query: str) -> None:
    hits = searcher(least=0.05).find_images(query, PICTURES)
    assert hits.relevant == 0
    if "giraffe" in query:
        assert hits.hits[0].words[-1].state == "unknown"
        assert verdict_text(hits, "pictures") == "No picture matches; the model does not know *giraffe*"


def test_a_picture_matches_one_word_as_surely_as_it_shows_it() -> None:
    for hit in searcher().find_images("a star", PICTURES).hits:
        assert hit.probability == pytest.approx(hit.words[1].probability, abs=1e-5)
        assert hit.words[0].probability is None
        assert hit.words[1].is_found == hit.relevant == (hit.probability >= 0.5)
        assert hit.words[1].is_weak == (0.2 <= hit.probability < 0.5)


def test_a_text_of_several_words_is_the_rule_written_out() -> None:
    asking = searcher()
    presence, scores = asking.matcher.presence, {}
    with torch.no_grad():
        reference = asking.matcher.similarity(presence.reference, asking.matcher.encode_texts(["a red star"]))
    for hit in asking.find_images("a red star", PICTURES).hits:
        words = [odds(word.probability) for word in hit.words[1:]]
        deviation = (hit.score - float(reference.mean())) / float(reference.std(correction=0))
        length = math.log(2)
        logit = (
            0.2 - 0.3 * length + (0.1 + 0.2 * length) * deviation + 0.7 * min(words) + 0.4 * sum(words) / 2
        )
        scores[hit.row] = 1 / (1 + math.exp(-logit))
        assert hit.probability == pytest.approx(scores[hit.row], abs=2e-3)
    assert len(scores) == PICTURES


@pytest.mark.parametrize("kind", KINDS[:3])
def test_required_words_have_the_probability_and_excluded_ones_have_not(kind: str) -> None:
    asking = searcher(kind)
    every = {hit.item.id: hit for hit in asking.find_images("a red star", PICTURES).hits}
    with_red = {id_ for id_, hit in every.items() if hit.words[1].probability >= 0.5}
    assert {hit.item.id for hit in asking.find_images("a +red star", PICTURES).hits} == with_red
    matching = {hit.item.id for hit in asking.find_images("circle", PICTURES).hits if hit.relevant}
    without = {hit.item.id for hit in asking.find_images("a red star -circle", PICTURES).hits}
    assert without == every.keys() - matching
    phrase = {hit.item.id for hit in asking.find_images('"blue ring"', PICTURES).hits if hit.relevant}
    without = {hit.item.id for hit in asking.find_images('a red star -"blue ring"', PICTURES).hits}
    assert without == every.keys() - phrase


def test_the_newest_first_are_the_matches() -> None:
    by_score = searcher().find_images("star", PICTURES)
    by_date = searcher().find_images("star", PICTURES, sort="date")
    assert {hit.row for hit in by_date.hits} == {hit.row for hit in by_score.hits if hit.relevant}


def test_pages_follow_one_another() -> None:
    whole = searcher().find_images("a red star", PICTURES).hits
    pages = [
        hit for start in range(0, PICTURES, 5) for hit in searcher().find_images("a red star", 5, start).hits
    ]
    assert [(hit.row, hit.relevant, hit.probability) for hit in pages] == [
        (hit.row, hit.relevant, hit.probability) for hit in whole
    ]


def test_a_picture_of_the_index_is_no_neighbour_of_itself(tmp_path: Path) -> None:
    """A new user's report: itself at 1.000 was the only match, real neighbours stood below the line."""
    shutil.copy(path_of(5), tmp_path / "copy.png")
    asking = searcher()
    hits = asking.similar(str(tmp_path / "copy.png"), PICTURES)
    assert (hits.itself, hits.total) == (1, PICTURES - 1)
    assert str(path_of(5)) not in [hit.item.path for hit in hits.hits]
    done = wordsight("similar", folder(), tmp_path / "copy.png", "-k", 3)
    assert done.stderr.startswith("This picture is in the index. No other is surely similar; ")
    some = wordsight("similar", folder(), tmp_path / "copy.png", "--min-probability", 0.01)
    assert re.match(r"This picture is in the index\. Similar: \d+ of 23 others; ", some.stderr)
    sent = asking.similar(Image.open(path_of(5)), PICTURES)
    assert (sent.itself, sent.total) == (0, PICTURES)
    assert str(path_of(5)) in [hit.item.path for hit in sent.hits]
    for hit in hits.hits:
        assert hit.relevant == (hit.probability >= 0.5)


def test_picture_and_words_share_one_probability() -> None:
    asking = searcher()
    picture = {hit.row: hit.probability for hit in asking.similar(str(path_of(5)), PICTURES).hits}
    words = {hit.row: hit.probability for hit in asking.find_images("a red star", PICTURES).hits}
    both = asking.similar(str(path_of(5)), PICTURES, text="a red star", weight=0.25)

    for hit in both.hits:
        expected = 0.75 * odds(picture[hit.row]) + 0.25 * odds(words[hit.row])
        assert odds(hit.probability) == pytest.approx(expected, abs=5e-3)


def test_texts_for_a_picture_have_a_probability_too() -> None:
    hits = searcher(texts=True).find_texts(str(path_of(3)), 1000)
    assert [hit.relevant for hit in hits.hits] == [hit.probability >= 0.5 for hit in hits.hits]
    assert hits.relevant == sum(hit.relevant for hit in hits.hits)
    words = [word for hit in hits.hits for word in hit.words if word.judged and word.known]
    assert words
    assert all(word.is_found == (word.probability >= 0.5) for word in words)


@pytest.mark.parametrize("kind", ["max-sim", "cross-attention", "cosine"])
def test_a_sentence_by_a_picture_and_a_picture_by_the_sentence_are_as_likely(kind: str) -> None:
    of_texts, of_pictures = searcher(kind, texts=True, least=0.05), searcher(kind)
    by_picture = {row: of_texts.find_texts(str(path_of(row)), 1000).hits for row in (0, 11)}
    matches = 0
    for text in sorted({hit.item.text for hit in by_picture[0]})[::8]:
        hits = of_pictures.find_images(f'"{text}"', PICTURES).hits
        by_text = {hit.item.path: hit.probability for hit in hits}
        for row, sentences in by_picture.items():
            same = next(hit for hit in sentences if hit.item.text == text)
            assert same.probability == pytest.approx(by_text[str(path_of(row))], abs=2e-3)
            matches += same.relevant
        shown = of_texts.explain(str(path_of(row)), same.item.id)
        assert shown.probability == pytest.approx(same.probability, abs=2e-3)
    assert matches


@pytest.mark.parametrize("least", [0.1, 0.5])
def test_sentences_that_no_page_shows_are_counted_as_matches_too(least: float) -> None:
    asking = searcher(texts=True, least=least)
    every = asking.find_texts(str(path_of(3)), 1000)
    first = asking.find_texts(str(path_of(3)), 2)
    assert every.relevant == first.relevant == sum(hit.probability >= least for hit in every.hits)
    assert first.hits == every.hits[:2]
    even = asking.find_texts(
        str(path_of(3)), 1000, filters=Filters(ids=[hit.item.id for hit in every.hits[::2]])
    )
    assert {hit.row: hit.probability for hit in even.hits} == {
        hit.row: pytest.approx(hit.probability, abs=1e-5) for hit in every.hits[::2]
    }


def test_a_picture_is_similar_if_it_shows_the_main_things_of_another() -> None:
    """The rule, written out: shares of the words that the first picture surely shows."""
    asking = searcher()
    presence = asking.matcher.presence
    with torch.no_grad():
        pictures_ = asking.matcher.encode_images([str(path_of(row)) for row in range(PICTURES)])
        first = pictures_[[5]]
        weights = torch.sigmoid(presence.rules.mentioned_logits(first))[0]
        shown = dict(
            zip(map(path_of, range(PICTURES)), torch.sigmoid(presence.rules.logits(pictures_)), strict=True)
        )
        usual = asking.matcher.similarity(presence.reference, first)
    for hit in asking.similar(Image.open(path_of(5)), PICTURES).hits:
        share = float((shown[Path(hit.item.path)] * weights).sum() / weights.sum())
        deviation = (hit.score - float(usual.mean())) / float(usual.std(correction=0))
        logit = -4.0 + 0.3 * deviation + math.log(share / (1 - share))
        assert hit.probability == pytest.approx(1 / (1 + math.exp(-logit)), abs=2e-3)


def test_probabilities_of_an_older_format_count_as_none(tmp_path: Path) -> None:
    save_presence(presence_of(Matcher.from_pretrained(model("max-sim"))), tmp_path)
    content = (tmp_path / FILE).read_bytes()
    assert b'\\"format\\": 2,' in content
    (tmp_path / FILE).write_bytes(content.replace(b'\\"format\\": 2,', b'\\"format\\": 1,'))
    assert load_presence(tmp_path) is None


def test_the_commands_say_it_in_a_persons_words(tmp_path: Path) -> None:
    count = searcher().find_images("star", PICTURES).relevant
    assert 1 < count < PICTURES
    done = wordsight("search", folder(), "star", "-k", PICTURES)
    assert done.stderr.startswith(f"{count} of 24 pictures match; ")
    assert done.stdout.count("no match from here on") == 1
    lines = [
        json.loads(line)
        for line in wordsight("search", folder(), "star", "-k", 24, "--json").stdout.splitlines()
    ]
    assert sum(line["probability"] >= 0.5 for line in lines) == count
    strict = wordsight("search", folder(), "star", "-k", 24, "--strict", "-0")
    assert (strict.exit_code, strict.stdout.count("\0")) == (0, count)
    wordsight("search", folder(), "star", "-k", 24, "--explain", tmp_path / "why.html", "--root", pictures())
    assert f"{count} of 24 pictures match." in (tmp_path / "why.html").read_text()
    certain = wordsight("search", folder(), "a red star", "--strict", "--min-probability", 0.999)
    assert (certain.exit_code, certain.stdout) == (5, "")
    assert certain.stderr.startswith("No picture ")
    assert "probability of a match" in wordsight("explain", folder(), "a red star", path_of(2)).stdout
    wrong = wordsight("search", folder(), "star", "--min-probability", 1)
    assert "min_probability = 1.0; expected more than 0 and less than 1" in str(wrong.exception)


def test_a_model_without_probabilities_says_how_it_gets_them() -> None:
    done = wordsight("search", index().folder, "a giraffe")
    assert "wordsight calibrate MODEL --index INDEX" in done.stderr
    assert "calibrate" not in wordsight("search", folder(), "a red giraffe").stderr


def test_a_model_carries_its_probabilities(tmp_path: Path) -> None:
    matcher = Matcher.from_pretrained(folder() / "model")
    matcher.save_pretrained(tmp_path / "again")
    again = Matcher.from_pretrained(tmp_path / "again").presence
    assert matcher.presence is not None
    assert again is not None
    some = matcher.presence.reference
    assert torch.equal(again.rules.logits(some), matcher.presence.rules.logits(some))
    assert (again.words, again.match, again.common) == (
        WORDS,
        matcher.presence.match,
        matcher.presence.common,
    )


def test_probabilities_change_no_vector_so_the_index_stays_its_models_own(tmp_path: Path) -> None:
    shutil.copytree(index().folder, tmp_path / "index")
    shutil.copytree(model("max-sim"), tmp_path / "model")
    before = identity(tmp_path / "model")
    assert not adopt_presence(tmp_path / "index", tmp_path / "model")
    save_presence(presence_of(Matcher.from_pretrained(tmp_path / "model")), tmp_path / "model")
    assert identity(tmp_path / "model") == before
    assert adopt_presence(tmp_path / "index", tmp_path / "model")
    assert not adopt_presence(tmp_path / "index", tmp_path / "model")
    assert Searcher(Index.open(tmp_path / "index")).find_images("star").min_probability == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: replace(one, words=one.words[1:]), "expected"),
        (lambda one: replace(one, match=MatchRule(bias=float("nan"))), "NaN"),
        (
            lambda one: replace(one, rules=replace(one.rules, slopes=one.rules.slopes * torch.inf)),
            "not finite",
        ),
        (lambda one: replace(one, reference=one.reference[:0]), "none of them empty"),
    ],
)
def test_a_presence_model_of_others_is_checked(change: object, message: str, tmp_path: Path) -> None:
    one = presence_of(Matcher.from_pretrained(model("max-sim")))
    one = replace(one, rules=replace(one.rules, slopes=one.rules.slopes + 1))
    save_presence(change(one), tmp_path)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        load_presence(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    assert load_presence(tmp_path) is None
    (tmp_path / FILE).write_bytes(b"no tensors")
    with pytest.raises(InputError, match=r"is damaged.*calibrate"):
        load_presence(tmp_path)


def test_the_odds_of_shown_are_those_of_mentioned_or_shown_all_the_same() -> None:
    mentioned = torch.tensor([[-6.0, -1.0, 0.5, 3.0]])
    unmentioned = torch.tensor([-20.0, 0.0, 1.0, -2.0])
    for said, hidden, shown in zip(
        mentioned[0], unmentioned, shown_logits(mentioned, unmentioned)[0], strict=True
    ):
        p, q = (1 / (1 + math.exp(-value)) for value in (float(said), float(said + hidden)))
        expected = 1 - (1 - p) * (1 - q)
        assert 1 / (1 + math.exp(-float(shown))) == pytest.approx(expected, rel=1e-4)


def test_words_that_people_leave_out_are_counted_by_chaos_estimate() -> None:
    counts = np.zeros((100, 2), np.uint8)
    counts[:10, 0] = 5  # all five say it: nobody leaves it out
    counts[:60, 1], counts[60:70, 1] = 1, 2
    odds = unmentioned_log_odds(counts, np.full(100, 5.0))
    expected = 0.8 * 60 * 59 / (2 * 11) / 70
    assert odds[1] == pytest.approx(70 / 90 * math.log(expected) + 20 / 90 * 0, abs=0.02)
    assert odds[0] < -1.5
    assert (unmentioned_log_odds(counts, np.ones(100)) == -20).all()  # of one text each, nothing is known


def test_planted_words_are_found_again() -> None:
    """400 pictures of three regions; a word adds its vector to one region, and captions mention it or not."""
    draw = torch.Generator().manual_seed(1)
    units = torch.nn.functional.normalize(torch.randn(6, 24, generator=draw), dim=-1)
    there = torch.rand(1200, 6, generator=draw) < torch.linspace(0.05, 0.5, 6)
    vectors = torch.randn(1200, 3, 24, generator=draw) / math.sqrt(24)
    vectors[:, 0] += 1.2 * there.float() @ units
    planted = EmbeddingSet(vectors, torch.ones(1200, 3, dtype=torch.bool))
    none = torch.zeros(6)
    best, mean = WordRules(units, torch.eye(24)[:6], none, none, none).evidence(planted)
    assert mean.shape == best.shape
    means = torch.nn.functional.normalize(vectors, dim=-1).mean(1)
    counts = there.to(torch.uint8).numpy()
    rules, common = fit_words(WordEvidence(means[:600], best[:600], units), counts[:600], lambda *_: None)
    chances = torch.sigmoid(rules.mentioned_logits(planted[slice(600, 1200)]))
    assert area_under_curve(chances, there[600:]) > 0.9
    assert calibration_error(chances, there[600:]) < 0.1
    assert common.best > 0


def test_area_and_error_are_slow_loops_too() -> None:
    chances, true = torch.tensor([0.1, 0.4, 0.4, 0.9]), torch.tensor([False, True, False, True])
    pairs = [(p > n) + 0.5 * (p == n) for p in (0.4, 0.9) for n in (0.1, 0.4)]
    assert area_under_curve(chances, true) == pytest.approx(sum(pairs) / 4)
    assert calibration_error(chances, true, bins=2) == pytest.approx(0.75 * abs(0.3 - 1 / 3) + 0.25 * 0.1)


def test_too_few_pairs_are_an_error_that_says_how_many_are_needed() -> None:
    matcher = Matcher.from_pretrained(model("max-sim"))
    with pytest.raises(TooFewPairsError, match=r"24 training pictures are too few .*; 100 are needed"):
        fit_presence(matcher, world(), world())


@pytest.mark.parametrize("word", ["Dogs", "men", "people", "glasses", "bus"])
def test_a_counted_form_still_names_something(word: str) -> None:
    assert names_something(lemma(word))


def test_probabilities_are_fitted_on_captions_and_checked_on_other_pictures() -> None:
    """Three coloured regions a picture; captions name two of them, so that a third is often left out."""
    matcher = small_matcher()
    stages: list[str] = []
    presence = fit_presence(
        matcher,
        small_pairs(300, texts=3),
        small_pairs(120, texts=3, seed=1),
        lambda stage, done, total, note="": stages.append(stage),
    )
    assert set(presence.words) == {lemma(colour) for colour in COLOURS}
    assert list(dict.fromkeys(stages)) == ["training pictures", "words", "validation pictures"]
    assert presence.is_calibrated
    assert presence.facts["validation_pictures"] == 120
    unseen = small_pairs(200, texts=12, seed=2)  # of so many texts, none leaves a colour out
    with torch.no_grad():
        images = matcher.encode_images(unseen.images.read(list(range(200))))
    shown = torch.sigmoid(presence.rules.logits(images))
    truth = torch.tensor(
        [
            [word in " ".join(unseen.texts[12 * row : 12 * row + 12]) for word in presence.words]
            for row in range(200)
        ]
    )
    assert area_under_curve(shown, truth) > 0.9
    few = fit_presence(matcher, small_pairs(300, texts=3), small_pairs(50, seed=1), pictures=200)
    assert few.facts["pictures"] == 200
    assert (few.is_calibrated, few.facts["validation_pictures"]) == (False, 0)
