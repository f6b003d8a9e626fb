"""Hooks of mkdocs: reference pages from the code, and pages of files that stand beside docs/."""

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
from reference import pages

ROOT = Path(__file__).parents[2]
BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
_OUTSIDE = re.compile(r"\]\((?:\.\./)+(examples|configs|benchmarks|src|tests)/([^)#]+)\)")


def on_config(config: Any) -> Any:
    """A page of docs/ that the navigation does not name stands at the end of "How to"."""
    named = set(re.findall(r"[\w/-]+\.md", str(config.nav)))
    others = [path.name for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in named]
    next(
        section["How to"] for section in config.nav if isinstance(section, dict) and "How to" in section
    ).extend(others)
    return config


def on_files(files: Files, config: Any) -> Files:
    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}", content=text))
    for name in BESIDE:
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=text.replace("](docs/", "](")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to files beside docs/ lead to their pages; those to example folders become their names."""
    for name in BESIDE:
        markdown = markdown.replace(f"](../{name}", f"]({name}")
    return _OUTSIDE.sub(r"] (`\1/\2`)", markdown)
