"""A configuration becomes a trained and measured model, and loads nothing that it does not need."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from support.world_texts import WORDS, texts_of

from wordsight.builder import Builder
from wordsight.config import load_config
from wordsight.matcher import Matcher
from wordsight.read.export.precomputed import write_precomp
from wordsight.runs.measuring import measure_model
from wordsight.runs.opening import matcher_folder, open_config
from wordsight.runs.training import train


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A precomputed folder as SCAN releases it, word vectors, and a CHAN on both."""
    random = np.random.default_rng(0)
    features = [random.normal(size=(6, 12)).astype(np.float32) for _ in range(18)]
    for split in ("train", "dev", "test"):
        captions = [texts_of(row) for row in range(18)]
        ids = [str(row) for row in range(18)]
        write_precomp(tmp_path / "tiny_precomp", split, features, captions, ids)
    lines = [f"{word} " + " ".join(f"{x:.3f}" for x in random.normal(size=4)) for word in WORDS]
    (tmp_path / "vectors.txt").write_text("\n".join(lines) + "\n")
    path = tmp_path / "tiny.toml"
    path.write_text(
        textwrap.dedent(f"""
        [data]
        name = "precomp"
        path = "{tmp_path / "tiny_precomp"}"
        validation = "dev"
        [reader]
        name = "precomputed"
        [vocabulary]
        min_count = 1
        [tokenizer]
        name = "words"
        [image_encoder]
        name = "regions"
        dim = 16
        attention = "self-attention"
        heads = 2
        [text_encoder]
        name = "recurrent"
        word_dim = 4
        vectors = "{tmp_path / "vectors.txt"}"
        freeze_vectors = true
        [similarity]
        name = "max-sim"
        [loss]
        name = "info-nce"
        temperature = 0.1
        [training]
        epochs = 40
        batch_size = 30
        learning_rate = 1e-2
        milestones = [30]
        """)
    )
    return path


def test_precomputed_features_are_learned_and_measured(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    history = train(load_config(str(config)), run)
    assert history.best_rsum is not None
    assert history.best_rsum > 400  # chance is about 60
    measured = measure_model(str(run), None, (), "test", {})
    assert measured.recalls.rsum > 400
    assert measured.pointing is None
    (tmp_path / "vectors.txt").unlink()  # a saved model does not need the file again
    again = Matcher.from_pretrained(run)  # opens its best model
    with pytest.raises(ValueError, match="reads precomputed features"):
        again.score(["photo.jpg"], ["a red dog runs"])


def test_a_run_has_the_configuration_that_it_was_begun_with(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.toml").write_text("[training]\nepochs = 9\n")  # of one that saved no more
    for open_it in (matcher_folder, Matcher.from_pretrained):
        with pytest.raises(FileNotFoundError, match="a run without a best model yet; go on with it"):
            open_it(str(run))
    chosen = load_config(str(config), ["training.epochs=1"])
    train(chosen, run)
    assert load_config(str(run)).tables == chosen.tables
    with pytest.raises(ValueError, match="there is no folder runs/of-nobody; train it first"):
        open_config("runs/of-nobody", None, [])
    best = open_config(str(run / "best"), None, [])  # the folder that train prints at its end
    assert best.tables == chosen.tables
    with pytest.raises(FileExistsError, match="already holds a run"):
        train(load_config(str(config), ["training.epochs=2"]), run)
    assert load_config(str(run)).tables == chosen.tables


def test_pretrained_vectors_are_frozen_and_the_file_decides_them(config: Path, tmp_path: Path) -> None:
    chosen = load_config(str(config))
    matcher = Builder(chosen).matcher(Builder(chosen).pairs("train"))
    place = matcher.tokenizer.vocabulary.ids(["dog"])[0]
    line = next(
        line for line in (tmp_path / "vectors.txt").read_text().splitlines() if line.startswith("dog ")
    )
    expected = [float(number) for number in line.split()[1:]]
    assert matcher.text_encoder.words.weight[place].tolist() == pytest.approx(expected)
    assert not matcher.text_encoder.words.weight.requires_grad


def test_training_on_features_never_loads_transformers(config: Path, tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import sys
        import wordsight
        assert "torch" not in sys.modules, "import wordsight loaded torch"
        from pathlib import Path
        from wordsight.config import load_config
        from wordsight.runs.training import train
        train(load_config({str(config)!r}, ["training.epochs=1"]), Path({str(tmp_path / "run")!r}))
        loaded = {{"transformers", "matplotlib", "tensorflow"}} & set(sys.modules)
        sys.exit(f"loaded {{loaded}}" if loaded else 0)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
