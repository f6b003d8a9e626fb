"""A loss of one file, as docs/extending.md shows it: in the current folder, named in a configuration."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import warm_process
from support.small_index import draw

DOCS = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
CONFIG = """
[data]
name = "table"
path = "captions.csv"
[reader]
name = "pixels"
size = 8
[tokenizer]
name = "words"
[vocabulary]
min_count = 1
[image_encoder]
name = "grid-cnn"
dim = 8
width = 4
cell = 4
[text_encoder]
name = "recurrent"
word_dim = 4
[similarity]
name = "max-sim"
[training]
epochs = 1
batch_size = 4
warmup_steps = 0
"""


SETTINGS = """from wordsight import Loss
class Focal(Loss):
    def __init__(self, gamma: float = 1):
        super().__init__()
        self.gamma = gamma
    def forward(self, pairs):
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with twelve pictures, their captions, a configuration, and the file of the documentation."""
    draw(tmp_path, range(12))
    rows = [f"{n:03}.png,a red ball {n},{'train' if n < 8 else 'val'}" for n in range(12)]
    (tmp_path / "captions.csv").write_text("\n".join(["image,caption,split", *rows]))
    code, loss = re.findall(r"```(?:python|toml)\n(.*?)```", DOCS, re.S)[:2]
    (tmp_path / "my_lab.py").write_text(code)
    (tmp_path / "own.toml").write_text(CONFIG + loss)
    return tmp_path


def train(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return warm_process.run("train", "own.toml", "--out", "run", *arguments, cwd=home)


def test_the_file_of_the_documentation_trains(home: Path) -> None:
    """The current folder is not on Python's path, as for the command that is installed."""
    done = train(home)
    assert done.returncode == 0, done.stderr
    assert 'importing my_lab, which runs its code, for loss "my_lab:Focal"' in done.stderr
    assert (home / "run" / "best" / "weights.safetensors").is_file()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "from torch import nn\nclass Focal(nn.Module):\n    def forward(self, pairs): ...\n",
            'loss "my_lab:Focal" has no begin(), parts(), collapsed_at(); '
            "derive it: class Focal(wordsight.learn.loss.Loss)",
        ),
        ("def Focal(gamma=1): ...\n", 'loss "my_lab:Focal" does not say that it returns a Loss'),
        ("def broken(:\n", 'loss "my_lab:Focal": my_lab fails when it is imported (SyntaxError'),
        ("x = 1\n", "module 'my_lab' has no attribute 'Focal'"),
        ("from wordsight import Loss\nclass Focal(Loss): ...\n", 'loss "my_lab:Focal" has no forward()'),
    ],
)
def test_what_is_no_loss_is_one_sentence(
    code: str, message: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from wordsight.cli.main import main

    (home / "my_lab.py").write_text(code)
    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(str(home))
    sys.modules.pop("my_lab", None)
    with pytest.raises(SystemExit):
        main(["train", "own.toml", "--out", "run"])
    *_, sentence = capsys.readouterr().err.strip().splitlines()
    assert message in sentence
    assert sentence.startswith("wordsight: own.toml: ")
    assert not (home / "run").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("return pairs.scores", "the loss Focal returned a tensor of shape [4, 4]; expected one number"),
        (
            "return pairs.nonsense",
            "my_lab.py, line 7, in forward: AttributeError: 'EncodedPairs'",
        ),
    ],
)
def test_a_loss_that_fails_is_not_called_a_fault_of_wordsight(line: str, message: str, home: Path) -> None:
    (home / "my_lab.py").write_text(f"{SETTINGS}        {line}\n")
    done = train(home)
    assert (done.returncode, message in done.stderr, "internal error" in done.stderr) == (1, True, False)
