"""A saved matcher builds its reader and image encoder at their first use; else it is one like any other."""

import copy
import io
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import search_models
from support.waiting import PATIENCE
from torch import Tensor, nn

from wordsight import checkpoint
from wordsight.errors import InputError
from wordsight.matcher import Matcher
from wordsight.matcher.lazy_parts import LazyParts, Unbuilt

Weights = dict[str, Tensor]
TEXTS = ["a red ball", "a star"]


@pytest.fixture
def folder() -> Path:
    return search_models.model("max-sim")


@pytest.fixture
def whole(folder: Path) -> Matcher:
    matcher = Matcher.from_pretrained(folder)
    matcher.build_all()
    return matcher


def rewritten(folder: Path, target: Path, change: Callable[[Weights], Weights]) -> Path:
    """A copy of a model with other weights."""
    copied = shutil.copytree(folder, target)
    save_file(change(load_file(folder / checkpoint.WEIGHTS)), target / "new")
    os.replace(target / "new", copied / checkpoint.WEIGHTS)
    return copied


def zero_image_side(weights: Weights) -> Weights:
    return weights | {name: torch.zeros(1) for name in weights if name.startswith("image_encoder.")}


def test_texts_need_no_weight_of_the_image_side(folder: Path, whole: Matcher, tmp_path: Path) -> None:
    ruined = Matcher.from_pretrained(rewritten(folder, tmp_path / "model", zero_image_side)).eval()
    assert torch.equal(ruined.encode_texts(TEXTS).vectors, whole.encode_texts(TEXTS).vectors)
    assert ruined.device == whole.device
    assert not ruined.is_built("reader")
    assert not ruined.is_built("image_encoder")
    for _ in range(2):  # a failure is not remembered as a success
        with pytest.raises(InputError, match="belongs to another configuration: image_encoder"):
            ruined.encode_images([str(search_models.path_of(0))])


def test_it_scores_and_has_weights_as_one_that_is_built_at_once(folder: Path, whole: Matcher) -> None:
    picture = [str(search_models.path_of(0))]
    expected = whole.score(picture, TEXTS)
    assert torch.equal(Matcher.from_pretrained(folder).score(picture, TEXTS), expected)
    assert torch.equal(copy.deepcopy(Matcher.from_pretrained(folder)).score(picture, TEXTS), expected)
    weights = Matcher.from_pretrained(folder).state_dict()
    assert list(weights) == list(whole.state_dict())
    assert all(torch.equal(weights[name], weight) for name, weight in whole.state_dict().items())
    names = [name for name, _ in Matcher.from_pretrained(folder).named_parameters()]
    assert names == [name for name, _ in whole.named_parameters()]
    assert len(list(Matcher.from_pretrained(folder).modules())) == len(list(whole.modules()))
    assert {weight.dtype for weight in Matcher.from_pretrained(folder).double().parameters()} == {
        torch.float64
    }


def test_it_is_saved_pickled_and_loaded_whole(folder: Path, whole: Matcher, tmp_path: Path) -> None:
    Matcher.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / checkpoint.WEIGHTS).read_bytes() == (
        folder / checkpoint.WEIGHTS
    ).read_bytes()
    file = io.BytesIO()
    torch.save(Matcher.from_pretrained(folder), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert loaded.is_built("reader")
    assert loaded.state_dict().keys() == whole.state_dict().keys()
    changed = Matcher.from_pretrained(folder)
    zeros = {name: torch.zeros_like(weight) for name, weight in whole.state_dict().items()}
    nn.ModuleDict({"inner": changed}).load_state_dict({f"inner.{name}": zero for name, zero in zeros.items()})
    assert not any(weight.any() for weight in changed.image_encoder.parameters())


def test_the_mode_is_also_that_of_parts_that_are_built_later(folder: Path) -> None:
    matcher = Matcher.from_pretrained(folder)
    assert not matcher.image_encoder.training
    matcher = Matcher.from_pretrained(folder).train()
    assert not matcher.is_built("image_encoder")
    assert matcher.image_encoder.training
    with torch.inference_mode():
        encoder = Matcher.from_pretrained(folder).image_encoder
    assert all(weight.requires_grad and not weight.is_inference() for weight in encoder.parameters())


def test_a_part_that_is_set_is_not_built(folder: Path, whole: Matcher) -> None:
    matcher = Matcher.from_pretrained(folder)
    matcher.reader, matcher.image_encoder = whole.reader, whole.image_encoder
    assert matcher.reader is whole.reader
    assert matcher.image_encoder is whole.image_encoder
    assert list(matcher.state_dict()) == list(whole.state_dict())


def test_threads_that_need_a_part_at_once_build_it_once() -> None:
    built: list[nn.Module] = []
    start = Barrier(8)

    def build() -> nn.Module:
        built.append(nn.Linear(2, 2))
        return built[-1]

    def first_use(_: int) -> nn.Module:
        start.wait(PATIENCE)
        part: nn.Module = holder.part
        return part

    holder = LazyParts()
    holder.part = Unbuilt(build)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(first_use, range(8)))
    assert len(built) == 1
    assert all(part is built[0] for part in parts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights | {"other.weight": torch.zeros(1)}, "other.weight has no place"),
        (lambda weights: weights | {"text_encoder.other": torch.zeros(1)}, "text_encoder.other has no place"),
        (lambda weights: {n: w for n, w in weights.items() if "text_encoder.word" not in n}, "is missing"),
    ],
)
def test_the_text_side_is_checked_when_the_model_is_opened(
    folder: Path, tmp_path: Path, change: Callable[[Weights], Weights], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Matcher.from_pretrained(rewritten(folder, tmp_path / "model", change))
