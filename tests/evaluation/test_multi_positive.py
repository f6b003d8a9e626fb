"""CxC and ECCV Caption by their definitions, from annotation files of other people's making."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.small_problem import COLOURS, small_matcher, small_pairs, untrained_run, wordsight

from wordsight.builder import Builder
from wordsight.config import load_config
from wordsight.evaluation import evaluate_relevance, evaluate_scores, measure_relevance, read_relevance
from wordsight.evaluation.average_precision import PRECISIONS
from wordsight.evaluation.multi_positive import Likeness, mean_direction
from wordsight.pairs import PairSet
from wordsight.sets import EmbeddingSet

IMAGES, TEXTS = 12, 2  # texts per image


@dataclass(frozen=True)
class Annotated:
    """A folder of annotations, what stands in it, and the pairs it tells of."""

    folder: Path
    pairs: PairSet
    images: list[str]
    texts: list[str]

    def write(self, name: str, content: Any) -> None:
        (self.folder / name).write_text(json.dumps(content))

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())


@pytest.fixture
def annotated(tmp_path: Path) -> Annotated:
    """Ids that are no row numbers; right for each other are the pairs, and some more."""
    draw = np.random.default_rng(0)
    pairs = small_pairs(IMAGES, TEXTS)
    images = [str(1000 + 7 * n) for n in range(IMAGES)]
    texts = [str(50 + 3 * n) for n in range(IMAGES * TEXTS)]
    made = Annotated(tmp_path / "annotations", pairs, images, texts)
    made.folder.mkdir()
    (made.folder / "testall_ids.txt").write_text("".join(f"{name}\n" * TEXTS for name in images))
    (made.folder / "testall_capids.txt").write_text("".join(f"{name}\n" for name in texts))

    def some(ids: Sequence[str], count: int, low: float) -> list[list[Any]]:
        return [[int(name), float(draw.uniform(low, 5))] for name in draw.choice(ids, count, replace=False)]

    own = pairs.image_of.tolist()
    t2i = {
        name: [[int(images[own[row]]), 5.0], *some(images, row % 3, 3), [999999, 4.0]]
        for row, name in enumerate(texts)
    }
    i2t = {name: [[int(texts[2 * row]), 5.0], *some(texts, 2, 0)] for row, name in enumerate(images)}
    made.write("cxc_it.json", {"t2i": t2i, "i2t": i2t})
    made.write("cxc_i2i.json", {name: some(images, row % 4, 1) for row, name in enumerate(images)})
    made.write("cxc_t2t.json", {name: some(texts, row % 4, 1) for row, name in enumerate(texts)})
    made.write("eccv_image_to_caption.json", {name: [pair[0] for pair in i2t[name]] for name in images[::2]})
    made.write("eccv_caption_to_image.json", {name: [pair[0] for pair in t2i[name]] for name in texts[::3]})
    return made


def slow_recalls(scores: np.ndarray, right: list[set[int]]) -> dict[int, float]:
    """The best rank of a right answer, query by query; queries without one are skipped."""
    ranks = []
    for row, answers in zip(scores, right, strict=True):
        order = np.argsort(row)[::-1].tolist()
        ranks += [min(order.index(answer) for answer in answers)] if answers else []
    return {k: 100 * float((np.array(ranks) < k).mean()) for k in (1, 5, 10)}


def rows_of(ids: list[str], names: Any) -> set[int]:
    return {ids.index(str(name)) for name in names if str(name) in ids}


def cosines(items: EmbeddingSet) -> np.ndarray:
    """Of the means of unit vectors, set by set."""
    means = [
        torch.nn.functional.normalize(row[mask], dim=-1).mean(0)
        for row, mask in zip(items.vectors, items.mask, strict=True)
    ]
    unit = torch.nn.functional.normalize(torch.stack(means), dim=-1)
    return np.asarray((unit @ unit.T).double())


@torch.no_grad()
def embedded(pairs: PairSet) -> tuple[Any, EmbeddingSet, EmbeddingSet]:
    matcher = small_matcher().eval()
    images = matcher.encode_images(pairs.images.read(range(len(pairs.images))))
    return matcher, images, matcher.encode_texts(pairs.texts)


@pytest.mark.parametrize("zero_diagonal", [False, True])
def test_cxc_is_its_definition_in_all_four_ways(annotated: Annotated, zero_diagonal: bool) -> None:
    pairs, images, texts = annotated.pairs, annotated.images, annotated.texts
    matcher, image_sets, text_sets = embedded(pairs)
    relevance = read_relevance(annotated.folder, "cxc", pairs)
    found = evaluate_relevance(matcher, pairs, relevance, batch_size=5, zero_diagonal=zero_diagonal)
    with torch.no_grad():
        scores = matcher.similarity(image_sets, text_sets).double().numpy()
    between = annotated.read("cxc_it.json")
    t2i = [rows_of(images, [pair[0] for pair in between["t2i"][name]]) for name in texts]
    i2t = [rows_of(texts, [pair[0] for pair in between["i2t"][name]]) for name in images]
    alike, like = annotated.read("cxc_i2i.json"), annotated.read("cxc_t2t.json")
    i2i = [
        rows_of(images, [n for n, score in alike[name] if score >= 2.5]) - {row}
        for row, name in enumerate(images)
    ]
    t2t = [
        (rows_of(texts, [n for n, score in like[name] if score >= 3.0]) | {row ^ 1})
        - {row}  # and the sibling
        for row, name in enumerate(texts)
    ]
    assert not all(i2i), "the test needs an image that nothing is like"
    own = 0.0 if zero_diagonal else -np.inf
    within = []
    for items in (image_sets, text_sets):
        among = cosines(items)
        np.fill_diagonal(among, own)
        within.append(among)
    expected = {
        "i2t": (scores, i2t),
        "t2i": (scores.T, t2i),
        "i2i": (within[0], i2i),
        "t2t": (within[1], t2t),
    }
    assert {way: found.ways[way].recall for way in expected} == {
        way: pytest.approx(slow_recalls(*problem)) for way, problem in expected.items()
    }
    assert found.queries == {way: sum(map(bool, right)) for way, (_, right) in expected.items()}


def test_an_item_is_never_its_own_answer(annotated: Annotated) -> None:
    """Two texts of an image that say the same find each other first, and not themselves."""
    said = [f"{COLOURS[n % 10]} {COLOURS[(n + 1 + n // 10) % 10]}" for n in range(IMAGES)]
    pairs = replace(annotated.pairs, texts=[said[row // TEXTS] for row in range(IMAGES * TEXTS)])
    annotated.write("cxc_t2t.json", {})
    found = evaluate_relevance(embedded(pairs)[0], pairs, read_relevance(annotated.folder, "cxc", pairs))
    assert found.ways["t2t"].recall[1] == 100


def test_eccv_asks_the_annotated_queries_of_the_whole_gallery(annotated: Annotated) -> None:
    matcher, images, texts = embedded(annotated.pairs)
    relevance = read_relevance(annotated.folder, "eccv", annotated.pairs)
    found = evaluate_relevance(matcher, annotated.pairs, relevance)
    with torch.no_grad():
        scores = matcher.similarity(images, texts).double().numpy()
    assert found.queries == {"i2t": len(annotated.images[::2]), "t2i": len(annotated.texts[::3])}
    table = annotated.read("eccv_caption_to_image.json")
    r_precision, at_r, first = [], [], []
    for row in range(0, len(annotated.texts), 3):
        right = rows_of(annotated.images, table[annotated.texts[row]])
        order = np.argsort(scores[:, row])[::-1].tolist()[: len(right)]
        hits = [image in right for image in order]
        precisions = [sum(hits[: place + 1]) / (place + 1) for place in range(len(right))]
        r_precision.append(precisions[-1])
        at_r.append(np.mean([precision * hit for precision, hit in zip(precisions, hits, strict=True)]))
        first.append(hits[0])
    way = found.ways["t2i"]
    assert way.recall[1] == pytest.approx(100 * np.mean(first))
    assert way.precisions is not None
    assert way.precisions["R-prec"] == pytest.approx(100 * np.mean(r_precision))
    assert way.precisions["mAP@R"] == pytest.approx(100 * np.mean(at_r))
    assert found.note == ""
    matrix = measure_relevance(scores, relevance, split=annotated.pairs.source)
    assert {way: one.recall for way, one in matrix.ways.items()} == {
        way: one.recall for way, one in found.ways.items()
    }


def test_the_original_pairs_as_a_relevance_file_give_the_plain_recalls(annotated: Annotated) -> None:
    pairs = annotated.pairs
    own = pairs.image_of.tolist()
    annotated.write(
        "own_caption_to_image.json",
        {name: [annotated.images[own[n]]] for n, name in enumerate(annotated.texts)},
    )
    annotated.write(
        "own_image_to_caption.json",
        {name: annotated.texts[2 * n : 2 * n + 2] for n, name in enumerate(annotated.images)},
    )
    scores = np.random.default_rng(4).normal(size=(IMAGES, IMAGES * TEXTS))
    found = measure_relevance(scores, read_relevance(annotated.folder, "own", pairs))
    plain = evaluate_scores(scores, pairs.identities, pairs.text_identities, average_precision=True)
    assert found.ways == {"i2t": plain.i2t, "t2i": plain.t2i}


def test_scores_alone_are_measured_between_kinds_and_say_so(annotated: Annotated) -> None:
    scores = np.random.default_rng(4).normal(size=(IMAGES, IMAGES * TEXTS))
    found = measure_relevance(scores, read_relevance(annotated.folder, "cxc", annotated.pairs))
    assert list(found.ways) == ["i2t", "t2i"]
    assert (
        "Not measured, for want of scores within a kind: picture -> picture, text -> text" in found.to_text()
    )
    with pytest.raises(ValueError, match="11 x 24 does not fit annotations of 12 images and 24 texts"):
        measure_relevance(scores[1:], read_relevance(annotated.folder, "cxc", annotated.pairs))


def test_the_result_says_what_likeness_was_and_is_json(annotated: Annotated) -> None:
    matcher = embedded(annotated.pairs)[0]
    relevance = read_relevance(annotated.folder, "cxc", annotated.pairs)
    found = evaluate_relevance(matcher, annotated.pairs, relevance)
    text = found.to_text()
    assert text.startswith("relevance cxc: 12 images, 24 texts; small problem; ties count against the query")
    assert "the means of their unit vectors, since this model has sets of vectors" in text
    rows = [line for line in text.splitlines() if line.startswith("cxc ")]
    assert [row[10:28].strip() for row in rows[1:]] == [
        "picture -> text", "text -> picture", "picture -> picture", "text -> text",
    ]  # fmt: skip
    assert len({len(row) for row in rows}) == 1
    told = json.loads(json.dumps(found.to_dict()))
    assert told["i2i"]["queries"] < 12
    assert set(PRECISIONS) < set(told["t2t"])


def test_one_vector_for_a_set_forgets_padding_and_length() -> None:
    vectors = torch.randn(3, 4, 5)
    mask = torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])
    padded = EmbeddingSet(vectors.masked_fill(~mask[..., None], torch.nan), mask)
    directions = mean_direction(padded)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(directions[2], vectors[2, 0] / vectors[2, 0].norm())
    scaled = EmbeddingSet(padded.vectors * torch.rand(3, 4, 1).add(0.5), mask)
    torch.testing.assert_close(mean_direction(scaled), directions)
    likeness = Likeness(directions)
    whole = likeness.block(slice(None), slice(None))
    np.testing.assert_array_equal(whole[1:, :2], likeness.block(slice(1, 3), slice(0, 2)))
    assert (np.diag(whole) == -2).all()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("testall_ids.txt", "1\n2\n", "has 2 ids for 12 images with 24 texts; expected one line per image"),
        ("testall_ids.txt", "1\n" * 12, "testall_ids.txt: the id 1 stands for more than one image"),
        ("testall_capids.txt", "1\n2\n", "has 2 ids for 24 texts; expected one line per text"),
        ("cxc_it.json", '{"t2i": {}, "i2t": {}}', "no entry for 12 of 12 images, the first with the id 1000"),
        ("cxc_it.json", '{"t2i": {}}', "the document has no 'i2t'"),
        ("cxc_i2i.json", '{"1007": [5]}', r"the entry of 1007 is \[5\]; expected a list of \[id, score\]"),
        ("cxc_t2t.json", "[1]", "expected a list of"),
        ("cxc_t2t.json", '{"50": [', "cxc_t2t.json line 1 column 9: not valid JSON"),
    ],
)  # fmt: skip
def test_annotations_that_do_not_fit_are_named(
    annotated: Annotated, file: str, content: str, message: str
) -> None:
    (annotated.folder / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_relevance(annotated.folder, "cxc", annotated.pairs)


def test_relevance_files_that_do_not_fit_are_named(annotated: Annotated) -> None:
    with pytest.raises(FileNotFoundError, match=r"more_image_to_caption\.json does not exist"):
        read_relevance(annotated.folder, "more", annotated.pairs)
    annotated.write("eccv_image_to_caption.json", {"x.jpg": [1]})
    with pytest.raises(
        ValueError, match=r"says nothing of the 12 images .* start with 'x.jpg', the ids with '1000'"
    ):
        read_relevance(annotated.folder, "eccv", annotated.pairs)
    annotated.write("eccv_image_to_caption.json", [1])
    with pytest.raises(ValueError, match="expected an object: image id -> list of text ids"):
        read_relevance(annotated.folder, "eccv", annotated.pairs)


def test_absent_ids_are_explained(annotated: Annotated) -> None:
    (annotated.folder / "testall_capids.txt").unlink()
    with pytest.raises(FileNotFoundError, match="it holds the id of each text, one per line"):
        read_relevance(annotated.folder, "eccv", annotated.pairs)


def test_ids_in_another_order_are_noticed(annotated: Annotated) -> None:
    (annotated.folder / "testall_ids.txt").write_text("\n".join(annotated.images[::-1]))
    with pytest.raises(
        ValueError, match=r"of 24 texts are right for their own image.* not in the order of small"
    ):
        read_relevance(annotated.folder, "cxc", annotated.pairs)


def test_the_command_measures_by_annotations(tmp_path: Path) -> None:
    run, folder = untrained_run(tmp_path / "run"), tmp_path / "annotations"
    folder.mkdir()
    pairs = Builder(load_config(str(run))).pairs("test")
    own = [str(image) for image in pairs.image_of.tolist()]
    (folder / "testall_ids.txt").write_text("\n".join(map(str, range(len(pairs.images)))))
    (folder / "testall_capids.txt").write_text("\n".join(f"t{row}" for row in range(len(own))))
    texts = {image: [f"t{row}" for row, mine in enumerate(own) if mine == image] for image in set(own)}
    (folder / "mine_image_to_caption.json").write_text(json.dumps(texts))
    (folder / "mine_caption_to_image.json").write_text(
        json.dumps({f"t{row}": [n] for row, n in enumerate(own)})
    )
    queries = ("--relevance", "mine", "--annotations", folder, "--json")
    told = wordsight("evaluate", run, *queries)
    assert told.exit_code == 0, told.exception
    both = wordsight("evaluate", run, run, *queries)
    assert both.exit_code == 0, both.exception
    plain = json.loads(wordsight("evaluate", run, "--protocol", "all", "--no-intervals", "--json").stdout)
    for result in (told, both):
        found = json.loads(result.stdout)
        for way in ("i2t", "t2i"):
            assert {key: found[way][key] for key in plain[way]} == plain[way]
    np.save(tmp_path / "S.npy", np.zeros((len(pairs.images), len(own))))
    refused = wordsight("evaluate", "--scores", tmp_path / "S.npy", *queries)
    assert "do not say which images and texts they are of; give --config" in str(refused.exception)
