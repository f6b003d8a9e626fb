"""CxC and ECCV Caption by the files their authors released: the published counts, and made-up scores."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from wordsight.errors import InputError, MissingFileError
from wordsight.evaluation import measure_relevance, read_relevance
from wordsight.evaluation.cxc_eccv import Relevance
from wordsight.evaluation.released_annotations import MATCHING, read_scored_pairs
from wordsight.evaluation.score_matrix import Scores
from wordsight.pairs import PairSet, PictureFiles, one_identity_per_image

RELEASED = Path(os.environ.get("WORDSIGHT_DATA", "../shared/data")) / "relevance"
released = pytest.mark.skipif(not RELEASED.is_dir(), reason=f"no released annotations at {RELEASED}")


@pytest.fixture(scope="module")
def coco_test() -> PairSet:
    """The 5,000 images and 25,000 captions of COCO's test split, named as COCO names its files."""
    ids = (RELEASED / "coco" / "testall_ids.txt").read_text().split()[::5]
    names = [f"COCO_val2014_{int(number):012}.jpg" for number in ids]
    return PairSet(
        images=PictureFiles([Path(name) for name in names]),
        names=names,
        texts=(RELEASED / "coco" / "testall_caps.txt").read_text().splitlines(),
        image_of=torch.arange(len(names)).repeat_interleave(5),
        identities=one_identity_per_image(len(names)),
    )


@pytest.fixture(scope="module")
def by_name(coco_test: PairSet) -> dict[str, Relevance]:
    return {name: read_relevance(RELEASED, name, coco_test) for name in ("cxc", "eccv")}


@dataclass(frozen=True)
class OwnPictureFirst(Scores):
    """Made-up scores: 1 for a text and its own picture, 0 otherwise."""

    image_of: np.ndarray
    images: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.images, len(self.image_of)

    def block(self, rows: slice, columns: slice) -> np.ndarray:
        own = self.image_of[columns] == np.arange(self.images)[rows, None]
        return own.astype(np.float64)


@pytest.mark.parametrize(
    ("damage", "message"), [(b"1,2,3.5\r4,5,6", None), (b"1,2," + b"3" * 200_000, "line 2.* field larger")]
)
def test_a_damaged_line_of_scores_is_named(tmp_path: Path, damage: bytes, message: str | None) -> None:
    path = tmp_path / "sits_test.csv"
    path.write_bytes(b"caption,image,agg_score\n" + damage + b"\n")
    if message is None:
        assert read_scored_pairs(path).pairs == [("1", "2", 3.5), ("4", "5", 6.0)]
    else:
        with pytest.raises(InputError, match=message):
            read_scored_pairs(path)


@released
@pytest.mark.parametrize(
    ("name", "queries", "matches"),
    [
        ("cxc", {"i2t": 5000, "t2i": 24972}, {"i2t": 35585, "t2i": 35585}),
        ("eccv", {"i2t": 1261, "t2i": 1332}, {"i2t": 22550 - 2, "t2i": 11279}),
    ],
)
def test_released_files_give_the_published_counts(
    by_name: dict[str, Relevance], name: str, queries: dict[str, int], matches: dict[str, int]
) -> None:
    """ECCV Caption lists two captions more that are not among the 25,000: sixth captions of their images."""
    relevance = by_name[name]
    for way in ("i2t", "t2i"):
        assert len(relevance.ways[way].queries) == queries[way]
        assert len(relevance.ways[way].numbers) == matches[way]


@released
def test_cxc_of_eccv_queries_has_the_published_counts(by_name: dict[str, Relevance]) -> None:
    """The table of ECCV Caption's README: 1,895 images and 8,906 captions match its queries by CxC."""
    cxc, eccv = by_name["cxc"], by_name["eccv"]
    counts = {way: int(cxc.ways[way].counts[eccv.ways[way].queries].sum()) for way in ("t2i", "i2t")}
    assert counts == {"t2i": 1895, "i2t": 8906}


@released
def test_cxc_csv_and_the_copy_of_eccv_caption_agree(
    coco_test: PairSet, by_name: dict[str, Relevance], tmp_path: Path
) -> None:
    for name in ("cxc_image_to_caption.json", "cxc_caption_to_image.json", "coco_test_ids.npy"):
        (tmp_path / name).symlink_to((RELEASED / "eccv" / name).resolve())
    by_csv, by_json = by_name["cxc"], read_relevance(tmp_path, "cxc", coco_test)
    assert set(by_json.ways) == {"i2t", "t2i"} < set(by_csv.ways)
    for way in by_json.ways:
        assert np.array_equal(by_csv.ways[way].numbers, by_json.ways[way].numbers)
        assert np.array_equal(by_csv.ways[way].counts, by_json.ways[way].counts)


@released
def test_own_picture_first_is_right_for_every_eccv_caption(
    coco_test: PairSet, by_name: dict[str, Relevance]
) -> None:
    scores = OwnPictureFirst(coco_test.image_of.numpy(), len(coco_test.images))
    found = measure_relevance(scores, by_name["eccv"])
    assert found.ways["t2i"].recall[1] == 100
    assert found.queries == {"i2t": 1261, "t2i": 1332}


@released
def test_one_caption_of_cxc_matches_another_picture_but_not_its_own(
    coco_test: PairSet, by_name: dict[str, Relevance]
) -> None:
    right = by_name["cxc"].ways["t2i"]
    texts = np.repeat(np.arange(len(right)), right.counts)
    own = set(texts[right.numbers == coco_test.image_of.numpy()[texts]].tolist())
    assert len(right.queries) - len(own) == 1


@released
def test_images_and_texts_of_cxc_are_alike_both_ways(by_name: dict[str, Relevance]) -> None:
    relevance = by_name["cxc"]
    for way in ("i2i", "t2t"):
        right = relevance.ways[way]
        pairs = set(
            zip(np.repeat(np.arange(len(right)), right.counts).tolist(), right.numbers.tolist(), strict=True)
        )
        assert pairs == {(b, a) for a, b in pairs}
        assert not any(a == b for a, b in pairs)
    assert relevance.ways["t2t"].counts.min() == 4, "the four other captions of the image"


def write_release(folder: Path, rows: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "sits_test.csv").write_text(f"caption,image,agg_score,sampling_method\n{rows}")
    np.save(folder / "coco_test_ids.npy", np.array([11, 12]))


def two_pairs(names: tuple[str, str] = ("COCO_val2014_000000000007.jpg", "8.jpg")) -> PairSet:
    return PairSet(
        PictureFiles([Path(name) for name in names]), names, ["a dog", "a cat"],
        torch.arange(2), one_identity_per_image(2),
    )  # fmt: skip


def test_a_score_at_the_threshold_is_a_match(tmp_path: Path) -> None:
    rows = [(11, 7, MATCHING), (11, 8, MATCHING - 0.01), (12, 8, 5), (12, 9, 5)]
    lines = (
        f"COCO_val2014:sentid:{text},COCO_val2014_{image:012}.jpg,{score},x\n" for text, image, score in rows
    )
    write_release(tmp_path, "".join(lines))
    ways = read_relevance(tmp_path, "cxc", two_pairs()).ways
    assert [ways["t2i"].answers(text) for text in (0, 1)] == [[0], [1]]
    assert [ways["i2t"].answers(image) for image in (0, 1)] == [[0], [1]]


@pytest.mark.parametrize("row", ["11,7", "11,picture.jpg,4,x", "11,7.jpg,high,x"])
def test_a_damaged_row_is_named(tmp_path: Path, row: str) -> None:
    write_release(tmp_path, f"11,7.jpg,4,x\n{row}\n")
    with pytest.raises(InputError, match="line 3"):
        read_scored_pairs(tmp_path / "sits_test.csv")


def test_raw_scores_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sits_test_raw.csv"
    path.write_text("caption,image,ann_score,sampling_method\n")
    with pytest.raises(InputError, match="agg_score"):
        read_scored_pairs(path)


def test_missing_ids_are_named(tmp_path: Path) -> None:
    write_release(tmp_path, "11,7.jpg,4,x\n")
    with pytest.raises(MissingFileError, match=r"testall_ids\.txt"):
        read_relevance(tmp_path, "cxc", two_pairs(("a.jpg", "b.jpg")))
    (tmp_path / "coco_test_ids.npy").unlink()
    with pytest.raises(MissingFileError, match=r"coco_test_ids\.npy"):
        read_relevance(tmp_path, "cxc", two_pairs())


def test_annotations_of_other_texts_are_refused(tmp_path: Path) -> None:
    write_release(tmp_path, "99,7.jpg,4,x\n")
    with pytest.raises(InputError, match="scores none of the 2 texts"):
        read_relevance(tmp_path, "cxc", two_pairs())
    (tmp_path / "eccv_image_to_caption.json").write_text(json.dumps({}))
    with pytest.raises(InputError):
        read_relevance(tmp_path, "eccv", two_pairs())
