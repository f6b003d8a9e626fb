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

from wordsight.similarity.kernels.triton_tiles import members_of, store_pooled, tile_products

EPSILON = tl.constexpr(1e-8)  # as in ``packed.py``
SLOPE = tl.constexpr(0.1)


@triton.jit
def attention_program(
    contexts, queries, grams, factors, found, scores,
    tile_first, tile_last, starts, owners, gram_starts, order,
    query_first, query_last, query_starts, query_order,
    QUERIES, QUERY_ROWS, DIM, temperature, pool_temperature,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BG: tl.constexpr, CONTEXTS: tl.constexpr,
    NORM: tl.constexpr, CLIPPED: tl.constexpr, POOL: tl.constexpr, SCALED: tl.constexpr,
    WIDE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """found[c, q] = how well query row q finds itself in its blend of the rows of context c, x factors[q].

    With POOL (``store_pooled``) only scores[c, t], their pooling over the rows of query t, is written; with
    POOL = -1 only ``found``.
    """
    tile, other = tl.program_id(0), tl.program_id(1)
    first, last = tl.load(tile_first + tile), tl.load(tile_last + tile)
    base, end = tl.load(starts + first).to(tl.int64), tl.load(starts + last).to(tl.int64)
    begins, ends = tl.load(query_first + other), tl.load(query_last + other)
    query_base = tl.load(query_starts + begins).to(tl.int64)
    row, column = tl.arange(0, BM), tl.arange(0, BN)
    real_row, real = row < end - base, column < tl.load(query_starts + ends) - query_base
    products = tile_products(
        contexts, base + row, real_row, queries, query_base + column, real, DIM, BM, BN, BK, WIDE, PRECISION
    )
    normalized = _normalized(products, column, query_starts + begins, ends - begins, NORM, CLIPPED, BM, BN)
    shares = _shares(normalized / temperature, row, starts, first, last, base, BM, BN)
    blended = _gram_products(
        shares, grams, gram_starts, owners, starts, base, row, end - base, BM, BN, BG, PRECISION
    )
    factor = tl.load(factors + query_base + column, mask=real, other=0.0)
    member = tl.arange(0, CONTEXTS)
    every = tl.zeros((CONTEXTS, BN), tl.float32)
    for number in range(0, last - first):
        context = first + number
        inside = members_of(starts, context, base, row)[:, None]
        along = tl.sum(tl.where(inside, shares * products, 0.0), 0)
        square = tl.sum(tl.where(inside, shares * blended, 0.0), 0)
        value = factor * along / tl.sqrt(tl.maximum(square, EPSILON * EPSILON))
        if POOL < 0:
            tl.store(found + context.to(tl.int64) * QUERY_ROWS + query_base + column, value, mask=real)
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
    START, QUERY_ROWS, DIM, temperature,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, BG: tl.constexpr,
    NORM: tl.constexpr, CLIPPED: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """From the gradient of found to those of the products and of the blends' squared lengths; and the shares.

    ``gradient`` and ``for_squares`` have a line per context, ``for_products`` and ``attention`` a line per
    row of a context; the first line is that of context START. A tile without a gradient is zeros.
    """
    tile, other = tl.program_id(0), tl.program_id(1)
    first, last = tl.load(tile_first + tile), tl.load(tile_last + tile)
    base, end = tl.load(starts + first).to(tl.int64), tl.load(starts + last).to(tl.int64)
    begins, ends = tl.load(query_first + other), tl.load(query_last + other)
    query_base = tl.load(query_starts + begins).to(tl.int64)
    row, column = tl.arange(0, BM), tl.arange(0, BN)
    real_row, real = row < end - base, column < tl.load(query_starts + ends) - query_base
    query = query_base + column
    largest = 0.0
    for number in range(0, last - first):
        line = (first + number - START).to(tl.int64) * QUERY_ROWS
        arriving = tl.load(gradient + line + query, mask=real, other=0.0)
        largest = tl.maximum(largest, tl.max(tl.abs(arriving), 0))
        tl.store(for_squares + line + query, tl.zeros((BN,), tl.float32), mask=real)
    shares = tl.zeros((BM, BN), tl.float32)
    back = tl.zeros((BM, BN), tl.float32)
    if largest > 0:
        products = tile_products(
            contexts, base + row, real_row, queries, query, real, DIM, BM, BN, BK, WIDE, PRECISION
        )  # fmt: skip
        normalized = _normalized(
            products, column, query_starts + begins, ends - begins, NORM, CLIPPED, BM, BN
        )
        shares = _shares(normalized / temperature, row, starts, first, last, base, BM, BN)
        blended = _gram_products(
            shares, grams, gram_starts, owners, starts, base, row, end - base, BM, BN, BG, PRECISION
        )
        for_logits = tl.zeros((BM, BN), tl.float32)
        for number in range(0, last - first):
            context = first + number
            line = (context - START).to(tl.int64) * QUERY_ROWS
            inside = members_of(starts, context, base, row)[:, None]
            along = tl.sum(tl.where(inside, shares * products, 0.0), 0)
            square = tl.sum(tl.where(inside, shares * blended, 0.0), 0)
            length = tl.sqrt(tl.maximum(square, EPSILON * EPSILON))
            arriving = tl.load(gradient + line + query, mask=real, other=0.0)
            for_along = arriving / length
            for_square = -0.5 * arriving * along / (length * length * length)
            for_square = tl.where(square >= EPSILON * EPSILON, for_square, 0.0)
            tl.store(for_squares + line + query, for_square, mask=real)
            for_shares = for_along[None, :] * products + 2.0 * for_square[None, :] * blended
            mean = tl.sum(tl.where(inside, shares * for_shares, 0.0), 0)
            for_logits = tl.where(inside, shares * (for_shares - mean[None, :]) / temperature, for_logits)
            back = tl.where(inside, for_along[None, :] * shares, back)
        back += _before_normalized(
            products, normalized, for_logits, column, query_starts + begins, ends - begins,
            NORM, CLIPPED, BM, BN,
        )  # fmt: skip
    lines = base - tl.load(starts + START) + row
    where = lines[:, None] * QUERY_ROWS + query[None, :]
    inside = real_row[:, None] & real[None, :]
    tl.store(for_products + where, back, mask=inside)
    tl.store(attention + where, shares, mask=inside)


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
            own = members_of(query_starts, number, base, column)[None, :]
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
            own = members_of(query_starts, number, base, column)[None, :]
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
        inside = members_of(starts, first + number, base, row)[:, None]
        peaks = tl.where(inside, tl.max(tl.where(inside, logits, float("-inf")), 0)[None, :], peaks)
    weights = tl.exp(logits - peaks)
    totals = tl.full((BM, BN), 1.0, tl.float32)
    for number in range(0, last - first):
        inside = members_of(starts, first + number, base, row)[:, None]
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
