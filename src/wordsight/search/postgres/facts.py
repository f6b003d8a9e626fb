"""Facts and files of an index on PostgreSQL, read and written by an update."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from wordsight.read.pictures.photo_facts import PhotoFacts
from wordsight.search.index import database
from wordsight.search.index.vector_files import Packed
from wordsight.search.postgres.batch import write_batch
from wordsight.search.postgres.server import Server
from wordsight.search.remote.batch_rows import ItemRow, PictureRow

PAGE_ROWS = 5000  # rows that are fetched together
_ITEMS = """
SELECT i.id, i.path, i.part, i.picture, i.bytes, i.changed, i.sidecar_changed, i.shown, i.sidecar, i.caption,
  p.slots, p.width, p.height, p.checksum, p.taken, p.camera, p.latitude, p.longitude
FROM item i JOIN picture p USING (picture)
WHERE i.id > %(after)s AND ({below}) ORDER BY i.id LIMIT %(count)s"""


class PostgresFacts:
    """Facts of the items on the server."""

    def __init__(self, server: Server) -> None:
        self.server, self.name = server, server.url.text

    def below(self, sources: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
        """Facts of the items at and below these paths."""
        bounds = [(one, *database.below(one)) for one in sources]
        below = " OR ".join(
            f"i.path = %(p{n})s OR (i.path >= %(a{n})s AND i.path < %(b{n})s)" for n in range(len(bounds))
        )
        named: dict[str, Any] = {"after": 0, "count": PAGE_ROWS}
        for n, three in enumerate(bounds):
            named |= dict(zip((f"p{n}", f"a{n}", f"b{n}"), three, strict=True))
        while page := self.server.rows(_ITEMS.format(below=below or "false"), named):
            for id_, path, part, picture, *fields in page:
                yield (id_, bytes(path), part, picture.hex, *fields)
            named["after"] = page[-1][0]

    def write(
        self,
        pictures: Sequence[PictureRow],
        packed: Sequence[Packed],
        items: Sequence[ItemRow],
        deleted: Sequence[int],
        facts: Sequence[tuple[str, PhotoFacts]] = (),
    ) -> list[int]:
        return write_batch(self.server, pictures, packed, items, deleted, facts)


class PostgresFiles:
    """The model of an index, in pieces that fit into one message."""

    def __init__(self, server: Server) -> None:
        self.server, self.name = server, server.url.text

    def sums(self) -> dict[str, str]:
        return dict(self.server.rows("SELECT name, md5(bytes) FROM file"))

    def read(self, piece: str) -> bytes:
        return bytes(self.server.value("SELECT bytes FROM file WHERE name = %s", (piece,)))

    def write_files(self, pieces: Iterable[tuple[str, bytes]]) -> None:
        """Store the model's files in place of earlier ones."""
        with self.server.transaction() as connection:
            connection.execute("DELETE FROM file")
            for piece in pieces:
                connection.execute("INSERT INTO file VALUES (%s, %s)", piece)
