"""The site of docs/ builds strictly; the commands and the Python of its pages run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_verbs import verbs
from support.written_in_docs import check_command, commands_in, programs_in, run_programs

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if page.name
    not in ("LOG.md", "PERFORMANCE.md", "migrating.md")  # of the past; the last has its own tests
]
WITH_PYTHON = [page for page in PAGES if programs_in(page.read_text())]
COMMANDS = [(page.name, command) for page in PAGES for command in commands_in(page.read_text())]


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda text: text[:60])
def test_every_command_has_the_options_of_the_command_line(page: str, command: str) -> None:
    check_command(command)


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_programs(page.read_text(), tmp_path, monkeypatch)


def test_the_site_builds_without_a_warning_and_names_every_command_and_public_name(tmp_path: Path) -> None:
    import wordsight

    pytest.importorskip("material", reason="the site is built where wordsight[docs] is installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "reference" / "cli.html").read_text()
    for name, verb in verbs().items():
        assert f"wordsight {name}" in page
        for option in verb.params:
            if option.param_type_name == "option" and not option.hidden:
                assert option.opts[0] in page, (name, option.opts)
    names = (tmp_path / "reference" / "python.html").read_text()
    assert all(f">{name}<" in names for name in wordsight.__all__)
    assert "/v1/search" in (tmp_path / "reference" / "rest.html").read_text()
    every = "".join(path.read_text() for path in tmp_path.rglob("*.html"))
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://[^"]+"', every)
