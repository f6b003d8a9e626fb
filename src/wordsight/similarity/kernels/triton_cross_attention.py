"""Cross attention (SCAN) on a GPU: cosines, softmax and cosine with the blend in one pass; its gradient.

The blend of a word is never made: its length comes from the Gram matrix of the context's rows, which are
packed: that of context c begins at gram_starts[c], line after line. Tiles are those of ``triton_max_sim``:
whole contexts, ``owners`` says whose each row is, with whole queries. The normalizations are
``raw_feature_norm`` of SCAN: NORM 0 none, 1 l2, 2 l1, 3 softmax, each over the rows of one query; CLIPPED:
after a leaky ReLU of slope 0.1.
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

EPSILON = tl.constexpr(1e-8)  # as in ``packed.py``
SLOPE = tl.constexpr(0.1)


@triton.jit
def attention_program(
    contexts, queries, grams, factors, found, scores,
    tile_first, tile_last, starts, owners, gram_starts, order,
    query_first, query_last, query_starts, query_order,
    TILES, QUERIES, QUERY_ROWS, DIM, temperature, pool_temperature,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BG: tl.constexpr, CONTEXTS: tl.constexpr,
    NORM: tl.constexpr, CLIPPED: tl.constexpr, POOL: tl.constexpr, SCALED: tl.constexpr,
    WIDE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """found[c, q] = how well query row q finds itself in its blend of the rows of context c, x factors[q].

    With POOL (``store_pooled``) only scores[c, t], their pooling over the rows of query t, is written; with
    POOL = -1 only ``found``.
    """
    tile, other = tiles_of_program(TILES)
    first, last, base, end = members_of_tile(tile_first, tile_last, starts, tile)
    begins, ends, query_base, query_end = members_of_tile(query_first, query_last, query_starts, other)
    row, query = tl.arange(0, BM), query_base + tl.arange(0, BN)
    products, _, shares, blended = _attention(
        contexts, queries, grams, starts, owners, gram_starts, first, last, base, end,
        query_starts + begins, ends - begins, query_base, query_end, DIM, temperature,
        BM, BN, BK, BG, NORM, CLIPPED, WIDE, PRECISION,
    )  # fmt: skip
    factor = tl.load(factors + query, mask=query < query_end, other=0.0)
    member = tl.arange(0, CONTEXTS)
    every = tl.zeros((CONTEXTS, BN), tl.float32)
    for number in range(0, last - first):
        inside = rows_of_member(starts, first + number, base, row)[:, None]
        along, square = _along_and_square(inside, shares, products, blended)
        value = factor * along / tl.sqrt(tl.maximum(square, EPSILON * EPSILON))
        if POOL < 0:
            line = (first + number).to(tl.int64) * QUERY_ROWS
            tl.store(found + line + query, value, mask=query < query_end)
        else:
            every = tl.where(member[:, None] == number, value[None, :], every)
    if POOL >= 0:
        store_pooled(
            every, scores, order + first, last - first, query_starts + begins, query_order + begins,
            ends - begins, QUERIES, pool_temperature, BN, CONTEXTS, POOL, SCALED,
        )  # fmt: skip


@triton.jit
def attention_gradient_program(
    contexts, queries, grams, gradient, for_products, attention, for_squares,
    tile_first, tile_last, starts, owners, gram_starts, query_first, query_last, query_starts,
    TILES, START, QUERY_ROWS, DIM, temperature,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BG: tl.constexpr,
    NORM: tl.constexpr, CLIPPED: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """From the gradient of found to those of the products and of the blends' squared lengths; and the shares.

    ``gradient`` and ``for_squares`` have a line per context, ``for_products`` and ``attention`` a line per
    row of a context; the first line is that of context START. A tile without a gradient is zeros.
    """
    tile, other = tiles_of_program(TILES)
    first, last, base, end = members_of_tile(tile_first, tile_last, starts, tile)
    begins, ends, query_base, query_end = members_of_tile(query_first, query_last, query_starts, other)
    row, query = tl.arange(0, BM), query_base + tl.arange(0, BN)
    real = query < query_end
    lines = (first - START).to(tl.int64) * QUERY_ROWS + query  # of the tile's first context
    shares = tl.zeros((BM, BN), tl.float32)
    back = tl.zeros((BM, BN), tl.float32)
    if _clear_squares(gradient + lines, for_squares + lines, last - first, real, QUERY_ROWS, BN) > 0:
        products, normalized, shares, blended = _attention(
            contexts, queries, grams, starts, owners, gram_starts, first, last, base, end,
            query_starts + begins, ends - begins, query_base, query_end, DIM, temperature,
            BM, BN, BK, BG, NORM, CLIPPED, WIDE, PRECISION,
        )  # fmt: skip
        for_logits, back = _before_shares(
            gradient + lines, for_squares + lines, products, shares, blended, row, real,
            starts, first, last, base, QUERY_ROWS, BM, BN,
        )  # fmt: skip
        back += _before_normalized(
            products, normalized, for_logits / temperature, query - query_base, query_starts + begins,
            ends - begins, NORM, CLIPPED, BM, BN,
        )  # fmt: skip
    where = (base - tl.load(starts + START) + row)[:, None] * QUERY_ROWS + query[None, :]
    inside = (row < end - base)[:, None] & real[None, :]
    tl.store(for_products + where, back, mask=inside)
    tl.store(attention + where, shares, mask=inside)


@triton.jit
def _attention(
    contexts, queries, grams, starts, owners, gram_starts, first, last, base, end,
    query_starts, members, query_base, query_end, DIM, temperature,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BG: tl.constexpr,
    NORM: tl.constexpr, CLIPPED: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Compute products of two tiles, these normalized, shares, and each row's product with its blend.

    ``query_starts`` begins at the first of the ``members`` of the tile of queries.
    """
    row, column = tl.arange(0, BM), tl.arange(0, BN)
    query = query_base + column
    products = tile_products(
        contexts, base + row, row < end - base, queries, query, query < query_end,
        DIM, BM, BN, BK, WIDE, PRECISION,
    )  # fmt: skip
    normalized = _normalized(products, column, query_starts, members, NORM, CLIPPED, BM, BN)
    shares = _shares(normalized / temperature, row, starts, first, last, base, BM, BN)
    blended = _gram_products(
        shares, grams, gram_starts, owners, starts, base, row, end - base, BM, BN, BG, PRECISION
    )
    return products, normalized, shares, blended


@triton.jit
def _along_and_square(inside, shares, products, blended):
    """Each query row's product with its blend of one context's rows, and the blend's squared length."""
    along = tl.sum(tl.where(inside, shares * products, 0.0), 0)
    return along, tl.sum(tl.where(inside, shares * blended, 0.0), 0)


@triton.jit
def _clear_squares(gradient, for_squares, contexts, real, QUERY_ROWS, BN: tl.constexpr):
    """Write zeros to ``for_squares``, a line per context; return the largest absolute gradient."""
    largest = 0.0
    for number in range(0, contexts):
        line = number * QUERY_ROWS
        arriving = tl.load(gradient + line, mask=real, other=0.0)
        largest = tl.maximum(largest, tl.max(tl.abs(arriving), 0))
        tl.store(for_squares + line, tl.zeros((BN,), tl.float32), mask=real)
    return largest


@triton.jit
def _before_shares(
    gradient, for_squares, products, shares, blended, row, real, starts, first, last, base, QUERY_ROWS,
    BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """From the gradient of found to those of the softmax's input and, but for its way there, of the products.

    The gradients of the blends' squared lengths are written to ``for_squares``.
    """
    for_logits = tl.zeros((BM, BN), tl.float32)
    direct = tl.zeros((BM, BN), tl.float32)
    for number in range(0, last - first):
        inside = rows_of_member(starts, first + number, base, row)[:, None]
        along, square = _along_and_square(inside, shares, products, blended)
        length = tl.sqrt(tl.maximum(square, EPSILON * EPSILON))
        arriving = tl.load(gradient + number * QUERY_ROWS, mask=real, other=0.0)
        for_along = arriving / length
        for_square = -0.5 * arriving * along / (length * length * length)
        for_square = tl.where(square >= EPSILON * EPSILON, for_square, 0.0)
        tl.store(for_squares + number * QUERY_ROWS, for_square, mask=real)
        for_shares = for_along[None, :] * products + 2.0 * for_square[None, :] * blended
        mean = tl.sum(tl.where(inside, shares * for_shares, 0.0), 0)
        for_logits = tl.where(inside, shares * (for_shares - mean[None, :]), for_logits)
        direct = tl.where(inside, for_along[None, :] * shares, direct)
    return for_logits, direct


@triton.jit
def _normalized(
    products, column, query_starts, queries,
    NORM: tl.constexpr, CLIPPED: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Each row's products with a query's rows, normalized over these."""
    values = tl.where(products > 0, products, SLOPE * products) if CLIPPED else products
    if NORM > 0:
        base = tl.load(query_starts)
        normalized = tl.zeros((BM, BN), tl.float32)
        for number in range(0, queries):
            own = rows_of_member(query_starts, number, base, column)[None, :]
            if NORM == 3:
                part = tl.where(own, values, float("-inf"))
                part = tl.exp(part - tl.max(part, 1)[:, None])
                part = part / tl.sum(part, 1)[:, None]
            else:
                part = tl.where(own, values, 0.0)
                part = part / (_length(part, NORM) + EPSILON)[:, None]
            normalized = tl.where(own, part, normalized)
        values = normalized
    return values


@triton.jit
def _before_normalized(
    products, normalized, gradient, column, query_starts, queries,
    NORM: tl.constexpr, CLIPPED: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """From the gradient of ``_normalized`` to that of the products."""
    if NORM > 0:
        values = tl.where(products > 0, products, SLOPE * products) if CLIPPED else products
        base = tl.load(query_starts)
        total = tl.zeros((BM, BN), tl.float32)
        for number in range(0, queries):
            own = rows_of_member(query_starts, number, base, column)[None, :]
            arriving = tl.where(own, gradient, 0.0)
            if NORM == 3:
                part = normalized * (arriving - tl.sum(normalized * arriving, 1)[:, None])
            else:
                part = tl.where(own, values, 0.0)
                length = _length(part, NORM)
                along = tl.sum(arriving * part, 1) / (length + EPSILON)
                if NORM == 1:
                    slope = part / tl.where(length > 0, length, 1.0)[:, None]
                else:
                    slope = tl.where(part > 0, 1.0, 0.0) - tl.where(part < 0, 1.0, 0.0)
                part = (arriving - slope * along[:, None]) / (length + EPSILON)[:, None]
            total = tl.where(own, part, total)
        gradient = total
    return tl.where(products > 0, gradient, SLOPE * gradient) if CLIPPED else gradient


@triton.jit
def _length(part, NORM: tl.constexpr):
    return tl.sqrt(tl.sum(part * part, 1)) if NORM == 1 else tl.sum(tl.abs(part), 1)


@triton.jit
def _shares(logits, row, starts, first, last, base, BM: tl.constexpr, BN: tl.constexpr):
    """Softmax over the rows of each context."""
    peaks = tl.zeros((BM, BN), tl.float32)
    for number in range(0, last - first):
        inside = rows_of_member(starts, first + number, base, row)[:, None]
        peaks = tl.where(inside, tl.max(tl.where(inside, logits, float("-inf")), 0)[None, :], peaks)
    weights = tl.exp(logits - peaks)
    totals = tl.full((BM, BN), 1.0, tl.float32)
    for number in range(0, last - first):
        inside = rows_of_member(starts, first + number, base, row)[:, None]
        totals = tl.where(inside, tl.sum(tl.where(inside, weights, 0.0), 0)[None, :], totals)
    return weights / totals


@triton.jit
def _gram_products(
    shares, grams, gram_starts, owners, starts, base, row, rows,
    BM: tl.constexpr, BN: tl.constexpr, BG: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Each row's product with its context's blend: the Gram matrix times the shares, BG rows at a time."""
    owner = tl.load(owners + base + row, mask=row < rows, other=-1)
    safe = tl.where(row < rows, owner, 0)
    begin = tl.load(starts + safe).to(tl.int64)
    width = tl.load(starts + safe + 1).to(tl.int64) - begin
    line = tl.load(gram_starts + safe) + (base + row - begin) * width
    blended = tl.zeros((BM, BN), tl.float32)
    for part in tl.static_range(0, BM // BG):
        other = part * BG + tl.arange(0, BG)
        its_owner = tl.load(owners + base + other, mask=other < rows, other=-2)
        gram = tl.load(
            grams + line[:, None] + (base + other)[None, :] - begin[:, None],
            mask=owner[:, None] == its_owner[None, :], other=0.0,
        )  # fmt: skip
        if BM == BG:
            some = shares
        else:
            chosen = tl.arange(0, BM // BG)[:, None, None] == part
            some = tl.sum(tl.where(chosen, tl.reshape(shares, (BM // BG, BG, BN)), 0.0), 0)
        blended = tl.dot(gram, some, blended, input_precision=PRECISION)
    return blended
