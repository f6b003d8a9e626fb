"""Published dual encoders: their own scores, hints of where words are, and search on day one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import transformers
from support.published_dual_encoders import FAMILIES as EVERY
from support.published_dual_encoders import TEXTS, photos, publish, reference
from torch import Tensor
from torch.nn.functional import normalize

from wordsight.builder import Builder
from wordsight.cli.main import main as command
from wordsight.config import Config, load_config
from wordsight.files import plain_json
from wordsight.importers import clip_siglip
from wordsight.importers.clip_siglip import import_dual, opened_folder
from wordsight.matcher import Matcher
from wordsight.pretrained.models import MissingModel
from wordsight.read.text.base import Tokenizer, word_starts
from wordsight.read.text.clip_tokenizer import DualTokenizer
from wordsight.runs.opening import matcher_folder
from wordsight.runs.training import train
from wordsight.search.index.index import Index
from wordsight.search.query.encoded import words_of
from wordsight.search.searcher import Searcher
from wordsight.sets import EmbeddingSet, Tokens
from wordsight.similarity.dual_encoder import Dual

FAMILIES = ["clip", "siglip", "siglip2"]
Get = Callable[[str], Path]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Get:
    home = tmp_path_factory.mktemp("published")

    def get(family: str) -> Path:
        return home / family if (home / family).is_dir() else publish(home / family, family)

    return get


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDSIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    for name in ("snapshot_download", "hf_hub_download"):
        monkeypatch.setattr(huggingface_hub, name, refuse)


def succeeds(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command(arguments)
    assert ended.value.code == 0


@pytest.mark.parametrize("family", EVERY)
def test_scores_are_the_models_own_logits(family: str, published: Get) -> None:
    theirs = reference(published(family), photos(3), TEXTS)
    matcher = Matcher.from_published(published(family))
    pictures, texts = matcher.encode_images(photos(3)), matcher.encode_texts(TEXTS)
    torch.testing.assert_close(
        normalize(pictures.vectors[:, 0], dim=1), theirs.image_embeds, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(normalize(texts.vectors[:, 0], dim=1), theirs.text_embeds, atol=1e-5, rtol=0)
    ours = matcher.score(photos(3), TEXTS)
    torch.testing.assert_close(ours, theirs.logits_per_image, atol=1e-4, rtol=0)
    assert ours.std() > 0.01


@pytest.mark.parametrize("family", EVERY)
def test_patches_and_words_leave_the_score_as_it_is(family: str, published: Get) -> None:
    whole = Matcher.from_published(published(family), fit="squash")
    parts = Matcher.from_published(published(family), "patches")
    torch.testing.assert_close(
        parts.score(photos(), TEXTS), whole.score(photos(), TEXTS), atol=1e-4, rtol=1e-5
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_patch_passes_the_models_own_last_layers_alone(family: str, published: Get) -> None:
    matcher = Matcher.from_published(published(family), "patches")
    pixels = matcher.read_images(photos())
    items = matcher.encode_images(pixels)
    assert items.vectors.shape[1] == 1 + 16
    model = transformers.AutoModel.from_pretrained(published(family)).eval()
    with torch.no_grad():
        states = model.vision_model(pixel_values=pixels.values).last_hidden_state[:, -16:]
        for place in (0, 7, 15):
            alone = patch_alone(model, states[:, place])
            torch.testing.assert_close(items.vectors[:, 1 + place], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(items.boxes[0, 0], torch.tensor([0.0, 0, 1, 1]))
    torch.testing.assert_close(items.boxes[0, 1 + 7], torch.tensor([0.75, 0.25, 1.0, 0.5]))


def patch_alone(model: Any, state: Tensor) -> Tensor:
    """CLIP's norm and projection; SigLIP's pooling, in which all attention goes to the one there is."""
    eye = model.vision_model
    if hasattr(model, "visual_projection"):
        return eye.post_layernorm(state) @ model.visual_projection.weight.T
    head, width = eye.head, state.shape[1]
    value = state @ head.attention.in_proj_weight[2 * width :].T + head.attention.in_proj_bias[2 * width :]
    mixed = head.attention.out_proj(value)
    return mixed + head.mlp(head.layernorm(mixed))


@pytest.mark.parametrize("family", FAMILIES)
def test_words_are_the_models_own_states_and_marks_are_masked(family: str, published: Get) -> None:
    matcher = Matcher.from_published(published(family), "patches")
    text = TEXTS[0]
    items, tokens = matcher.encode_texts([text]), matcher.tokenizer([text])
    model = transformers.AutoModel.from_pretrained(published(family)).eval()
    pieces = [id for word in matcher.tokenizer.words(text) for id in word]
    clip = family == "clip"
    mark, pad = (matcher.tokenizer._before[0], matcher.tokenizer.pad_id)
    ids = [*tokens.ids[0].tolist()] if clip else [*pieces, mark, *[pad] * (16 - len(pieces) - 1)]
    with torch.no_grad():
        states = model.text_model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        last = model.text_projection if clip else model.text_model.head
        expected = last(states[1 : 1 + len(pieces)] if clip else states[: len(pieces)])
        whole = last(states[len(pieces) + 1] if clip else states[-1])
    torch.testing.assert_close(items.vectors[0, 1 : 1 + len(pieces)], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(items.vectors[0, 0], whole, atol=1e-5, rtol=1e-4)
    assert items.mask[0].tolist() == [True] * (1 + len(pieces)) + [False] * clip


@pytest.mark.parametrize("family", EVERY)
def test_padding_changes_nothing(family: str, published: Get) -> None:
    matcher = Matcher.from_published(published(family), "patches")
    alone, among = matcher.encode_texts(TEXTS[2:]), matcher.encode_texts(TEXTS)
    width = alone.mask.shape[1]
    torch.testing.assert_close(among.vectors[2:, :width], alone.vectors, atol=1e-5, rtol=1e-5)
    assert not among.mask[2, width:].any()
    tokens = matcher.tokenizer(TEXTS)
    other = matcher.encode_texts(Tokens(tokens.ids.masked_fill(~tokens.mask, 3), tokens.mask))
    torch.testing.assert_close(other.vectors, among.vectors, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_explanation_adds_up_and_is_called_a_hint(family: str, published: Get) -> None:
    matcher = Matcher.from_published(published(family), "patches")
    for words in (0.0, 0.4):
        matcher.similarity = Dual(matcher.similarity.scale, matcher.similarity.bias, words)
        images, texts = matcher.encode_images(photos(3)), matcher.encode_texts(TEXTS)
        (told,) = matcher.similarity.align(images, texts)
        torch.testing.assert_close(
            told.score, matcher.similarity(images, texts).diagonal(), atol=1e-4, rtol=1e-5
        )
        assert told.hint
        looks = texts.mask[:, None].expand_as(told.shares[:, :1])
        torch.testing.assert_close(told.shares.sum(1), looks[:, 0].float())
        assert (told.shares[:, 0, 1:] == 0).all()  # words look at patches
        assert (told.found[~texts.mask] == 0).all()


def test_the_blend_is_the_mean_over_words_of_the_best_patch() -> None:
    images = EmbeddingSet(torch.randn(2, 5, 6), torch.ones(2, 5, dtype=torch.bool))
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    texts = EmbeddingSet(torch.randn(3, 4, 6).masked_fill(~mask[..., None], float("nan")), mask)
    scores = Dual(scale=3.0, bias=-1.0, words=0.25)(images, texts)
    for i, image in enumerate(images.vectors):
        for t, text in enumerate(texts.vectors):
            cosines = normalize(image, dim=1) @ normalize(text[mask[t]], dim=1).T
            best = [float(cosines[1:, n].max()) for n in range(1, cosines.shape[1])]
            mean = sum(best) / len(best)
            expected = 3.0 * (0.75 * float(cosines[0, 0]) + 0.25 * mean) - 1.0
            assert scores[i, t].item() == pytest.approx(expected, abs=1e-5)


def test_words_that_count_need_words(published: Get) -> None:
    matcher = Matcher.from_published(published("clip"))
    matcher.similarity = Dual(words=0.5)
    with pytest.raises(ValueError, match=r'set items = "both" in \[text_encoder\]'):
        matcher.score(photos(), TEXTS)


@pytest.mark.parametrize("regions", ["whole", "patches"])
@pytest.mark.parametrize("family", EVERY)
def test_a_saved_matcher_needs_nothing_else(
    family: str, regions: str, tmp_path: Path, no_network: None
) -> None:
    folder = publish(tmp_path / "published", family)
    matcher = Matcher.from_published(folder, regions)
    expected = matcher.score(photos(), TEXTS)
    matcher.save_pretrained(tmp_path / "saved")
    shutil.rmtree(folder)
    again = Matcher.from_pretrained((tmp_path / "saved").rename(tmp_path / "moved"))
    assert torch.equal(again.score(photos(), TEXTS), expected)
    assert not [path for path in (tmp_path / "moved").rglob("*") if path.suffix in (".bin", ".pkl")]


@pytest.mark.parametrize("family", EVERY)
def test_words_are_whole_for_people(family: str, published: Get) -> None:
    tokenizer = DualTokenizer(published(family))
    assert isinstance(tokenizer, Tokenizer)
    text = "REDS' dog, café 犬"
    shown = [word.text for word in words_of(tokenizer, text)]
    assert [word for word in shown if word.isalpha()] == ["REDS", "dog", "café", "犬"]
    labels, ids = tokenizer.labels(text), tokenizer([text]).ids[0].tolist()
    assert len(labels) == len(ids)
    pieces = tokenizer.words(text)
    starts = word_starts(tokenizer, text)
    for start, word in zip(starts, pieces, strict=True):
        assert ids[start : start + len(word)] == word


@pytest.mark.parametrize("family", FAMILIES)
def test_a_long_text_is_cut_as_the_published_one_and_refused_when_asked(family: str, published: Get) -> None:
    text = "the red dog runs on a bench " * 5
    tokenizer = DualTokenizer(published(family))
    longest = 24 if family == "clip" else 16
    assert tokenizer.max_length == longest
    assert len(tokenizer([text]).ids[0]) == longest
    theirs = transformers.AutoTokenizer.from_pretrained(published(family))(
        text, truncation=True, max_length=longest
    )["input_ids"]
    ours = tokenizer([text]).ids[0].tolist()
    assert ours == theirs if family == "clip" else [*ours[1:], ours[0]] == theirs
    with pytest.raises(ValueError, match=f"the limit is {longest}; shorten it"):
        DualTokenizer(published(family), truncate=False)([text])
    with pytest.raises(ValueError, match='the text " " has no words'):
        tokenizer([" "])


@pytest.mark.parametrize("family", EVERY)
def test_a_mark_that_is_spelt_in_a_text_is_none(family: str, published: Get) -> None:
    tokenizer = DualTokenizer(published(family))
    marks = {*tokenizer._before, *tokenizer._after}
    for mark in ("<|endoftext|>", "</s>", "<eos>"):
        inner = [id for word in tokenizer.words(f"a {mark} dog") for id in word]
        assert not marks & set(inner), mark


def test_index_and_search_by_the_name_of_a_folder(
    published: Get, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for n, picture in enumerate(photos(6)):
        picture.save(pictures / f"{n}.png")
    out = tmp_path / "index"
    arguments = ["index", str(pictures), "--model", str(published("clip")), "--out", str(out)]
    succeeds(arguments)
    succeeds(arguments)  # the same model again, kept and not made anew
    assert len(list((tmp_path / "cache").glob("clip-*"))) == 1
    assert "6 unchanged" in capsys.readouterr().out
    matcher = Matcher.from_published(published("clip"))
    searcher = Searcher(Index.open(out))
    hits = searcher.find_images("a red dog", k=6).hits
    scores = matcher.score(photos(6), ["a red dog"])[:, 0]
    found = {Path(hit.item.path).stem: hit.score for hit in hits}
    for n in range(6):
        assert found[str(n)] == pytest.approx(float(scores[n]), abs=0.05)  # stored in float16
    explanation = searcher.explain("a red dog", hits[0].item.id)
    assert explanation.kind == "whole"
    assert "cannot say where anything is" in explanation.sentence


def test_search_with_patches_says_that_boxes_are_a_hint(published: Get, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for n, picture in enumerate(photos(4)):
        picture.save(pictures / f"{n}.png")
    import_dual(published("siglip"), tmp_path / "model", "siglip", "patches")
    index = Index.create(tmp_path / "index", tmp_path / "model")
    index.update([pictures])
    searcher = Searcher(Index.open(tmp_path / "index"))
    hit = searcher.find_images("the red dog", k=4).hits[0]
    explanation = searcher.explain("the red dog", hit.item.id)
    assert explanation.kind == hit.evidence == "hint"
    assert "never trained to say where a word is" in explanation.sentence
    assert [told.word.word for told in explanation.words] == ["the", "red", "dog"]
    left, top, right, bottom = explanation.words[2].word.box
    assert (right - left, bottom - top) == pytest.approx((0.25, 0.25), abs=1e-3)
    assert explanation.score == pytest.approx(hit.score, abs=1e-2)


@pytest.mark.parametrize("family", EVERY)
def test_import_writes_a_model_folder_and_what_became_of_the_weights(
    family: str, published: Get, tmp_path: Path
) -> None:
    system = plain_json.read(published(family) / "config.json")["model_type"]
    out = tmp_path / "model"
    succeeds(["import", str(published(family)), "--from", system, "--out", str(out)])
    facts = plain_json.read(out / clip_siglip.REPORT)
    assert (facts["system"], facts["regions"], facts["unused"]) == (system, "whole", [])
    model = transformers.AutoModel.from_pretrained(published(family))
    counted = sum(weight.numel() for weight in model.parameters()) - 1 - system.startswith("siglip")
    assert sum(facts["weights"].values()) == counted
    scale = 1 / model.temperature if system == "tipsv2" else model.logit_scale.exp()
    assert facts["scale"] == pytest.approx(scale.item(), rel=1e-6)
    expected = Matcher.from_published(published(family)).score(photos(), TEXTS)
    assert torch.equal(Matcher.from_pretrained(out).score(photos(), TEXTS), expected)


def test_import_names_the_family_that_it_found(published: Get, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is of the family siglip; give --from siglip"):
        import_dual(published("siglip"), tmp_path / "model", "clip")
    assert not (tmp_path / "model").exists()


def test_another_family_is_refused_with_those_that_can_be_read(tmp_path: Path, published: Get) -> None:
    folder = shutil.copytree(published("clip"), tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    for kind, words in {"align": "known: CLIP", "x_clip": "SigLIP 2 NaFlex .*TIPSv2"}.items():
        (folder / "config.json").write_text(json.dumps(config | {"model_type": kind}))
        for opening in (Matcher.from_published, lambda folder: opened_folder(str(folder))):
            with pytest.raises(ValueError, match=f'"{kind}".*{words}'):
                opening(folder)


def test_without_a_network_it_says_what_to_fetch_and_where_to_put_it(no_network: None) -> None:
    with pytest.raises(MissingModel, match=r"hf download openai/clip-x .*copy that folder here"):
        Matcher.from_published("openai/clip-x")
    with pytest.raises(
        FileNotFoundError, match=r"clip-x is neither .* hf download openai/clip-x --local-dir"
    ):
        matcher_folder("openai/clip-x")


def test_a_hub_name_is_opened_like_its_folder(published: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = published("clip")
    asked = []

    def snapshot(name: str, **settings: Any) -> str:
        asked.append((name, tuple(settings.get("allow_patterns") or ())))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda name, file, **_: str(folder / file))
    kept = matcher_folder("openai/tiny")
    assert kept.name.startswith("tiny-")
    assert {name for name, _ in asked} == {"openai/tiny"}
    assert all("*.bin" not in patterns and patterns for _, patterns in asked)  # never the whole repository
    expected = Matcher.from_published(folder).score(photos(), TEXTS)
    assert torch.equal(Matcher.from_pretrained(kept).score(photos(), TEXTS), expected)


def test_missing_weights_are_never_made_up(published: Get, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(published("clip"), tmp_path / "cut")
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"1 missing, visual_projection\.weight first"):
        Matcher.from_published(folder)
    del weights["logit_scale"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="have no logit_scale"):
        Matcher.from_published(folder)


def test_a_published_folder_given_as_a_saved_one_is_named_for_what_it_is(published: Get) -> None:
    with pytest.raises(ValueError, match=r"opened by Matcher\.from_published"):
        Matcher.from_pretrained(published("clip"))


@pytest.mark.parametrize("family", FAMILIES)
def test_chan_learns_on_top_of_the_frozen_towers(
    family: str, published: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORDSIGHT_CLIP", str(published(family)))
    lines = ["image,caption,split"]
    for n, picture in enumerate(photos(6)):
        picture.save(tmp_path / f"{n}.png")
        lines += [f"{n}.png,{text},{split}" for split in ("train", "val") for text in [f"a dog {n} runs"]]
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    tables = dict(load_config("chan-clip").tables)
    tables["data"] = {"name": "table", "path": str(tmp_path / "captions.csv")}
    tables["image_encoder"] = {**tables["image_encoder"], "dim": 8}
    quick = {"epochs": 1, "batch_size": 3, "warmup_steps": 1, "precision": "float32"}
    tables["training"] = {**tables["training"], **quick}
    config = Config(tables)
    before = Builder(config).matcher(Builder(config).pairs("train")).text_encoder.tower.state_dict()
    train(config, tmp_path / "run")
    learned = Matcher.from_pretrained(matcher_folder(str(tmp_path / "run")))
    after = learned.text_encoder.tower.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    (told,) = learned.align(photos(1), ["a dog runs"])
    assert not told.hint
    assert learned.encode_texts(["a dog runs"]).mask[0, 0].item() is False
