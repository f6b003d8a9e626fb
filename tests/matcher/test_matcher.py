"""A matcher is five parts; saved and opened again, it scores the same."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from huggingface_hub import HfApi, RepoUrl
from PIL import Image

from wordsight import registry
from wordsight.errors import InputError
from wordsight.matcher import Matcher
from wordsight.pairs import PairBatch
from wordsight.pretrained.models import MissingModel
from wordsight.read.text.vocabulary import Vocabulary
from wordsight.registry.trust import trusting
from wordsight.sets import Pixels

TEXTS = ["a red dog runs", "two men on a bench .", "a cat"]
TABLES: dict[str, dict[str, Any]] = {
    "reader": {"name": "pixels", "size": 32},
    "tokenizer": {"name": "words"},
    "image_encoder": {"name": "grid-cnn", "dim": 16, "width": 8},
    "text_encoder": {"name": "recurrent", "word_dim": 8},
    "similarity": {"name": "max-sim", "pooling": {"name": "log-sum-exp", "temperature": 0.2}},
}


@pytest.fixture
def matcher() -> Matcher:
    return Matcher.build(TABLES, vocabulary=Vocabulary.learn(TEXTS, min_count=1)).eval()


@pytest.fixture
def pictures() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8))


def test_scores_every_picture_with_every_text(matcher: Matcher, pictures: list[np.ndarray]) -> None:
    scores = matcher.score(pictures, TEXTS[:2])
    assert scores.shape == (3, 2)
    assert scores.isfinite().all()
    alone = matcher.score(pictures[1:2], TEXTS[1:2])
    torch.testing.assert_close(alone, scores[1:2, 1:2])


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the tests' check of argument types, as in production."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("one", "named"),
    [
        (np.zeros((64, 48, 3), np.uint8), "one ndarray of 64 x 48 x 3"),
        (np.zeros((64, 48), np.uint8), "one ndarray of 64 x 48"),
        (torch.zeros(3, 64, 48), "one Tensor of 3 x 64 x 48"),
        (Image.new("RGB", (48, 64)), "one picture"),
        ("dog.jpg", r"one picture \(dog.jpg\)"),
        (Path("dog.jpg"), r"one picture \(dog.jpg\)"),
        (None, r"None \(NoneType\)"),
    ],
)
def test_one_picture_instead_of_a_list_is_an_error(matcher: Matcher, one: Any, named: str) -> None:
    """sentence-transformers#1188 and #1309: each row of an array was taken for a picture."""
    for call in (matcher.score, matcher.align):
        with pytest.raises(TypeError, match=f"expected a list of pictures, not {named}; give a list"):
            call(one, TEXTS)
    with pytest.raises(TypeError, match="give a list"):
        matcher.encode_images(one)


def test_several_pictures_in_one_array_are_a_list(matcher: Matcher, pictures: list[np.ndarray]) -> None:
    assert torch.equal(matcher.score(np.stack(pictures), TEXTS), matcher.score(pictures, TEXTS))


def test_no_pictures_and_no_texts_have_no_scores(matcher: Matcher, pictures: list[np.ndarray]) -> None:
    """sentence-transformers#2759 and #3465."""
    assert matcher.score(pictures[:1], []).shape == (1, 0)
    assert matcher.score([], TEXTS).shape == (0, 3)
    assert matcher.score([], []).shape == (0, 0)
    assert matcher.encode_texts([]).vectors.shape == (0, 1, 16)
    assert len(matcher.encode_images([])) == 0
    assert matcher.align([], [])[0].score.shape == (0,)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("item", [None, float("nan"), 3, b"a dog", ["a", "dog"]])
def test_an_item_that_is_no_text_is_named_by_its_place(
    matcher: Matcher, pictures: list[np.ndarray], item: Any
) -> None:
    """EasyNMT#34 and pytorch_geometric#5647: an empty cell of a table is nan or None."""
    named = (
        rf"texts\[1\] is {re.escape(repr(item))} \({type(item).__name__}\), which is no text; leave it out"
    )
    for call in (lambda texts: matcher.score(pictures, texts), matcher.encode_texts, matcher.tokenizer):
        with pytest.raises(InputError, match=named):
            call(["a dog", item, "a cat"])
    with pytest.raises(InputError, match=named):
        Vocabulary.learn(["a dog", item])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("item", [None, float("nan"), [1, 2]])
def test_an_item_that_is_no_picture_is_named_by_its_place(
    matcher: Matcher, pictures: list[np.ndarray], item: Any
) -> None:
    with pytest.raises(InputError, match=r"pictures\[3\] is .*, which is no picture; give the path"):
        matcher.score([*pictures, item], TEXTS)


def test_alignment_adds_up_to_the_score(matcher: Matcher, pictures: list[np.ndarray]) -> None:
    (alignment,) = matcher.align(pictures, TEXTS)
    torch.testing.assert_close(alignment.score, matcher.score(pictures, TEXTS).diagonal())


def test_saved_and_opened_again_it_scores_the_same(
    matcher: Matcher, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    matcher.save_pretrained(tmp_path / "model", card={"data": "made up"})
    again = Matcher.from_pretrained(tmp_path / "model")
    assert torch.equal(matcher.score(pictures, TEXTS), again.score(pictures, TEXTS))
    assert not again.training
    (tmp_path / "model").rename(tmp_path / "moved")
    moved = Matcher.from_pretrained(tmp_path / "moved")
    assert torch.equal(matcher.score(pictures, TEXTS), moved.score(pictures, TEXTS))
    assert "made up" in (tmp_path / "moved" / "README.md").read_text()


def test_the_folder_of_a_run_opens_its_best_model(
    matcher: Matcher, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    """A new user's report: Matcher.from_pretrained("runs/own-pairs") said "holds no config.json"."""
    matcher.save_pretrained(tmp_path / "run" / "best")
    again = Matcher.from_pretrained(tmp_path / "run")
    assert torch.equal(again.score(pictures, TEXTS), matcher.eval().score(pictures, TEXTS))


def test_the_card_of_a_pushed_model_opens_it_from_where_it_lies(
    matcher: Matcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub itself is not asked: what would be sent there is kept."""

    def kept(api: HfApi, repo_id: str, folder_path: str) -> str:
        shutil.copytree(folder_path, tmp_path / repo_id)
        return f"https://huggingface.co/{repo_id}/commit/1"

    monkeypatch.setattr(HfApi, "create_repo", lambda api, name, **how: RepoUrl(f"me/{name.split('/')[-1]}"))
    monkeypatch.setattr(HfApi, "upload_folder", kept)
    for name in ("me/dogs", "cats"):
        matcher.push_to_hub(name, card={"data": "made up"})
    card = (tmp_path / "me" / "dogs" / "README.md").read_text()
    assert 'Matcher.from_pretrained("me/dogs")' in card
    assert "- data: made up" in card
    assert 'Matcher.from_pretrained("me/cats")' in (tmp_path / "me" / "cats" / "README.md").read_text()
    assert Matcher.from_pretrained(tmp_path / "me" / "cats").score([], TEXTS).shape == (0, 3)


def test_a_saved_model_is_json_and_safetensors(matcher: Matcher, tmp_path: Path) -> None:
    matcher.save_pretrained(tmp_path / "model")
    assert {path.suffix for path in (tmp_path / "model").iterdir()} == {".json", ".safetensors", ".md"}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()} == {0o644}
    parts = json.loads((tmp_path / "model" / "config.json").read_text())["parts"]
    assert parts["similarity"]["pooling"] == registry.complete("pooling", TABLES["similarity"]["pooling"])


def test_weights_of_another_matcher_are_refused(matcher: Matcher, tmp_path: Path) -> None:
    matcher.save_pretrained(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text().replace('"word_dim": 8', '"word_dim": 9'))
    with pytest.raises(ValueError, match="belongs to another configuration: text_encoder"):
        Matcher.from_pretrained(tmp_path / "model")


def test_a_saved_model_without_its_vocabulary_says_where_that_was(matcher: Matcher, tmp_path: Path) -> None:
    matcher.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "vocabulary.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"model has no vocabulary\.json"):
        Matcher.from_pretrained(tmp_path / "model")


def test_only_encoders_and_similarity_are_trained(matcher: Matcher) -> None:
    assert {name.split(".")[0] for name, _ in matcher.named_parameters()} == {"image_encoder", "text_encoder"}


def test_forward_gives_what_a_loss_may_look_at(matcher: Matcher, pictures: list[np.ndarray]) -> None:
    images = matcher.read_images(pictures)
    assert isinstance(images, Pixels)
    pairs = matcher(PairBatch(images, matcher.tokenizer(TEXTS), torch.arange(3)))
    assert pairs.scores.shape == (3, 3)
    pairs.scores.sum().backward()
    assert all(parameter.grad is not None for parameter in matcher.parameters())


def test_scoring_does_not_leave_training_mode(matcher: Matcher, pictures: list[np.ndarray]) -> None:
    matcher.train()
    matcher.score(pictures, TEXTS)
    assert matcher.training


def test_a_missing_hub_model_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(MissingModel, match=r"copy the model folder .* and give its path"):
        Matcher.from_pretrained("nobody/nothing", local_files_only=True)
    with pytest.raises(FileNotFoundError, match="there is no folder runs/typo/best"):
        Matcher.from_pretrained("runs/typo/best")


def test_a_part_of_ones_own_needs_no_registering(matcher: Matcher) -> None:
    tables = TABLES | {"similarity": {"name": "wordsight.similarity.max_sim:MaxSim", "direction": "region"}}
    with trusting(["wordsight.similarity.max_sim:MaxSim"]):
        own = Matcher.build(tables, vocabulary=matcher.tokenizer.vocabulary)
    assert own.similarity.direction == "region"


def test_the_similarity_is_made_for_the_vectors_after_the_joint_layer(
    matcher: Matcher, pictures: list[np.ndarray]
) -> None:
    projection = {kind: TABLES[kind] | {"projection": 6} for kind in ("image_encoder", "text_encoder")}
    tables = TABLES | projection | {"similarity": {"name": "label-agreement", "labels": 4}}
    made = Matcher.build(tables, vocabulary=matcher.tokenizer.vocabulary)
    assert (made.text_encoder.dim, made.similarity.dim) == (16, 6)
    assert made.score(pictures, TEXTS).isfinite().all()
