"""The wheel runs in an environment of its own; the container's steps do what they say; versions agree."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_index import small_model

import wordsight

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a new environment with the wheel; the packages that it needs are those of the tests."""
    pytest.importorskip("hatchling", reason="the wheel is built where wordsight[test] is installed")
    folder = tmp_path_factory.mktemp("release")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = folder / "source"
    for name in ("src", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run([*pip, *wheel], check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    home = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    (built,) = folder.glob("*.whl")
    into = ["--python", str(home / "python"), "install", "--no-deps", str(built)]
    subprocess.run([*pip, *into], check=True, capture_output=True)
    place = subprocess.run(
        [home / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    (Path(place) / "tests.pth").write_text(sysconfig.get_path("purelib"))
    return home / "wordsight"


def run(command: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run([command, *map(str, arguments)], capture_output=True, text=True, env=environment)


def test_the_installed_command_knows_its_version_and_its_configurations(installed: Path) -> None:
    assert run(installed, "--version").stdout == f"wordsight {wordsight.__version__}\n"
    shown = run(installed, "config", "show", "own-pairs")
    assert shown.returncode == 0, shown.stderr
    assert "[training]" in shown.stdout


def test_it_indexes_and_searches_and_is_no_other_copy(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "pictures" / f"{number}.png")
    made = run(
        installed,
        "index",
        tmp_path / "pictures",
        "--model",
        small_model(tmp_path),
        "--out",
        tmp_path / "index",
    )
    assert made.returncode == 0, made.stderr
    found = run(installed, "search", tmp_path / "index", "a red ball", "--json")
    assert len([json.loads(line) for line in found.stdout.splitlines()]) == 3
    where = run(installed.with_name("python"), "-c", "import wordsight; print(wordsight.__file__)").stdout
    assert where.startswith(str(installed.parents[1]))


def test_the_page_and_the_types_are_in_the_wheel(installed: Path) -> None:
    program = (
        "from importlib import resources; root = resources.files('wordsight'); "
        "print(*[root.joinpath(name).is_file() for name in "
        "('web/static/index.html', 'web/static/albums.js', 'report/report.css', 'configs/demo.toml')])"
    )
    assert run(installed.with_name("python"), "-c", program).stdout.split() == ["True"] * 4


def test_the_version_stands_in_one_place_and_the_citation_has_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == wordsight.__version__  # type: ignore[index]


def test_the_container_is_no_root_has_a_health_and_a_volume() -> None:
    steps = re.findall(r"^([A-Z]+) ", DOCKERFILE, re.MULTILINE)
    assert {"USER", "HEALTHCHECK", "VOLUME", "ENTRYPOINT"} <= set(steps)
    assert steps.index("USER") < steps.index("ENTRYPOINT")
    assert "USER root" not in DOCKERFILE
    extras = re.search(r"\[([a-z,]+)\]\" \\", DOCKERFILE)[1].split(",")  # type: ignore[index]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras) <= set(project["optional-dependencies"])


def test_the_container_starts_a_command_that_exists() -> None:
    from support.command_verbs import verbs

    verb, *arguments = json.loads(re.search(r"^CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)[1])  # type: ignore[index]
    verbs()[verb].make_context(verb, arguments)


def test_the_container_is_healthy_when_the_server_is() -> None:
    from support.running_server import listening
    from support.search_models import searcher

    from wordsight.web.app import create_app

    probe = json.loads(re.search(r"CMD (\[\"python\".+\])$", DOCKERFILE, re.MULTILINE)[1])[2]  # type: ignore[index]
    with listening(create_app(searcher())) as port:
        there = subprocess.run([sys.executable, "-c", probe.replace("8765", str(port))])
    gone = subprocess.run([sys.executable, "-c", probe.replace("8765", str(port))], capture_output=True)
    assert (there.returncode, gone.returncode) == (0, 1)


def test_hadolint_finds_nothing() -> None:
    linter = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if linter is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([linter, ROOT / "Dockerfile", "--ignore", "DL3013"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
