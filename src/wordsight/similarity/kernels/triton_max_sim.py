"""MaxSim in one pass on a GPU: products, maximum over a context, and where it is; no cosine is ever stored.

Written in Triton, so it is compiled for the GPU at hand at its first use. ``TRITON_INTERPRET=1`` runs the
same programs on a processor, slowly: the tests do so. The vectors of contexts and of queries come packed, one
after another, without padding; a tile of context rows holds whole contexts, as many as fit, and a tile of
query rows whole queries.
"""

# mypy: disable-error-code="untyped-decorator,no-untyped-def"
import triton
import triton.language as tl

from wordsight.similarity.kernels.triton_tiles import (
    members_of_tile,
    rows_of_member,
    store_pooled,
    tile_products,
    tiles_of_program,
)


@triton.jit
def best_match_program(
    contexts, queries, found, places,
    tile_first, tile_last, starts,
    TILES, QUERY_ROWS, DIM,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """found[c, q] = max over the rows r of context c of contexts[r] . queries[q]; places: the first such r.

    One program: the contexts ``tile_first`` to ``tile_last`` of one tile, whose rows are at most BM, with BN
    query rows.
    """
    tile, other = tiles_of_program(TILES)
    first, last, base, end = members_of_tile(tile_first, tile_last, starts, tile)
    row, query = tl.arange(0, BM), other.to(tl.int64) * BN + tl.arange(0, BN)
    products = tile_products(
        contexts, base + row, row < end - base, queries, query, query < QUERY_ROWS,
        DIM, BM, BN, BK, WIDE, PRECISION,
    )  # fmt: skip
    for number in range(0, last - first):
        context = first + number
        inside = rows_of_member(starts, context, base, row)
        values = tl.where(inside[:, None], products, float("-inf"))
        best = tl.max(values, 0)
        where = context.to(tl.int64) * QUERY_ROWS + query
        tl.store(found + where, best, mask=query < QUERY_ROWS)
        begin = tl.load(starts + context) - base
        own = tl.where(inside[:, None] & (values == best[None, :]), (row - begin)[:, None], BM)
        tl.store(places + where, tl.min(own, 0).to(places.dtype.element_ty), mask=query < QUERY_ROWS)


@triton.jit
def score_program(
    contexts, queries, scores,
    tile_first, tile_last, starts, order,
    query_first, query_last, query_starts, query_order,
    TILES, QUERIES, DIM, temperature,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, CONTEXTS: tl.constexpr,
    POOL: tl.constexpr, SCALED: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """scores[c, t] = pooling, over the rows of query t, of their best products with context c.

    One program: the contexts of one tile, CONTEXTS at most, with the queries of another. ``order`` and
    ``query_order`` say where each stands in ``scores``. POOL: 0 mean, 1 sum, 2 max, 3 log-sum-exp, 4 softmax.
    """
    tile, other = tiles_of_program(TILES)
    first, last, base, end = members_of_tile(tile_first, tile_last, starts, tile)
    begins, ends, query_base, query_end = members_of_tile(query_first, query_last, query_starts, other)
    row, query = tl.arange(0, BM), query_base + tl.arange(0, BN)
    products = tile_products(
        contexts, base + row, row < end - base, queries, query, query < query_end,
        DIM, BM, BN, BK, WIDE, PRECISION,
    )  # fmt: skip
    member = tl.arange(0, CONTEXTS)
    found = tl.full((CONTEXTS, BN), float("-inf"), tl.float32)
    for number in range(0, last - first):
        inside = rows_of_member(starts, first + number, base, row)
        best = tl.max(tl.where(inside[:, None], products, float("-inf")), 0)
        found = tl.where(member[:, None] == number, best[None, :], found)
    store_pooled(
        found, scores, order + first, last - first, query_starts + begins, query_order + begins,
        ends - begins, QUERIES, temperature, BN, CONTEXTS, POOL, SCALED,
    )  # fmt: skip


@triton.jit
def query_gradient_program(
    contexts, starts, gradient, places, totals,
    CONTEXTS, QUERY_ROWS, DIM,
    BQ: tl.constexpr, BR: tl.constexpr, BD: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """totals[q] = sum over contexts c of gradient[c, q] x the row of c at places[c, q].

    Each context is a product with a matrix that holds the gradients at their places; one without is skipped.
    """
    query = tl.program_id(0).to(tl.int64) * BQ + tl.arange(0, BQ)
    column = tl.program_id(1) * BD + tl.arange(0, BD)
    real, inside = query < QUERY_ROWS, column < DIM
    total = tl.zeros((BQ, BD), tl.float32)
    for context in range(0, CONTEXTS):
        weight = tl.load(gradient + query, mask=real, other=0.0)
        if tl.max(tl.abs(weight), 0) > 0:
            place = tl.load(places + query, mask=real, other=0).to(tl.int32)
            begin, stop = tl.load(starts + context), tl.load(starts + context + 1)
            for first in range(0, stop - begin, BR):
                row = first + tl.arange(0, BR)
                at_place = tl.where(place[:, None] == row[None, :], weight[:, None], 0.0)
                rows = tl.load(
                    contexts + (begin + row).to(tl.int64)[:, None] * DIM + column[None, :],
                    mask=(row < stop - begin)[:, None] & inside[None, :], other=0.0,
                ).to(tl.float32)  # fmt: skip
                total = tl.dot(at_place, rows, total, input_precision=PRECISION)
        gradient += QUERY_ROWS  # the next context's line
        places += QUERY_ROWS
    tl.store(totals + query[:, None] * DIM + column[None, :], total, mask=real[:, None] & inside[None, :])


@triton.jit
def context_gradient_program(
    queries, starts, gradient, places, totals,
    QUERY_ROWS, DIM,
    BQ: tl.constexpr, BR: tl.constexpr, BD: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """totals[r] = sum of gradient[c, q] x queries[q] over the query rows q whose place in c is row r."""
    context = tl.program_id(0)
    begin, stop = tl.load(starts + context), tl.load(starts + context + 1)
    column = tl.program_id(1) * BD + tl.arange(0, BD)
    inside = column < DIM
    line = context.to(tl.int64) * QUERY_ROWS
    for first in range(0, stop - begin, BR):
        row = first + tl.arange(0, BR)
        total = tl.zeros((BR, BD), tl.float32)
        for other in range(0, QUERY_ROWS, BQ):
            query = other + tl.arange(0, BQ)
            real = query < QUERY_ROWS
            weight = tl.load(gradient + line + query, mask=real, other=0.0)
            if tl.max(tl.abs(weight), 0) > 0:
                place = tl.load(places + line + query, mask=real, other=0).to(tl.int32)
                at_place = tl.where(place[None, :] == row[:, None], weight[None, :], 0.0)
                rows = tl.load(
                    queries + query.to(tl.int64)[:, None] * DIM + column[None, :],
                    mask=real[:, None] & inside[None, :], other=0.0,
                ).to(tl.float32)  # fmt: skip
                total = tl.dot(at_place, rows, total, input_precision=PRECISION)
        tl.store(
            totals + (begin + row).to(tl.int64)[:, None] * DIM + column[None, :], total,
            mask=(row < stop - begin)[:, None] & inside[None, :],
        )  # fmt: skip
