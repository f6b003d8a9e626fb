"""Filters of a search -> conditions of Qdrant; folders are chosen among those that the index has."""

import os
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

from wordsight.search.index.database import Filters
from wordsight.search.index.filter_sql import camera_words
from wordsight.search.qdrant.points import composed
from wordsight.search.remote.words import phrases_in

if TYPE_CHECKING:
    from qdrant_client import models


def conditions(
    filters: Filters | None, folders: Iterable[str] = (), cameras: Iterable[str] = ()
) -> "models.Filter | None":
    """The condition on items; ``folders``, ``cameras``: those of the index. None: all items pass.

    The words of a phrase must all be there; in which order, Qdrant does not know.
    """
    from qdrant_client import models

    filters = filters or Filters()
    must: list[Any] = []
    if filters.folder is not None:
        must.append(one_of("folder", [one for one in folders if is_inside(one, filters.folder)]))
    if filters.after is not None or filters.before is not None:
        within = models.Range(gte=filters.after, lt=filters.before)
        must.append(models.FieldCondition(key="date", range=within))
    if filters.min_bytes is not None:
        least = models.Range(gte=min(filters.min_bytes, 2**63 - 1))
        must.append(models.FieldCondition(key="bytes", range=least))
    if filters.text is not None and filters.text.strip():
        words = sorted({*chain(*phrases_in(filters.text))})
        must += [equal("words", word) for word in words] or [nothing()]
    if filters.camera is not None:
        words = camera_words(filters.camera)
        must.append(one_of("camera", [one for one in cameras if all(w in one.lower() for w in words)]))
    if filters.near is not None:
        north, east, kilometres = filters.near
        circle = models.GeoRadius(center=models.GeoPoint(lat=north, lon=east), radius=1000 * kilometres)
        must.append(models.FieldCondition(key="place", geo_radius=circle))
    if filters.ids is not None:
        must.append(models.HasIdCondition(has_id=list(map(int, filters.ids))))
    return models.Filter(must=must) if must else None


def equal(key: str, value: str) -> "models.FieldCondition":
    from qdrant_client import models

    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def one_of(key: str, values: list[str]) -> Any:
    """The condition that a field has one of these values; without values nothing passes."""
    from qdrant_client import models

    if not values:
        return nothing()
    return models.FieldCondition(key=key, match=models.MatchAny(any=values))


def nothing() -> Any:
    """The condition that no item passes."""
    from qdrant_client import models

    return models.HasIdCondition(has_id=[])


def is_inside(folder: str, wanted: str) -> bool:
    """Whether a folder is the wanted one or below it; a relative name may stand anywhere in the path."""
    name = os.path.expanduser(wanted.replace("\0", "").replace("/", os.sep))
    here = composed(folder).rstrip(os.sep) + os.sep
    if os.path.isabs(name):
        return here.startswith(composed(os.path.abspath(name)).rstrip(os.sep) + os.sep)
    return composed(os.sep + name.strip(os.sep) + os.sep) in here
