"""Captions that were moved to another picture, and words that were replaced, are named first."""

import random
from dataclasses import replace
from functools import cache

import pytest
from support.oracle_matcher import THINGS, oracle_matcher, oracle_pairs

from wordsight.audit.audit import Audit, audit
from wordsight.audit.dataset import AuditedData
from wordsight.audit.words import CaptionWords
from wordsight.matcher import Matcher
from wordsight.pairs import PairSet
from wordsight.search.relevance.fit_presence import fit_presence

PLANTED = 20


@cache
def matcher() -> Matcher:
    made = oracle_matcher()
    made.presence = fit_presence(made, oracle_pairs(300, 3, seed=1), oracle_pairs(120, 3, seed=2))
    return made


def with_moved_captions(pairs: PairSet, count: int) -> tuple[PairSet, set[int]]:
    """Some captions, each now told of the picture of another one; and their rows."""
    rows = random.Random(5).sample(range(len(pairs)), count)
    image_of = pairs.image_of.clone()
    image_of[rows] = pairs.image_of[[*rows[1:], rows[0]]]
    return replace(pairs, image_of=image_of), {row for row in rows if image_of[row] != pairs.image_of[row]}


def audited(pairs: PairSet, model: Matcher, top: int = 2 * PLANTED) -> Audit:
    return audit(model, AuditedData.of([("train", pairs)]), top=top)


@pytest.mark.parametrize("texts", [1, 3])
@pytest.mark.parametrize("presence", [True, False], ids=["probabilities", "scores alone"])
def test_moved_captions_are_in_the_first_named(texts: int, presence: bool) -> None:
    model = matcher() if presence else oracle_matcher()
    pairs, planted = with_moved_captions(oracle_pairs(200, texts, seed=3), PLANTED)
    found = audited(pairs, model)
    named = {one.number for one in found.captions}
    assert len(named & planted) >= 0.9 * len(planted), (len(named & planted), len(planted))
    assert [one.probability for one in found.captions] == sorted(one.probability for one in found.captions)
    assert found.has_words is presence


def test_words_that_the_picture_does_not_show_are_marked_and_others_are_not() -> None:
    pairs, planted = with_moved_captions(oracle_pairs(200, 3, seed=3), PLANTED)
    marked = [
        word for one in audited(pairs, matcher()).captions if one.number in planted for word in one.words
    ]
    assert sum(word.unsupported for word in marked) > 0.5 * len(marked)
    right = audited(oracle_pairs(200, 3, seed=3), matcher(), 600).captions
    every = [word for one in right for word in one.words]
    assert sum(word.unsupported for word in every) < 0.05 * len(every)


def test_a_replaced_word_is_named_with_its_caption() -> None:
    pairs = oracle_pairs(200, 3, seed=4)
    chance, texts, planted = random.Random(0), list(pairs.texts), set()
    for row in chance.sample(range(len(pairs)), PLANTED):
        words = texts[row].split()
        image = int(pairs.image_of[row])
        said = {word for t in pairs.texts_by_image()[image] for word in pairs.texts[t].split()}
        words[1] = chance.choice([thing for thing in THINGS if thing not in said])
        texts[row] = " ".join(words)
        planted.add((row, words[1]))
    found = audited(replace(pairs, texts=texts), matcher(), 3 * PLANTED)
    named = {(one.number, word.text) for one, word in found.words}
    in_captions = {
        (one.number, word.text) for one in found.captions for word in one.words if word.unsupported
    }
    assert len(planted & (named | in_captions)) >= 0.8 * PLANTED


def test_better_captions_name_what_the_picture_shows() -> None:
    """The best caption of another picture names two things that this picture shows, if there is one."""
    pairs, planted = with_moved_captions(oracle_pairs(200, 3, seed=3), PLANTED)
    found = audited(pairs, matcher())
    words = CaptionWords.of(matcher().tokenizer, pairs.texts)
    right = total = 0
    for one in found.captions:
        if one.number in planted:
            own = {
                word for t in found.data.texts_of[one.picture] if t not in planted for word in words.forms[t]
            }
            best = found.suggestions[one.picture][0].caption
            assert found.data.image_of[best] != one.picture
            right += len(own & set(words.forms[best]))
            total += 2
    assert right >= 0.7 * total


def test_captions_of_one_identity_are_no_suggestions_for_its_other_pictures() -> None:
    pairs = oracle_pairs(60, 2, seed=6)
    same = replace(pairs, identities=pairs.identities // 30)  # two persons with thirty pictures each
    found = audited(same, matcher(), 10)
    for picture, suggested in found.suggestions.items():
        owners = {int(same.identities[found.data.image_of[one.caption]]) for one in suggested}
        assert owners == {1 - int(same.identities[picture])}


def test_a_handful_of_pairs_is_audited_with_the_usual_weights() -> None:
    found = audited(oracle_pairs(3, 1), matcher())
    assert len(found.captions) == 3
    assert all(0 <= one.probability <= 1 for one in found.captions)
