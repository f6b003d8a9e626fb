"""Parts of the Triton programs: members of a tile, products of two tiles, and pooled scores."""

# mypy: disable-error-code="untyped-decorator,no-untyped-def"
import triton
import triton.language as tl

GROUP = tl.constexpr(16)  # tiles of queries that programs share while they go through the tiles of contexts


@triton.jit
def tiles_of_program(CONTEXT_TILES):
    """Numbers of this program's tile of contexts and tile of queries.

    The programs that run together take few tiles of either side, so that the GPU's cache holds them: with one
    tile of queries at a time, all contexts would come from memory for each.
    """
    number = tl.program_id(0)
    others = tl.num_programs(0) // CONTEXT_TILES
    other, tile = tl.swizzle2d(number // CONTEXT_TILES, number % CONTEXT_TILES, others, CONTEXT_TILES, GROUP)
    return tile, other


@triton.jit
def members_of_tile(firsts, lasts, starts, tile):
    """First member of a tile and the one after its last; the first row of each, in all rows."""
    first, last = tl.load(firsts + tile), tl.load(lasts + tile)
    return first, last, tl.load(starts + first).to(tl.int64), tl.load(starts + last).to(tl.int64)


@triton.jit
def tile_products(
    left, left_rows, left_real, right, right_rows, right_real,
    DIM, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Products of some rows with others, in float32; ``WIDE`` multiplies in float32 whatever comes."""
    products = tl.zeros((BM, BN), tl.float32)
    for first in range(0, DIM, BK):
        column = first + tl.arange(0, BK)
        inside = column < DIM
        one = tl.load(left + left_rows[:, None] * DIM + column[None, :],
                      mask=left_real[:, None] & inside[None, :], other=0.0)  # fmt: skip
        other = tl.load(right + right_rows[:, None] * DIM + column[None, :],
                        mask=right_real[:, None] & inside[None, :], other=0.0)  # fmt: skip
        if WIDE:
            one, other = one.to(tl.float32), other.to(tl.float32)
        products = tl.dot(one, tl.trans(other), products, input_precision=PRECISION)
    return products


@triton.jit
def rows_of_member(starts, number, base, places):
    """Mask of the places in a tile that belong to a member; ``base`` is the first row of the tile."""
    begin, stop = tl.load(starts + number) - base, tl.load(starts + number + 1) - base
    return (places >= begin) & (places < stop)


@triton.jit
def store_pooled(
    found, scores, order, contexts, query_starts, query_order, queries, QUERIES, temperature,
    BN: tl.constexpr, CONTEXTS: tl.constexpr, POOL: tl.constexpr, SCALED: tl.constexpr,
):  # fmt: skip
    """scores[order[c], query_order[t]] = pooling of the rows of query t in found[c].

    ``order``, ``query_starts`` and ``query_order`` begin at the tile's first member. POOL: 0 mean, 1 sum,
    2 max, 3 log-sum-exp, 4 softmax.
    """
    member, column = tl.arange(0, CONTEXTS), tl.arange(0, BN)
    real = member < contexts
    found = tl.where(real[:, None], found, 0.0)
    line = tl.load(order + member, mask=real, other=0).to(tl.int64) * QUERIES
    base = tl.load(query_starts)
    for number in range(0, queries):
        own = rows_of_member(query_starts, number, base, column)[None, :]
        if POOL <= 1:
            pooled = tl.sum(tl.where(own, found, 0.0), 1)
            if POOL == 0:
                count = tl.load(query_starts + number + 1) - tl.load(query_starts + number)
                pooled = pooled / count.to(tl.float32)
        else:
            values = tl.where(own, found, float("-inf"))
            pooled = tl.max(values, 1)
            if POOL >= 3:
                weights = tl.exp((values - pooled[:, None]) / temperature)
                if POOL == 3:
                    pooled = pooled / temperature + tl.log(tl.sum(weights, 1))
                    if SCALED:
                        pooled = pooled * temperature
                else:
                    pooled = tl.sum(tl.where(own, found * weights, 0.0), 1) / tl.sum(weights, 1)
        place = tl.load(query_order + number)
        tl.store(scores + line + place, pooled, mask=real)
