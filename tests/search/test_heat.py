"""Maps of where a picture shows a word and a text: their hottest place is where the model looks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.published_dual_encoders import photos, publish
from support.search_models import KINDS, WORD_KINDS, searcher

from wordsight.matcher import Matcher
from wordsight.search.engine.brute_force import QueryScorer
from wordsight.search.explain import explain
from wordsight.search.heat import SIDE
from wordsight.search.query.encoded import encode_plain_text
from wordsight.search.results import Explanation
from wordsight.sets import EmbeddingSet

TEXT = "a red star beside a small circle"


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_is_hottest_in_the_box_of_its_word(kind: str) -> None:
    explained = searcher(kind).explain(TEXT, 1)
    if kind not in WORD_KINDS:
        assert (explained.heat, {one.heat for one in explained.words}) == ((), {()})
        return
    for one in explained.words:
        assert bool(one.heat) == (one.word.judged and one.word.box is not None)
        if one.heat:
            heat, (left, top, right, bottom) = np.array(one.heat), one.word.box
            assert heat.shape == (4, 4)
            assert (heat.min(), heat.max()) == (0, 1)
            assert heat[int(2 * (top + bottom)), int(2 * (left + right))] == 1


def test_the_map_of_a_text_is_the_mean_of_the_words_that_are_found() -> None:
    matcher = searcher("max-sim").matcher
    encoded = encode_plain_text(matcher, TEXT)
    picture = matcher.encode_images([np.asarray(photos(1)[0])]).detach()
    levels = [2.0 if word.text == "red" else -2.0 for word in encoded.words]
    explained = explain(encoded, QueryScorer(matcher.similarity, encoded.set, "image"), picture, levels)
    found = [np.array(one.heat) for one in explained.words if one.word.judged and one.word.word != "red"]
    mean = np.mean(found, 0)
    above = np.clip(mean - mean.mean(), 0, None)
    np.testing.assert_allclose(explained.heat, above / above.max(), atol=0.011)


def explained_by(folder: Path, family: str, text: str) -> tuple[Explanation, np.ndarray]:
    """The explanation of a picture by a dual encoder's patches, and the cosines of the text with them."""
    matcher = Matcher.from_published(publish(folder / family, family), "patches")
    picture = matcher.encode_images(photos(1)).detach()
    encoded = encode_plain_text(matcher, text)
    scorer = QueryScorer(matcher.similarity, encoded.set, "image")
    cosines = torch.cosine_similarity(picture.vectors[0, 1:], encoded.set.vectors[0, :1], dim=-1)
    return explain(encoded, scorer, picture, [0.0] * len(encoded.words)), cosines.numpy()


@pytest.mark.parametrize(("family", "kind"), [("tipsv2", "cell"), ("clip", "hint")])
def test_a_dual_encoder_s_text_is_hottest_at_the_patch_nearest_to_it(
    family: str, kind: str, tmp_path: Path
) -> None:
    explained, cosines = explained_by(tmp_path, family, "a red dog")
    assert explained.kind == kind
    heat = np.array(explained.heat)
    assert heat.shape == (4, 4)
    assert heat.argmax() == cosines.argmax()
    coldest_first = np.argsort(cosines)
    assert (np.diff(heat.flatten()[coldest_first]) >= 0).all()


def test_overlapping_regions_are_drawn_where_they_lie() -> None:
    matcher = searcher("max-sim").matcher
    encoded = encode_plain_text(matcher, "star")
    vectors = torch.nn.functional.normalize(torch.randn(1, 3, encoded.set.dim), dim=-1)
    vectors[0, 1] = encoded.set.vectors[0, encoded.words[0].items[0]]
    boxes = torch.tensor([[[0.0, 0, 1, 1], [0.0, 0, 0.25, 0.5], [0.1, 0.1, 0.9, 0.9]]])
    picture = EmbeddingSet(vectors, torch.ones(1, 3, dtype=torch.bool), boxes)
    scorer = QueryScorer(matcher.similarity, encoded.set, "image")
    heat = np.array(explain(encoded, scorer, picture, [0.0]).words[0].heat)
    assert heat.shape == (SIDE, SIDE)
    assert heat[SIDE // 4, SIDE // 8] == 1  # both cover it
    assert heat[1, 1] > heat[SIDE // 2 + 4, SIDE // 2]  # the first alone; the second alone
    assert heat[-1, -1] == 0
