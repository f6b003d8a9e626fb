"""A folder is written whole or not at all, and read strictly."""

import json
import os
import textwrap
from pathlib import Path

import pytest
import torch
from support import warm_process
from torch import nn

from wordsight import checkpoint
from wordsight.files import atomic


def write(folder: Path, text: str) -> None:
    with atomic.atomic_folder(folder) as fresh:
        (fresh / "a.txt").write_text(text)


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "model", "old")
    write(tmp_path / "model", "new")
    assert (tmp_path / "model" / "a.txt").read_text() == "new"
    assert os.listdir(tmp_path) == ["model"]


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "model", "old")
    with pytest.raises(FileNotFoundError), atomic.atomic_folder(tmp_path / "model") as fresh:
        (fresh / "a.txt").write_text("half") and (fresh / "none" / "a.txt").write_text("")
    assert (tmp_path / "model" / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["model"]


def test_death_between_two_renames_is_undone(tmp_path: Path) -> None:
    write(tmp_path / "model", "old")
    (tmp_path / "model").rename(tmp_path / ".model.previous")
    atomic.recover(tmp_path / "model")
    assert (tmp_path / "model" / "a.txt").read_text() == "old"


def test_kill_at_any_moment_leaves_a_whole_folder(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from wordsight.files import atomic
        for n in range(100000):
            with atomic.atomic_folder(Path(sys.argv[1])) as fresh:
                for name in "ab":
                    (fresh / name).write_text(str(n))
            print(n, file=sys.stderr)
    """)
    folder = tmp_path / "model"
    for written in (1, 3, 8, 20, 33):
        with warm_process.start(folder, program=("code", program)) as process:
            for _ in range(written):
                process.stderr.readline()
            process.kill()
        atomic.recover(folder)
        assert (folder / "a").read_text() == (folder / "b").read_text()
        assert os.listdir(tmp_path) == ["model"]


def test_weights_of_another_configuration_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    checkpoint.save_weights(path, nn.Linear(3, 2).state_dict())
    with pytest.raises(ValueError, match=r"weight is 2 x 3 in the file and 2 x 4 here"):
        checkpoint.load_weights(nn.Linear(4, 2), path)
    with pytest.raises(ValueError, match="bias has no place"):
        checkpoint.load_weights(nn.Linear(3, 2, bias=False), path)
    same = nn.Linear(3, 2)
    checkpoint.load_weights(same, path)
    assert torch.equal(same.weight, checkpoint.read_weights(path)["weight"])


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    checkpoint.save_weights(path, nn.Linear(300, 200).state_dict())
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"weights.safetensors is damaged .* restore an older checkpoint"):
        checkpoint.read_weights(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no config.json"),
        ("{", "is not JSON"),
        (json.dumps({"model_type": "bert"}), "does not describe a wordsight model"),
        (json.dumps({"format": 99, "parts": {}}), "update wordsight"),
    ],
)
def test_what_is_not_a_model_is_said(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        checkpoint.read_config(tmp_path)


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        import torch
        from support.full_disk import files_of_at_most
        from wordsight import checkpoint
        from wordsight.files import atomic
        with files_of_at_most(10_000), atomic.atomic_folder(Path(sys.argv[1])) as fresh:
            checkpoint.save_weights(fresh / "weights.safetensors", {"weight": torch.zeros(100_000)})
    """)
    write(tmp_path / "model", "old")
    failed = warm_process.run(tmp_path / "model", program=("code", program))
    assert failed.returncode != 0
    assert "File too large" in failed.stderr
    assert os.listdir(tmp_path) == ["model"]
    assert (tmp_path / "model" / "a.txt").read_text() == "old"


def test_a_file_without_room_is_named_and_left_as_before(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from support.full_disk import files_of_at_most
        from wordsight.cli.main import main
        with files_of_at_most(100):
            main(["vocab", "build", sys.argv[1], "--out", sys.argv[2], "--min-count", "1"])
    """)
    texts, out = tmp_path / "texts.txt", tmp_path / "vocabulary.json"
    texts.write_text("a dog runs\n")
    out.write_text("old")
    failed = warm_process.run(texts, out, program=("code", program))
    assert failed.returncode == 1
    assert f"{out}: File too large while it was written" in failed.stderr
    assert (out.read_text(), sorted(os.listdir(tmp_path))) == ("old", ["texts.txt", "vocabulary.json"])
