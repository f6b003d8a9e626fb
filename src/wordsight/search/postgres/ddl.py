"""Tables of an index on PostgreSQL, their migrations, and their distribution over Citus workers.

    state     the number of commits, counts, the description of the index: one row
    file      the saved model, as bytes: an index knows the model that made its vectors
    picture   one row per content, by the hash of its bytes
    item      one row per file (or text) with a content
    region    one row per vector of a picture, with its box
    note      calibration, recall and rules, with the number of the commit at which they were made

``picture``, ``item`` and ``region`` are distributed by picture and co-located: the facts, vectors and score
of a picture meet on one worker. The hash of the content is the key: two writers of one content agree.
"""

from typing import Any

from wordsight.search.remote.words import joined

VERSION = 3

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS {name};
SET LOCAL search_path = {name}, public;
CREATE TABLE state (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    generation bigint NOT NULL DEFAULT 0,
    meta jsonb NOT NULL,
    made timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE file (name text PRIMARY KEY, bytes bytea NOT NULL);
CREATE TABLE note (
    name text PRIMARY KEY, generation bigint NOT NULL, items bigint NOT NULL, value jsonb NOT NULL
);
CREATE TABLE picture (
    picture uuid PRIMARY KEY,
    slots integer NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    checksum bigint NOT NULL,
    taken bigint,
    camera text, -- NULL: the EXIF was not read
    latitude integer,
    longitude integer
);
CREATE SEQUENCE item_id;
CREATE TABLE item (
    id bigint NOT NULL DEFAULT nextval('item_id'),
    picture uuid NOT NULL REFERENCES picture,
    path bytea NOT NULL,
    part text NOT NULL,
    bytes bigint NOT NULL,
    changed bigint NOT NULL,
    sidecar_changed bigint NOT NULL,
    shown text NOT NULL,
    sidecar text NOT NULL,
    caption text NOT NULL,
    date bigint NOT NULL,
    words text[] NOT NULL, -- of path, sidecar and caption, in their order, with '' between these
    PRIMARY KEY (picture, id)
);
CREATE TABLE region (
    picture uuid NOT NULL REFERENCES picture ON DELETE CASCADE,
    slot integer NOT NULL,
    vector halfvec({dim}) NOT NULL,
    box halfvec(4),
    PRIMARY KEY (picture, slot)
);
ALTER TABLE region ALTER COLUMN vector SET STORAGE PLAIN;
CREATE INDEX item_by_id ON item (id);
CREATE INDEX item_by_path ON item (path, part);
CREATE INDEX item_by_date ON item (date);
CREATE INDEX item_by_words ON item USING gin (words);
"""

CITUS = """
SELECT create_distributed_table('picture', 'picture', shard_count := {shards});
SELECT create_distributed_table('item', 'picture', colocate_with := 'picture');
SELECT create_distributed_table('region', 'picture', colocate_with := 'picture');
"""
UNIQUE_PATHS = "CREATE UNIQUE INDEX item_of_path ON item (path, part);"  # Citus has none across shards

ITEMS_PER_STATEMENT = 5000


def create_sql(name: str, dim: int, shards: int = 0) -> str:
    """All statements that make an empty index; ``shards`` > 0 distributes it over Citus workers."""
    # PLAIN storage: a vector above 2,000 bytes would be moved out of its row and read by a second look-up,
    # but a row cannot exceed a page of 8,192 bytes
    schema = SCHEMA.format(name=name, dim=dim)
    if 2 * dim > 7_000:
        schema = schema.replace("ALTER TABLE region ALTER COLUMN vector SET STORAGE PLAIN;\n", "")
    return schema + (CITUS.format(shards=shards) if shards else UNIQUE_PATHS + "\n")


def migrate(connection: Any) -> None:
    """Bring older tables to VERSION, inside a transaction; another client's migration is waited for."""
    (version,) = connection.execute("SELECT version FROM state FOR UPDATE").fetchone()
    if version < 2:
        connection.execute(
            "ALTER TABLE picture ADD COLUMN camera text, ADD COLUMN latitude integer, "
            "ADD COLUMN longitude integer"
        )
    if version < 3:
        _order_words(connection)
    connection.execute("UPDATE state SET version = %s", (VERSION,))


def _order_words(connection: Any) -> None:
    """Store the words of items in their order, which phrases need."""
    page = "SELECT id, shown, sidecar, caption FROM item WHERE id > %s ORDER BY id LIMIT %s"
    update = """UPDATE item i SET words = string_to_array(n.words, ' ')
FROM unnest(%s::bigint[], %s::text[]) AS n(id, words) WHERE i.id = n.id"""
    last = 0
    while rows := connection.execute(page, (last, ITEMS_PER_STATEMENT)).fetchall():
        last = rows[-1][0]
        connection.execute(update, ([id_ for id_, *_ in rows], [joined(texts) for _, *texts in rows]))
