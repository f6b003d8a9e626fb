"""The reference's pickled results are read as numbers; what else a pickle asks for is refused and named."""

import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wordsight.evaluation import evaluate_scores
from wordsight.evaluation.pickled_scores import holds_pickle, read_pickled
from wordsight.evaluation.score_matrix import open_matrix


def scores(images: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(images, 5 * images))


def save(path: Path, content: Any, protocol: int | None = None) -> Path:
    """As np.save does, by any protocol."""
    if protocol is None:
        np.save(path, content)
        return path
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})  # type: ignore[arg-type]
        pickle.dump(np.array(content, dtype=object), file, protocol)
    return path


@pytest.mark.parametrize("protocol", [None, 2, 3, 4])
@pytest.mark.parametrize("kind", [np.float64, np.float32, ">f8", np.float16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_matrix_is_that_which_was_saved(
    tmp_path: Path, protocol: int | None, kind: Any, order: Any
) -> None:
    matrix = np.array(scores(), dtype=kind, order=order)
    for images in (4, np.int64(4)):
        path = save(tmp_path / "results_f30k.npy", {"npts": images, "sims": matrix}, protocol)
        assert holds_pickle(path)
        read = open_matrix(path)
        assert read.dtype == matrix.dtype
        np.testing.assert_array_equal(read, matrix)


def test_results_are_measured_as_the_matrix_they_hold(tmp_path: Path) -> None:
    path = save(tmp_path / "results_coco.npy", {"npts": 4, "sims": scores()})
    assert evaluate_scores(path, split="") == evaluate_scores(scores())


class Harm:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("key", ["npts", "sims", "more"])
def test_nothing_in_a_pickle_is_run(tmp_path: Path, key: str) -> None:
    results = {"npts": 4, "sims": scores()} | {key: Harm(tmp_path / "harm")}
    path = save(tmp_path / "results.npy", results)
    with pytest.raises(
        ValueError, match=r"results\.npy .*asks for posix\.mkdir, which a file of scores does not need"
    ):
        evaluate_scores(path)
    assert not (tmp_path / "harm").exists()


def test_no_array_is_built_before_its_parts_are_known_to_be_numbers(tmp_path: Path) -> None:
    objects = np.empty((1, 5), dtype=object)
    for sims, message in (
        (objects, "of kind .*O8; expected numbers"),
        (np.array([["a"] * 5]), "expected numbers"),
    ):
        path = save(tmp_path / "results.npy", {"npts": 1, "sims": sims})
        with pytest.raises(ValueError, match=message):
            read_pickled(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"npts": 3, "sims": scores()}, r"npts = 3 but its sims have the shape \(4, 20\)"),
        ({"scores": scores()}, 'it holds scores; expected a dictionary with "npts" and "sims"'),
        ({"npts": 4, "sims": [1.0, 2.0]}, "it holds npts, sims; expected"),
        ([1, 2], "it holds NoneType; expected a dictionary"),
    ],
)
def test_other_contents_are_named(tmp_path: Path, content: Any, message: str) -> None:
    path = save(tmp_path / "results.npy", content, 4)
    with pytest.raises(ValueError, match=message):
        evaluate_scores(path)


def test_a_pickle_cut_short_is_broken_wherever_it_is_cut(tmp_path: Path) -> None:
    whole = save(tmp_path / "results.npy", {"npts": 2, "sims": scores(2)}).read_bytes()
    for length in range(0, len(whole) - 1, 7):
        (tmp_path / "cut.npy").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut\.npy cannot be read as a \.npy matrix"):
            evaluate_scores(tmp_path / "cut.npy")


def test_any_byte_may_be_wrong(tmp_path: Path) -> None:
    """What is read is an array of numbers, or an error of ours; nothing else comes out."""
    whole = save(tmp_path / "results.npy", {"npts": 1, "sims": scores(1)}).read_bytes()
    path = tmp_path / "bent.npy"
    for place in range(128, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        with suppress(ValueError):
            assert read_pickled(path).dtype.kind in "fiu"
