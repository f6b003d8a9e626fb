"""SQL gives the model's own scores, and uses the approximate index for candidates."""

from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest
import torch
from support import postgres_server
from support.search_models import model

from wordsight.errors import StorageError
from wordsight.search.index.database import Filters
from wordsight.search.index.vector_files import Packed
from wordsight.search.postgres import engines, near_index, recall
from wordsight.search.postgres.batch import write_batch
from wordsight.search.postgres.conditions import conditions
from wordsight.search.postgres.engines import Effort
from wordsight.search.postgres.halfvec import places_and_vectors, regions_to_copy
from wordsight.search.postgres.index import PostgresIndex
from wordsight.search.postgres.score_sql import Words, exact_statement, mean_sql, pooled_sql, ranked_statement
from wordsight.search.postgres.session import PostgresSession
from wordsight.search.remote.batch_rows import ItemRow, PictureRow
from wordsight.search.remote.words import words_in
from wordsight.search.searcher_state import new_session
from wordsight.sets import EmbeddingSet
from wordsight.similarity.pooling import LogSumExp, Max, Mean, Pooling, Softmax, Sum

PICTURES, SLOTS, DIM = 3000, 5, 16
ALL = conditions(None)
POOLINGS = (
    Mean(), Sum(), Max(), LogSumExp(0.1), LogSumExp(0.001), LogSumExp(0.05, scaled=False), Softmax(0.1),
)  # fmt: skip


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    draw = np.random.default_rng(0)
    found = (
        draw.normal(size=(PICTURES, SLOTS, DIM))
        + 2 * draw.normal(size=(40, DIM))[draw.integers(40, size=(PICTURES, SLOTS))]
    )
    unit = found / np.linalg.norm(found, axis=2, keepdims=True)
    return unit.astype("<f2")


@pytest.fixture(scope="module")
def filled(vectors: np.ndarray) -> PostgresIndex:
    """An index of drawn vectors with an approximate index."""
    made = PostgresIndex.create(postgres_server.new_url("scores"), model("max-sim"))
    names = [UUID(int=n + 1).hex for n in range(PICTURES)]
    pictures = [PictureRow(name, SLOTS, 1, 1, 0, None) for name in names]
    items = [
        ItemRow(None, name, b"/p/%05d.png" % n, "", n, n, 0, f"/p/{n:05}.png", "", "odd" if n % 2 else "even")
        for n, name in enumerate(names)
    ]
    write_batch(
        made.server, pictures, [Packed({"vectors": vectors.reshape(-1, DIM)}, [SLOTS] * PICTURES)], items, []
    )
    near_index.build(made.server, PICTURES * SLOTS, DIM)
    return made


def query() -> Words:
    drawn = np.random.default_rng(1).normal(size=(3, DIM)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return Words.of(drawn[[0, 1, 2, 1]])  # one word counts twice


def by_torch(vectors: np.ndarray, words: Words, pooling: Pooling) -> np.ndarray:
    stored = torch.nn.functional.normalize(torch.from_numpy(vectors.astype(np.float64)), dim=-1)
    cosines = stored @ torch.from_numpy(words.vectors.astype(np.float64)).T
    return pooling(cosines.amax(1).repeat_interleave(torch.from_numpy(words.weights), 1)).numpy()


@pytest.mark.parametrize(
    "pooling", POOLINGS, ids=lambda one: f"{type(one).__name__}{vars(one).get('temperature', '')}"
)
def test_a_score_in_sql_is_the_model_s(filled: PostgresIndex, vectors: np.ndarray, pooling: Pooling) -> None:
    words, sql = query(), pooled_sql(pooling)
    assert sql is not None
    found = sorted(filled.server.rows(exact_statement(words, sql, ALL), words.parameters()))
    expected = by_torch(vectors, words, pooling)
    assert [score for _, score in found] == pytest.approx(expected.tolist(), abs=2e-6, rel=2e-6)


def test_an_own_pooling_is_left_to_the_model() -> None:
    class Own(Mean):
        pass

    assert pooled_sql(Own()) is None
    assert pooled_sql(None) is None


def test_candidates_come_from_the_approximate_index(filled: PostgresIndex) -> None:
    words = query()
    statement = ranked_statement(words, mean_sql, ALL)
    with filled.server.transaction() as connection:
        near_index.set_probes(connection, near_index.read(filled.server))
        rows = connection.execute(
            f"EXPLAIN {statement}", words.parameters() | {"k": 50, "size": 20}
        ).fetchall()
    plan = "\n".join(line for (line,) in rows)
    assert plan.count(f"Index Scan using {near_index.NAME}") == len(words)


@pytest.mark.parametrize(
    "pooling", [Mean(), LogSumExp(0.1), Sum(), Max()], ids=lambda one: type(one).__name__
)
def test_all_lists_and_regions_give_the_exact_best(
    filled: PostgresIndex, vectors: np.ndarray, pooling: Pooling
) -> None:
    words, sql = query(), pooled_sql(pooling)
    assert sql is not None
    near = near_index.read(filled.server)
    assert near is not None
    everything = replace(near, lists=near.lists**2)  # the square root of these are all
    with filled.server.transaction() as connection:
        near_index.set_probes(connection, everything)
        parameters = words.parameters() | {"k": PICTURES * SLOTS, "size": 300}
        found = connection.execute(ranked_statement(words, sql, ALL), parameters).fetchall()
    best = np.argsort(-by_torch(vectors, words, pooling), kind="stable")[:10] + 1
    assert set(best.tolist()) <= {row for row, _ in found}


@pytest.mark.parametrize("text", ["odd", "even"])
def test_a_filter_comes_before_the_candidates(filled: PostgresIndex, text: str) -> None:
    """Every candidate passes it, also where few do."""
    words = query()
    few = Filters(text=text, ids=range(100, 120))
    condition = conditions(few)
    with filled.server.transaction() as connection:
        near_index.set_probes(connection, near_index.read(filled.server))
        statement = ranked_statement(words, mean_sql, condition)
        found = connection.execute(
            statement, words.parameters() | condition[1] | {"k": 50, "size": 300}
        ).fetchall()
    expected = {row for row in range(100, 120) if (row - 1) % 2 == (text == "odd")}
    assert {row for row, _ in found} == expected


def build_with_little_memory(made: PostgresIndex, lists: int, megabytes: int) -> None:
    with made.server.connection() as connection:
        connection.execute(f"SET maintenance_work_mem = '{64 + 2048 * megabytes}kB'")
        build = f"CREATE INDEX ON region USING ivfflat (vector halfvec_ip_ops) WITH (lists = {lists})"
        connection.execute(build)


@pytest.mark.parametrize("lists", [300, 1300])
def test_enough_memory_is_set_for_the_build(filled: PostgresIndex, lists: int) -> None:
    """pgvector says how much it needs when it has too little."""
    required = 0
    for _ in range(2):  # for the samples, and then for their clusters
        with pytest.raises(StorageError, match="has a limit: memory required is") as refused:
            build_with_little_memory(filled, lists, required)
        required = int(str(refused.value).partition("is ")[2].split()[0])
    assert required <= near_index.build_megabytes(lists, DIM, PICTURES * SLOTS) <= 1.2 * required + 65


def test_lists_fit_into_the_memory_of_their_build() -> None:
    assert near_index.lists_for(320_000) == 320
    assert near_index.lists_for(1_600_000) == 1264
    for regions in (10**7, 10**8, 10**9, 10**11):
        for megabytes in (256, 2048, 64 << 10):
            lists = near_index.lists_for(regions, megabytes)
            assert near_index.build_megabytes(lists, 256, regions) < 1.6 * megabytes + 65
            assert lists <= 32_768  # pgvector accepts no more


def test_the_least_sufficient_effort_is_measured(
    filled: PostgresIndex, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = new_session(filled, 64, (0.01, 0.01))
    assert isinstance(session, PostgresSession)
    drawn = np.random.default_rng(3).normal(size=(4, 3, DIM)).astype(np.float32)
    queries = [EmbeddingSet(torch.from_numpy(one[None]), torch.ones(1, 3, dtype=torch.bool)) for one in drawn]
    everything = Effort(PICTURES * SLOTS, 1e6)
    monkeypatch.setattr(
        engines, "MIN_NEAREST", 1
    )  # one region a word: three pictures of the ten best at most
    monkeypatch.setattr(recall, "LADDER", (Effort(1, 0), everything, Effort(PICTURES * SLOTS, 2e6)))
    measured = session.measure_recall(queries)
    assert (measured.effort, measured.recall, measured.queries) == (everything, 1.0, 4)
    again = new_session(filled, 64, (0.01, 0.01))
    assert again.nearest_recall == measured
    monkeypatch.setattr(recall, "LADDER", (Effort(200, 1), Effort(1, 0)))
    monkeypatch.setattr(recall, "SUFFICIENT_RECALL", 1.1)
    assert session.measure_recall(queries).effort == Effort(200, 1)  # the best, where none suffices


def test_regions_survive_the_binary_format(vectors: np.ndarray) -> None:
    boxes = np.random.default_rng(2).random((6, 4)).astype("<f2")
    sent = regions_to_copy([UUID(int=1).hex, UUID(int=2).hex], [2, 4], vectors.reshape(-1, DIM)[:6], boxes)
    filled_url = postgres_server.new_url("copy")
    import psycopg

    with psycopg.connect(filled_url.conninfo, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute(
            f"CREATE TEMP TABLE r (picture uuid, slot int, vector halfvec({DIM}), box halfvec(4))"
        )
        with connection.cursor().copy("COPY r FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(sent)
        back = (
            "COPY (SELECT slot::bigint, vector, box FROM r ORDER BY picture, slot) TO STDOUT (FORMAT BINARY)"
        )
        with connection.cursor().copy(back) as copy:
            slots, numbers, read_boxes = places_and_vectors(b"".join(map(bytes, copy)), DIM)
    assert slots.tolist() == [0, 1, 0, 1, 2, 3]
    assert np.array_equal(numbers, vectors.reshape(-1, DIM)[:6])
    assert np.array_equal(read_boxes, boxes)


def test_words_are_without_case_accents_and_signs() -> None:
    assert words_in("Ein CAFÉ, am_Ufer: 2nd Straße") == ["2nd", "am", "cafe", "ein", "strasse", "ufer"]
