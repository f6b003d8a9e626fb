"""The address of an index -> its collections on Qdrant, its notes and files, and errors in plain words.

A folder (qdrant+file://) is open in one process at a time, and only while it is used; all threads share it.
"""

import base64
import json
import os
import threading
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordsight.errors import InputError, UnavailableError
from wordsight.search.qdrant.address import KEY, QdrantUrl, need_client
from wordsight.search.remote.saved_model import md5

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

META = "meta.json"  # in every folder of Qdrant's client
SECONDS = 60  # that a request may take
PAGE_POINTS = 1000
STATE, GENERATION, FILE = "state", "generation", "file"
_NAMES = uuid.UUID("6f1ed3b1-4f43-4b16-9f58-6a1f6c1c7f51")  # of the ids of notes


class _Shared:
    """The client of one location in this process."""

    def __init__(self) -> None:
        self.lock, self.users = threading.RLock(), 0
        self.client: QdrantClient | None = None


_shared: dict[tuple[int, str], _Shared] = {}  # by process, for a forked one must not use another's client
_guard = threading.Lock()


class Store:
    """The collections of one index: its items with their vectors, and its notes."""

    def __init__(self, url: QdrantUrl) -> None:
        need_client()
        self.url = url
        self.items, self.notes = url.name, f"{url.name}-notes"

    @property
    def name(self) -> str:
        """The address, as messages show it."""
        return self.url.text

    @contextmanager
    def opened(self) -> "Iterator[tuple[QdrantClient, threading.RLock]]":
        """The client, which stays open for the block."""
        with _guard:
            shared = _shared.setdefault((os.getpid(), self.url.location), _Shared())
        with shared.lock:
            if shared.client is None:
                with self._explained():
                    shared.client = _connected(self.url)
            client = shared.client
            shared.users += 1
        try:
            yield client, shared.lock
        finally:
            with shared.lock:
                shared.users -= 1
                if self.url.is_file and not shared.users:
                    client.close()
                    shared.client = None

    @contextmanager
    def client(self) -> "Iterator[QdrantClient]":
        """The client for some requests. Raises UnavailableError, InputError."""
        with self.opened() as (client, lock), self._explained():
            if self.url.is_file:  # the client in this process serves one thread at a time
                with lock:
                    yield client
            else:
                yield client

    def is_there(self) -> bool:
        """Whether there is a complete index."""
        with self.client() as client:
            return bool(client.collection_exists(self.notes)) and self.note(STATE) is not None

    def points(
        self, condition: "models.Filter | None", payload: bool | list[str], vectors: bool = False
    ) -> "Iterator[models.Record]":
        """Items that pass a condition, in the order of their ids."""
        after: Any = None
        while True:
            with self.client() as client:
                found, after = client.scroll(
                    self.items, condition, limit=PAGE_POINTS, offset=after, with_payload=payload,
                    with_vectors=vectors,
                )  # fmt: skip
            yield from found
            if after is None:
                return

    def note(self, name: str) -> Any:
        """The value of a note; None if there is none."""
        return self.some_notes([name]).get(name)

    def some_notes(self, names: Sequence[str]) -> dict[str, Any]:
        """The values of those notes that are there."""
        with self.client() as client:
            found = client.retrieve(self.notes, [_id(name) for name in names])
        return {one.payload["name"]: json.loads(one.payload["value"]) for one in found if one.payload}

    def write_note(self, name: str, value: Any) -> None:
        self._upsert_note(name, {"value": json.dumps(value)})

    def _upsert_note(self, name: str, payload: dict[str, Any]) -> None:
        from qdrant_client import models

        with self.client() as client:
            point = models.PointStruct(id=_id(name), vector={}, payload={"name": name} | payload)
            client.upsert(self.notes, [point], wait=True)

    def sums(self) -> dict[str, str]:
        """The MD5 of every piece of the model's files."""
        with self.client() as client:
            found, after = [], None
            while True:
                some, after = client.scroll(
                    self.notes, is_file(), limit=PAGE_POINTS, offset=after, with_payload=["piece", "md5"]
                )
                found += [(one.payload["piece"], one.payload["md5"]) for one in some if one.payload]
                if after is None:
                    return dict(found)

    def read(self, piece: str) -> bytes:
        with self.client() as client:
            found = client.retrieve(self.notes, [_id(f"{FILE} {piece}")], with_payload=["data"])
        if not found or not found[0].payload:
            raise InputError(f"the model in {self.name} is damaged: {piece} is missing")
        return base64.b64decode(found[0].payload["data"])

    def write_files(self, pieces: Iterable[tuple[str, bytes]]) -> None:
        """Store the model's files in place of earlier ones."""
        from qdrant_client import models

        with self.client() as client:
            client.delete(self.notes, models.FilterSelector(filter=is_file()), wait=True)
        for piece, data in pieces:
            text = base64.b64encode(data).decode()
            self._upsert_note(
                f"{FILE} {piece}", {"kind": FILE, "piece": piece, "md5": md5(data), "data": text}
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

        try:
            yield
        except ResponseHandlingException as error:
            raise UnavailableError(
                f"{self.url} does not answer: {error}", "check that the server runs, and the address"
            ) from None
        except UnexpectedResponse as error:
            raise self._refused(error) from None
        except ValueError as error:
            if not str(error).startswith("Collection "):
                raise
            raise self.absent() from None
        except RuntimeError as error:
            if "already accessed" not in str(error):
                raise
            raise UnavailableError(
                f"{self.url} is in use by another process",
                "wait, or start a Qdrant server, which serves any number: qdrant://HOST:6333",
            ) from None

    def _refused(self, error: Any) -> Exception:
        if error.status_code in (401, 403):
            return UnavailableError(f"{self.url} refuses this key", f"set {KEY} to a key that may write")
        if error.status_code == 404:
            return self.absent()
        reason = " ".join(str(error).split())[:300]
        return UnavailableError(f"{self.url} answered {error.status_code}: {reason}")

    def absent(self) -> InputError:
        """The error for an address without an index."""
        return InputError(
            f"{self.url} holds no index", f"make one: wordsight index FOLDER --model MODEL --out '{self.url}'"
        )


def is_file() -> "models.Filter":
    """The condition for notes that are pieces of files."""
    from qdrant_client import models

    return models.Filter(must=[models.FieldCondition(key="kind", match=models.MatchValue(value=FILE))])


def _connected(url: QdrantUrl) -> "QdrantClient":
    from qdrant_client import QdrantClient

    if url.is_file:
        folder = Path(url.location)
        if folder.exists() and not (folder / META).is_file() and (folder.is_file() or any(folder.iterdir())):
            raise InputError(f"{folder} holds other files", "name a folder that is empty or not there yet")
        return QdrantClient(path=url.location, force_disable_check_same_thread=True)
    with warnings.catch_warnings(action="ignore"):  # of a key without TLS, which docs/scale.md names
        return QdrantClient(url=url.location, api_key=url.key, timeout=SECONDS, check_compatibility=False)


def _id(name: str) -> str:
    return str(uuid.uuid5(_NAMES, name))
