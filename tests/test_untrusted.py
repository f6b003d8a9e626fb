"""A model, an index or a configuration of others is data: whatever it names, nothing of it is run."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import warm_process
from support.small_index import draw, make, small_model

from wordsight.builder import Builder
from wordsight.cli.main import main
from wordsight.config import load_config
from wordsight.matcher import Matcher
from wordsight.registry.trust import UntrustedCodeError
from wordsight.search.index.index import Index

EVIL = '''
"""Code of somebody else: the file "pwned" tells that it ran."""
from pathlib import Path
Path({pwned!r}).touch()
from wordsight.similarity.max_sim import MaxSim
from wordsight.similarity.pooling import Pooling
class Mine(MaxSim):
    """A similarity like any other."""
class Pool(Pooling):
    """A pooling."""
    def pool(self, values):
        return values.mean(-1)
'''
STATUS = "getting ready: the model, and what the index scores in general"
Tables = dict[str, dict[str, Any]]


@pytest.fixture
def pwned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that exists once the code of others has run, which lies in the current folder."""
    (tmp_path / "evil_lab.py").write_text(EVIL.format(pwned=str(tmp_path / "pwned")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("evil_lab", None)
    return tmp_path / "pwned"


def system(pwned: Path) -> Tables:
    return {"reader": {"name": "os:system", "command": f"touch {pwned}"}}


def process(pwned: Path) -> Tables:
    return {"tokenizer": {"name": "subprocess:Popen", "args": ["touch", str(pwned)]}}


def similarity(pwned: Path) -> Tables:
    return {"similarity": {"name": "evil_lab:Mine"}}


def nested(pwned: Path) -> Tables:
    return {"similarity": {"name": "max-sim", "pooling": {"name": "evil_lab:Pool"}}}


def by_name(pwned: Path) -> Tables:
    return {"similarity": {"name": "max-sim", "pooling": "evil_lab:Pool"}}


EVILS = [system, process, similarity, nested, by_name]


def spoil(model: Path, changes: Tables) -> Path:
    """Let the configuration of a saved model name other parts."""
    path = model / "config.json"
    config = json.loads(path.read_text())
    config["parts"] |= changes
    path.chmod(0o644)
    path.unlink()  # it may be a hard link of another model's
    path.write_text(json.dumps(config))
    return model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small_model(tmp_path / "source")


@pytest.fixture
def index(tmp_path: Path, model: Path) -> Path:
    draw(tmp_path / "pictures", range(5))
    make(tmp_path / "photos.index", model, tmp_path / "pictures")
    return tmp_path / "photos.index"


def refused(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail: the one sentence that it says."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr().err.splitlines()
    (sentence,) = (line for line in said if not line.endswith(STATUS))
    assert end.value.code == 1, sentence
    return sentence


def assert_untouched(pwned: Path) -> None:
    assert not pwned.exists()
    assert "evil_lab" not in sys.modules


@pytest.mark.parametrize("evil", EVILS)
def test_opening_a_model_runs_nothing(evil: Callable[[Path], Tables], model: Path, pwned: Path) -> None:
    spoil(model, evil(pwned))
    named = "is code from outside wordsight, which is run only if you allow it; if you trust its author"
    with pytest.raises(UntrustedCodeError, match=named) as error:
        Matcher.from_pretrained(model)
    assert str(model / "config.json") in str(error.value)
    assert_untouched(pwned)


@pytest.mark.parametrize("evil", [system, process])
def test_what_is_no_part_of_its_kind_is_never_called(
    evil: Callable[[Path], Tables], model: Path, pwned: Path
) -> None:
    spoil(model, evil(pwned))
    with pytest.raises(ValueError, match=r"derive it|is declared so"):
        Matcher.from_pretrained(model, trust_remote_code=True)
    assert_untouched(pwned)


@pytest.mark.parametrize("evil", [similarity, nested, by_name])
def test_a_model_with_a_part_of_ones_own_opens_where_that_is_allowed(
    evil: Callable[[Path], Tables], model: Path, pwned: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(model, evil(pwned))
    opened = Matcher.from_pretrained(model, trust_remote_code=True)
    assert pwned.exists()
    assert "importing evil_lab, which runs its code" in caplog.text
    opened.save_pretrained(tmp_path / "copy")
    with pytest.raises(UntrustedCodeError):
        Matcher.from_pretrained(tmp_path / "copy")


COMMANDS = {
    "search": ["search", "{index}", "a dog"],
    "similar": ["similar", "{index}", "1"],
    "captions": ["captions", "texts.index", "pictures/001.png"],
    "explain": ["explain", "{index}", "a dog", "1"],
    "index": ["index", "pictures", "--out", "{index}"],
    "serve": ["serve", "{index}", "--port", "0"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_that_opens_an_index_runs_what_it_names(
    name: str, index: Path, pwned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "captions":
        Path("texts.txt").write_text("a dog\n")
        Index.create("texts.index", index / "model", "texts").update([Path("texts.txt")])
        index = Path("texts.index")
    spoil(index / "model", system(pwned))
    if name == "index":
        draw(Path("pictures"), [77])
    sentence = refused([word.format(index=index) for word in COMMANDS[name]], capsys)
    assert 'reader "os:system" is code from outside wordsight' in sentence
    assert "--trust-remote-code" in sentence
    assert_untouched(pwned)


@pytest.mark.parametrize(
    "arguments",
    [
        ["index", "pictures", "--model", "{model}", "--out", "new.index"],
        ["search", "pictures", "a dog", "--model", "{model}"],
        ["labels", "{model}", "a dog"],
        ["evaluate", "{model}", "--config", "demo"],
    ],
    ids=lambda words: words[0],
)
def test_no_command_that_opens_a_model_runs_what_it_names(
    arguments: list[str],
    model: Path,
    pwned: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("WORDSIGHT_CACHE", str(tmp_path / "cache"))
    draw(Path("pictures"), range(3))
    spoil(model, similarity(pwned))
    if arguments[0] == "evaluate":
        arguments = [*arguments, "--set", "data.images=8"]
    sentence = refused([word.format(model=model) for word in arguments], capsys)
    assert 'similarity "evil_lab:Mine" is code from outside wordsight' in sentence
    assert_untouched(pwned)
    assert not Path("new.index").exists()


@pytest.mark.parametrize(
    "command", [["config", "show"], ["data", "records", "--out", "r"], ["evaluate"], ["features", "extract"]]
)
def test_a_configuration_runs_nothing_but_in_training(
    command: list[str], pwned: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    draw(Path("pictures"), range(3))
    home = tmp_path / "run"
    home.mkdir()
    (home / "config.toml").write_text(
        '[data]\nname = "evil_lab:read"\n[reader]\nname = "evil_lab:Reader"\n'
        '[tokenizer]\nname = "words"\n[image_encoder]\nname = "grid-cnn"\n'
        '[text_encoder]\nname = "recurrent"\n'
    )
    (home / "best").mkdir()
    given: list[object] = [home]
    if command == ["features", "extract"]:
        given = ["pictures", "--config", home / "config.toml", "--out", "store"]
    sentence = refused([*command, *given], capsys)
    assert "evil_lab:" in sentence
    assert "is code from outside wordsight" in sentence
    assert_untouched(pwned)


def test_a_hub_name_runs_nothing_in_a_real_process(model: Path, pwned: Path, tmp_path: Path) -> None:
    """The hub's own layout: a snapshot of links to blobs."""
    cache = tmp_path / "hub" / "models--evil--model"
    snapshot = cache / "snapshots" / ("0" * 40)
    blobs = cache / "blobs"
    for folder in (snapshot, blobs, cache / "refs"):
        folder.mkdir(parents=True)
    (cache / "refs" / "main").write_text("0" * 40)
    for number, path in enumerate(sorted(spoil(model, system(pwned)).iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(Path("../../blobs") / str(number))
    draw(tmp_path / "pictures", range(3))
    offline = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    command = ("index", "pictures", "--model", "evil/model", "--out", "i")
    done = warm_process.run(*command, cwd=tmp_path, env=os.environ | offline)
    assert done.returncode == 1, done.stderr
    assert 'reader "os:system" is code from outside wordsight' in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert_untouched(pwned)
    assert not (tmp_path / "i").exists()


def test_an_index_keeps_to_what_it_was_opened_with(index: Path, pwned: Path) -> None:
    spoil(index / "model", similarity(pwned))
    with pytest.raises(UntrustedCodeError):
        _ = Index.open(index).matcher
    assert Index.open(index, trust_remote_code=True).matcher.similarity.__class__.__name__ == "Mine"


def test_a_configuration_in_hand_is_trusted_for_its_own_parts_alone(
    model: Path, pwned: Path, tmp_path: Path
) -> None:
    (tmp_path / "own.toml").write_text('[reader]\nname = "evil_lab:Mine"\n')
    own = load_config(str(tmp_path / "own.toml"), trust_remote_code=True)
    with pytest.raises(
        ValueError, match=r"has no save\(\); derive it: class Mine\(wordsight.read.base.Reader"
    ):
        Builder(own).reader()
    pwned.unlink()
    spoil(model, similarity(pwned))
    with pytest.raises(UntrustedCodeError):
        own.trusted(Matcher.from_pretrained, model)
