"""The command line loads the module of the verb that is called, and nothing heavy for help."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from wordsight.cli.main import VERBS, app

HEAVY = {"torch", "numpy", "transformers", "PIL", "huggingface_hub", "tqdm", "fastapi"}
LOADED = """
import json, sys
from wordsight.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def modules_after(*arguments: str) -> set[str]:
    """The modules that a command leaves loaded in a process of its own."""
    command = [sys.executable, "-c", LOADED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["search", "--help"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert not modules_after(*arguments) & HEAVY


def test_a_verb_loads_its_own_module_alone() -> None:
    own = {"wordsight.cli." + verb.module for verb in VERBS.values()}
    assert modules_after("evaluate", "--help") & own == {"wordsight.cli.evaluate"}
    assert modules_after("--version") & own == set()
    assert modules_after("--help") & own == set()


def test_every_verb_that_a_module_registers_is_in_the_table_and_the_other_way_round() -> None:
    from importlib import import_module

    import typer

    registered: dict[str, str] = {}
    for module in dict.fromkeys(verb.module for verb in VERBS.values()):
        its_own = typer.Typer()
        import_module(f"wordsight.cli.{module}").register(its_own)
        menu: Any = typer.main.get_group(its_own)
        registered |= dict.fromkeys(menu.commands, module)
    assert registered == {name: verb.module for name, verb in VERBS.items()}
    whole: Any = get_command(app)
    assert list(whole.commands) == list(VERBS)
    assert all(whole.commands[verb].name == verb for verb in VERBS)


def test_the_help_says_in_one_line_each_what_a_verb_does() -> None:
    """No summary is cut at the 80 columns of a terminal."""
    shown = CliRunner().invoke(app, ["--help"]).stdout
    for name, verb in VERBS.items():
        line = next(line for line in shown.splitlines() if line.split()[:1] == [name])
        assert line.split(maxsplit=1)[1] == verb.summary
        assert len(line) < 80


def completed(words: str, count: int) -> list[str]:
    """The completions that the shell gets for a command line that is being typed."""
    request = {"_WORDSIGHT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    command = [sys.executable, "-m", "wordsight"]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | request).stdout.split()


def test_the_shell_completes_verbs_and_options() -> None:
    assert completed("wordsight se", 1) == ["search", "serve"]
    assert completed("wordsight data ", 2) == ["check", "world", "convert", "records"]
    assert completed("wordsight search --min-s", 2) == ["--min-size"]


def test_a_mistyped_verb_is_answered_with_those_that_are_meant() -> None:
    done = subprocess.run([sys.executable, "-m", "wordsight", "serch"], capture_output=True, text=True)
    assert (done.returncode, "Did you mean 'search'" in done.stderr) == (2, True)
