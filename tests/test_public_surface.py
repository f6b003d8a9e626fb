"""The public surface is one sorted list; every name loads, lazily, and docs import from nowhere else."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import wordsight
from wordsight import extending

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.py")])


def test_the_names_are_sorted_and_all_load() -> None:
    assert wordsight.__all__ == sorted(wordsight.__all__)
    for name in wordsight.__all__:
        assert getattr(wordsight, name).__name__ == name, name


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Matchr'; it has .*Matcher"):
        _ = wordsight.Matchr


def test_the_import_loads_nothing_heavy() -> None:
    program = "import sys, wordsight; print(*sorted({'torch', 'numpy', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_documentation_imports_from_the_public_surface_alone(page: Path) -> None:
    for module, names in re.findall(r"^\s*from (wordsight[\w.]*) import ([\w, ]+)", page.read_text(), re.M):
        assert module in ("wordsight", "wordsight.extending"), f"{page.name} imports from {module}"
        public = wordsight.__all__ if module == "wordsight" else extending.__all__
        assert {name.strip() for name in names.split(",")} <= set(public), f"{page.name}: {names}"
