"""CHAN on the patches of a frozen backbone, by commands: features, training, an index, a search, evidence."""

import json
from pathlib import Path

import pytest
import transformers
from support import published_backbones, published_dual_encoders
from support.published_bert import CONFIG, PIECES

from wordsight.cli.main import main as command
from wordsight.files import plain_json

TEXTS = ["a red dog runs", "the ball on a bench", "dogs", "a man riding a horse .", "the red ball", "a bench"]
QUICK = [
    "training.epochs=1", "training.batch_size=3", "training.warmup_steps=1", "training.precision=float32",
    "image_encoder.dim=8",
]  # fmt: skip


def succeeds(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        command([str(one) for one in arguments])
    assert ended.value.code == 0


def changes(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def publish_models(home: Path) -> dict[str, Path]:
    """Environment variables of the configurations -> small models of random weights."""
    bert = home / "bert"
    transformers.BertModel(transformers.BertConfig(**CONFIG)).save_pretrained(bert)
    (bert / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return {
        "WORDSIGHT_BERT": bert,
        "WORDSIGHT_DINOV3": published_backbones.publish(home / "dinov3", "dinov3"),
        "WORDSIGHT_TIPSV2": published_dual_encoders.publish(home / "tipsv2", "tipsv2"),
    }


@pytest.mark.parametrize("name", ["chan-tipsv2", "chan-dinov3"])
def test_features_are_extracted_learned_from_indexed_and_searched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable, folder in publish_models(tmp_path).items():
        monkeypatch.setenv(variable, str(folder))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    lines = ["image,caption,split"]
    for n, picture in enumerate(published_dual_encoders.photos(6)):
        picture.save(pictures / f"{n}.png")
        lines += [f"{n}.png,{TEXTS[n]},{split}" for split in ("train", "val")]
    captions = pictures / "captions.csv"
    captions.write_text("\n".join(lines))

    store, reader = tmp_path / "features", "reader.size=48"  # another size than the published one
    succeeds("features", "extract", captions, "--config", name, *changes(reader), "--out", store)
    data = ["data.name=table", f"data.path={captions}", f"data.features={store}"]
    succeeds("train", name, *changes(*data, reader, *QUICK), "--out", tmp_path / "run")
    succeeds("index", pictures, "--model", tmp_path / "run", "--out", tmp_path / "index")
    page = tmp_path / "why.html"
    capsys.readouterr()
    succeeds("search", tmp_path / "index", "a red dog", "--json", "--explain", page)
    hits = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(hits) == 6
    assert all(hit["evidence"] == "cell" for hit in hits)
    assert "with 36 cells of a grid" in page.read_text()
    config = plain_json.read(next((tmp_path / "run").rglob("best/config.json")))
    assert config["parts"]["reader"]["size"] == 48
