"""State of the app: the served indexes and the resources that the routes share."""

import logging
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from wordsight.search.index.picture_roots import PictureRoots
from wordsight.search.index.replaced import IndexReplaced
from wordsight.search.searcher import Searcher
from wordsight.search.searcher_state import SearchSession
from wordsight.web.batching import SharedScans
from wordsight.web.live_index import LiveIndex
from wordsight.web.metrics import Metrics
from wordsight.web.problems import Refused
from wordsight.web.security import AccessPolicy
from wordsight.web.worker_pool import WorkerPool

SEARCH_THREADS = 8  # simultaneous searches; several can share a scan
MAX_WAITING = 128
DRAWING_THREADS = 2  # for thumbnails, which never wait for searches
_log = logging.getLogger("wordsight.web")


@dataclass(eq=False)
class Library:
    """The served indexes: of pictures, of texts, or both."""

    images: Searcher | None
    texts: Searcher | None
    policy: AccessPolicy = field(default_factory=AccessPolicy)
    metrics: Metrics = field(default_factory=Metrics)
    scans: SharedScans = field(default_factory=SharedScans)
    search: WorkerPool = field(default_factory=lambda: WorkerPool(SEARCH_THREADS, MAX_WAITING))
    draw: WorkerPool = field(default_factory=lambda: WorkerPool(DRAWING_THREADS, 4 * MAX_WAITING))
    vision: WorkerPool = field(default_factory=lambda: WorkerPool(1, MAX_WAITING))  # loads vision models

    def __post_init__(self) -> None:
        for searcher in self.searchers:
            searcher.scan = self.scans
            searcher.sessions = LiveIndex(searcher)

    @property
    def searchers(self) -> list[Searcher]:
        return [searcher for searcher in (self.images, self.texts) if searcher is not None]

    @property
    def listed(self) -> Searcher:
        """The index whose items are listed: of pictures if there is one."""
        return self.searchers[0]

    def of_images(self) -> Searcher:
        if self.images is None:
            raise Refused(409, "no-pictures", _absent("pictures", "A search by sentence or picture"))
        return self.images

    def of_texts(self) -> Searcher:
        if self.texts is None:
            raise Refused(409, "no-texts", _absent("texts", "A search for sentences"))
        return self.texts

    def roots(self) -> PictureRoots:
        """Folders whose pictures may be opened."""
        return PictureRoots(self.of_images().index.folder, self.policy.roots)

    def prepare(self) -> None:
        """Load what answers sentences, and measure the background, before the first query."""
        for searcher in self.searchers:
            matcher = searcher.session().matcher.eval()
            len(matcher.tokenizer)  # an export opens it at its first use

    async def load_vision(self) -> None:
        """Load the vision models of all indexes, while sentences are answered."""
        for searcher in self.searchers:
            try:
                await self.reading_pictures(searcher)
            except Refused as error:
                _log.error("%s Sentences are answered all the same.", error.detail)

    async def reading_pictures(self, searcher: Searcher) -> None:
        """Wait until a searcher can read pictures, in no thread that a sentence needs. Raises Refused."""
        await self.vision(_load_vision, searcher)

    def reads_pictures(self) -> bool:
        """Whether the vision models of all indexes are loaded."""
        return all(searcher.session().matcher.is_complete() for searcher in self.searchers)

    def close(self) -> None:
        self.search.close()
        self.draw.close()
        self.vision.close()


def _load_vision(searcher: Searcher) -> None:
    try:
        searcher.session().matcher.build_all()
    except (Refused, IndexReplaced):  # the search itself says so, or begins again
        return
    except Exception as error:  # a missing package, a damaged file, too little memory
        message = f"The model that reads pictures cannot be loaded ({type(error).__name__}: {error})."
        raise Refused(503, "vision", message) from error


def _absent(kind: str, purpose: str) -> str:
    return (
        f"{purpose} needs an index of {kind}, and none is served; "
        f"start the server with one: wordsight serve INDEX {kind.upper()}.index."
    )


def row_of(session: SearchSession, id: int) -> int:
    """Row of an item. Raises MissingItemError for an unknown one."""
    row: int = session.snapshot.row_of(id)
    return row


async def _library(request: Request) -> Library:
    found: Library = request.app.state.library
    return found


Served = Annotated[Library, Depends(_library)]
