"""The README is true: its Python runs as written, its commands exist, its tables name what is there."""

import re
from pathlib import Path

import pytest
from support.command_verbs import verbs
from support.written_in_docs import check_command, commands_in, programs_in, run_programs

from wordsight.config import configs_folder

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_python_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(programs_in(README)) == 1
    run_programs(README, tmp_path, monkeypatch)


@pytest.mark.parametrize("command", commands_in(README))
def test_every_command_parses(command: str) -> None:
    check_command(command)


def test_the_table_of_commands_is_the_menu_of_commands() -> None:
    named = re.findall(r"^\| `wordsight ([a-z]+(?: [a-z]+)?)", README, re.MULTILINE)
    assert sorted(named) == sorted(verbs())


def test_the_table_of_runs_names_every_published_configuration() -> None:
    """Alone, or by the ends of names that differ at the end only: `scan-f30k-t2i-lse`, `-t2i-avg`."""
    table = README.split("## Published runs")[1].split("##")[0]
    rows = [re.findall(r"`([\w-]+)`", line) for line in table.splitlines() if line.startswith("| `")]
    for path in configs_folder().glob("*.toml"):
        if "flickr8k" not in path.stem and path.stem not in ("demo", "own-pairs"):
            assert any(_names(row, path.stem) for row in rows), path


def _names(row: list[str], run: str) -> bool:
    ends = [name for name in row if name.startswith("-") and run.endswith(name)]
    return run in row or any(full.startswith(run.removesuffix(end)) for end in ends for full in row)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parents[2] / target).exists(), target
