"""Results of a search -> schemas of the REST interface."""

import math
import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from wordsight.search import results
from wordsight.search.index import database
from wordsight.search.index.folder_tree import Folders
from wordsight.search.index.index import Filters
from wordsight.search.index.index import Item as Stored
from wordsight.search.index.near import parse_near
from wordsight.search.verdict_text import verdict_text
from wordsight.web import schemas as models
from wordsight.web.problems import Refused
from wordsight.web.security import AccessPolicy

VERSION_CHARACTERS = 8  # of a content's hash, as the version of its thumbnail


def filters_of(params: models.Filtered, policy: AccessPolicy | None = None) -> Filters:
    """Filters of a request. Raises Refused for a place where the server does not tell places."""
    if params.near is not None and not _tells_places(policy):
        message = "This server does not tell where pictures were taken (--no-originals); leave near out."
        raise Refused(403, "originals", message)
    return Filters(
        folder=params.folder or None,
        after=params.after,
        before=params.before,
        min_bytes=params.min_bytes,
        text=params.text or None,
        camera=params.camera or None,
        near=None if params.near is None else parse_near(params.near),
    )


def _tells_places(policy: AccessPolicy | None) -> bool:
    """Whether clients may know places, as they do where they get whole files with their metadata."""
    return policy is None or policy.originals


def answer(found: results.Hits, kind: str, policy: AccessPolicy | None = None) -> models.Answer:
    return models.Answer(
        sentence=found.query.sentence if found.query else None,
        excluded=list(found.query.excluded) if found.query else [],
        unread=database.clean(found.unread),
        suggestions=[models.Suggestion(word=one.word, instead=one.instead) for one in found.suggestions],
        total=found.total,
        relevant=found.relevant,
        verdict=database.clean(verdict_text(found, "pictures" if kind == "images" else "sentences")),
        itself=found.itself,
        min_probability=found.min_probability,
        threshold=_finite(found.threshold),
        old_threshold=_finite(found.threshold),
        exact=found.exact,
        engine=found.engine,
        fallback=found.fallback or None,
        offset=found.offset,
        hits=[_hit(hit, kind, policy) for hit in found.hits],
    )


def _hit(hit: results.Hit, kind: str, policy: AccessPolicy | None) -> models.Hit:
    return models.Hit(
        item=item(hit.item, kind, policy),
        score=float(hit.score),
        percentile=float(hit.percentile),
        relevant=bool(hit.relevant),
        probability=hit.probability,
        missing=hit.missing,
        evidence=hit.evidence,
        words=[models.Word(**_word(word)) for word in hit.words],
    )


def item(stored: Stored, kind: str, policy: AccessPolicy | None = None) -> models.Item:
    """Schema of an item; ``policy``: of the server, for its path behind a proxy and for what it tells."""
    root_path = "" if policy is None else policy.root_path
    path = database.shown(os.fsencode(stored.path))
    thumbnail = f"{root_path}/v1/items/{stored.id}/thumbnail?version={stored.content[:VERSION_CHARACTERS]}"
    return models.Item(
        id=stored.id,
        name=PurePath(path).name,
        path=path,
        text=database.clean(stored.text),
        width=stored.width,
        height=stored.height,
        bytes=stored.bytes,
        modified=stored.modified,
        taken=stored.taken,
        camera=database.clean(stored.camera),
        place=_place(stored, policy),
        thumbnail=thumbnail if kind == "images" else None,
    )


def _place(stored: Stored, policy: AccessPolicy | None) -> models.Coordinates | None:
    if stored.place is None or not _tells_places(policy):
        return None
    return models.Coordinates(latitude=stored.place[0], longitude=stored.place[1])


def folders(found: Folders, k: int) -> models.Folders:
    named = [models.NamedFolder(path=one.path, name=one.name, items=one.items) for one in found.below[:k]]
    return models.Folders(root=found.root, total=len(found.below), folders=named)


def explanation(found: results.Explanation) -> models.Explanation:
    return models.Explanation(
        kind=found.kind,
        sentence=found.sentence,
        text=database.clean(found.text),
        unread=database.clean(found.unread),
        probability=found.probability,
        score=float(found.score),
        parts=[
            models.Part(direction=part.direction, old_direction=part.direction, score=float(part.score))
            for part in found.parts
        ],
        regions=[box_of(box) for box in found.regions],
        phrases=list(found.phrases),
        heat=_rows(found.heat),
        words=[
            models.ExplainedWord(**_word(one.word), shares=list(one.shares), heat=_rows(one.heat))
            for one in found.words
        ],
    )


def _rows(heat: results.HeatMap) -> models.HeatMap:
    return [list(row) for row in heat]


def _word(word: results.WordFound) -> dict[str, Any]:
    return {
        "word": database.clean(word.word),
        "found": float(word.found),
        "level": _finite(word.level),
        "is_found": bool(word.is_found),
        "state": word.state,
        "probability": word.probability,
        "judged": word.judged,
        "known": word.known,
        "required": word.required,
        "weight": word.weight,
        "box": box_of(word.box) if word.box is not None else None,
        "phrase": database.clean(word.phrase),
    }


def box_of(box: Sequence[float]) -> models.Box:
    left, top, right, bottom = (float(side) for side in box)
    return left, top, right, bottom


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
