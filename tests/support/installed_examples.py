"""The packages under examples/, installed into a folder that is then importable."""

import shutil
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def install(example: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay the modules and the entry points of an example where Python finds them, as pip would."""
    project = tomllib.loads((EXAMPLES / example / "pyproject.toml").read_text())["project"]
    name = project["name"].replace("-", "_")
    facts = home / f"{name}-{project['version']}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    groups = (
        "\n".join([f"[{group}]", *(f"{point} = {value}" for point, value in points.items())])
        for group, points in project["entry-points"].items()
    )
    (facts / "entry_points.txt").write_text("\n".join(groups) + "\n")
    for module in (EXAMPLES / example).glob("*.py"):
        shutil.copy(module, home)
        monkeypatch.delitem(sys.modules, module.stem, raising=False)  # of another test
    monkeypatch.syspath_prepend(str(home))
