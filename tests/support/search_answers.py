"""Answers of a search in many indexes, with torch or, run as a program, without it.

python search_answers.py INDEX... prints them as JSON, in a process that cannot import torch or transformers.
"""

import json
import subprocess
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

ABSENT = {"torch", "transformers", "huggingface_hub"}
QUERIES = ("a red circle", "a blue square above a green cross", "+red ball^2 -cross", "zebra")


class Blocked(MetaPathFinder):
    """Packages that are not installed, as far as this process can see."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def answers(folder: Path, picture: Path | None = None, queries: tuple[str, ...] = QUERIES) -> dict[str, Any]:
    """Hits of some queries, pictures like the first one, the reason of a hit, words of a picture's texts."""
    from wordsight.errors import WordsightError
    from wordsight.search.index.index import Index
    from wordsight.search.searcher import Searcher

    searcher = Searcher(Index.open(folder))
    if searcher.index.kind == "texts":
        assert picture is not None
        found = searcher.find_texts(picture, 5)
        return {"captions": _hits(found), "why": _why(searcher.explain(picture, found.hits[0].item.id))}
    said: dict[str, Any] = {}
    for query in queries:
        try:
            found = searcher.find_images(query, 6)
        except WordsightError as error:
            said[query] = str(error)
            continue
        said[query] = _hits(found)
        said[f"why {query}"] = _why(searcher.explain(query, found.hits[0].item.id)) if found.hits else None
    said["similar"] = _hits(searcher.similar(1, 4))
    said["both"] = _hits(searcher.similar(1, 4, text="a red circle"))
    if picture is not None:
        said["to a file"] = _hits(searcher.similar(picture, 4))
    return said


def _hits(hits: Any) -> dict[str, Any]:
    rows = [
        {
            "item": hit.item.path if not hit.item.text else hit.item.text,
            "score": hit.score,
            "probability": hit.probability,
            "relevant": hit.relevant,
            "percentile": hit.percentile,
            "words": [[one.word, one.found, one.state, one.probability, one.box] for one in hit.words],
        }
        for hit in hits.hits
    ]
    return {"hits": rows, "relevant": hits.relevant, "total": hits.total, "evidence": _evidence(hits)}


def _evidence(hits: Any) -> list[Any]:
    return [hit.evidence for hit in hits.hits]


def _why(explained: Any) -> dict[str, Any]:
    return {
        "kind": explained.kind,
        "sentence": explained.sentence,
        "shares": [list(word.shares) for word in explained.words],
        "parts": [[part.direction, part.score] for part in explained.parts],
        "score": explained.score,
        "probability": explained.probability,
    }


def answers_without_torch(indexes: list[Path], picture: Path | None = None) -> list[dict[str, Any]]:
    """The answers of a fresh process that cannot import torch."""
    named = [str(path) for path in (*([picture] if picture else []), *indexes)]
    command = [sys.executable, __file__, "--picture" if picture else "--no-picture", *named]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print the answers of the indexes that are named on the command line."""
    sys.meta_path.insert(0, Blocked())
    has_picture, *names = sys.argv[1:]
    picture = Path(names.pop(0)) if has_picture == "--picture" else None
    json.dump([answers(Path(name), picture) for name in names], sys.stdout)


if __name__ == "__main__":
    main()
