"""Imports go down only: the rooms of docs/ARCHITECTURE.md, checked over the syntax trees."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "wordsight"
LEVEL = {
    "errors": -4, "tensors": -3, "aliases": -2, "inflection": -2, "files": -2, "runtime": -2, "registry": -1,
    "sets": 0, "pairs": 0, "pretrained": 0, "exported": 0,
    "read": 1, "presence": 1, "encode": 1, "similarity": 1, "checkpoint": 1,
    "matcher": 2,
    "learn": 3, "evaluation": 3, "search": 3,
    "config": 4, "importers": 4, "exporters": 4, "audit": 4,
    "builder": 5,
    "runs": 6,
    "experiments": 7,
    "report": 8, "web": 8, "doctor": 8,
    "cli": 9, "extending": 9, "__init__": 9,
    "__main__": 10,
}  # fmt: skip
MODULES = sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return parts[0]


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "wordsight":
            inner = node.module.split(".")[1:]
            names = {name.name if name.name in LEVEL else "__init__" for name in node.names}
            rooms |= {inner[0]} if inner else names
        elif isinstance(node, ast.Import):
            rooms |= {name.name.split(".")[1] for name in node.names if name.name.startswith("wordsight.")}
    return rooms


def test_imports_go_down() -> None:
    found = []
    for path in MODULES:
        here = room(path)
        for there in imported_rooms(path) - {here}:
            if LEVEL[there] >= LEVEL[here] and (here, there) != ("pairs", "sets"):
                place = path.relative_to(SOURCE)
                found.append(
                    f"{place} in {here} (level {LEVEL[here]}) imports {there} (level {LEVEL[there]})"
                )
    assert not found, "\n".join(found)


def test_module_opens_with_one_line_that_says_what_goes_in_and_out() -> None:
    bare = [path for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not bare, f"without a docstring: {', '.join(map(str, bare))}"
