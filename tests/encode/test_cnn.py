"""The small convolutional network: cells with true boxes, one picture at a time, and able to learn."""

import itertools

import pytest
import torch

from wordsight.encode import surroundings
from wordsight.encode.cnn import GridCNN, cell_boxes
from wordsight.sets import Pixels

KINDS = [
    {},
    {"coordinates": False, "depth": 1},
    {"cell": 4, "depth": 2},
    {"overlaps": 2},
    {"stem_stride": 4, "hidden": 24, "depth": 2},
    {"stem_stride": 4, "cell": 4},
    {"context": "surroundings"},
    {"context": "surroundings", "cell": 2},  # more cells than are multiplied out
    {"context": "self-attention"},
    {"context": "transformer", "cell": 16},
]


def pictures(n: int = 3, height: int = 64, width: int = 64) -> Pixels:
    return Pixels(torch.randn(n, 3, height, width))


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_one_vector_and_one_box_per_cell(settings: dict[str, object]) -> None:
    network = GridCNN(24, width=8, **settings)  # type: ignore[arg-type]
    out = network(pictures(3, 32, 64))
    cells = (32 // network.options.cell) * (64 // network.options.cell)
    assert out.vectors.shape == (3, cells, 24)
    assert out.mask.all()
    assert out.boxes.shape == (3, cells, 4)


def test_boxes_tile_the_picture_row_by_row() -> None:
    expected = [[0, 0, 0.5, 1 / 3], [0.5, 0, 1, 1 / 3], [0, 1 / 3, 0.5, 2 / 3]]
    torch.testing.assert_close(cell_boxes(3, 2)[:3], torch.tensor(expected))
    areas = (cell_boxes(5, 7)[:, 2:] - cell_boxes(5, 7)[:, :2]).prod(1)
    torch.testing.assert_close(areas.sum(), torch.tensor(1.0))


@pytest.mark.parametrize("settings", KINDS, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_pictures_do_not_see_their_batch_mates(settings: dict[str, object], training: bool) -> None:
    network = GridCNN(24, width=8, **settings).train(training)  # type: ignore[arg-type]
    batch = pictures()
    torch.testing.assert_close(
        network(batch).vectors[1], network(batch[1:2]).vectors[0], atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("stem_stride", "overlaps", "seen"),
    [(2, 0, 8), (2, 1, 10), (2, 2, 14), (2, 3, 22), (4, 0, 8), (4, 1, 10), (4, 2, 18)],
)
def test_a_cell_sees_as_far_as_the_halvings_overlap(stem_stride: int, overlaps: int, seen: int) -> None:
    network = GridCNN(24, width=8, depth=0, stem_stride=stem_stride, overlaps=overlaps).double()
    values = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    outside = torch.ones(64, 64, dtype=torch.bool)
    start = 24 - (seen - 8) // 2
    outside[start : start + seen, start : start + seen] = False
    convolutions = torch.nn.Sequential(*(halving[0] for halving in network.halvings))  # norms see everything
    after = values.where(~outside, torch.randn_like(values))
    torch.testing.assert_close(convolutions(values)[0, :, 3, 3], convolutions(after)[0, :, 3, 3])
    for corner in (start, start + seen - 1):
        changed = values.clone()
        changed[:, :, corner, corner] += 1
        assert not convolutions(values)[0, :, 3, 3].allclose(convolutions(changed)[0, :, 3, 3])


def test_a_cell_sees_what_lies_in_its_box() -> None:
    """Averaged over random networks, pixels weigh on a cell evenly about the centre of its box."""
    pixels = torch.arange(64) + 0.5
    for cell in (9, 27, 36):
        weight = torch.zeros(64, 64)
        for _ in range(20):
            values = torch.randn(1, 3, 64, 64, requires_grad=True)
            out = GridCNN(24, width=8, depth=0)(Pixels(values))
            (gradient,) = torch.autograd.grad(out.vectors[0, cell].square().sum(), values)
            weight += gradient[0].square().sum(0)
        left, top, right, bottom = (out.boxes[0, cell] * 64).tolist()
        weight /= weight.sum()
        assert float(weight.sum(0) @ pixels) == pytest.approx((left + right) / 2, abs=1)
        assert float(weight.sum(1) @ pixels) == pytest.approx((top + bottom) / 2, abs=1)


@pytest.mark.parametrize("small", [0, 10_000])
@pytest.mark.parametrize("reach", [1, 7])
def test_surroundings_are_weighted_by_their_offset(
    small: int, reach: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a loop over pairs of cells, on the way through matrices and through a convolution."""
    monkeypatch.setattr(surroundings, "SMALL", small)
    layer, grid = surroundings.Surroundings(6, reach).double(), torch.randn(2, 3, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(grid), grid)  # silent at first
    torch.nn.init.normal_(layer.hear.weight)
    said = layer.say(layer.norm(grid)).relu()
    heard = torch.zeros_like(said)
    for row, column, down, across in itertools.product(range(3), range(5), range(3), range(5)):
        far_down, far_across = down - row, across - column
        if max(abs(far_down), abs(far_across)) <= reach:
            weight = layer.kernel[:, far_down + reach, far_across + reach]
            heard[:, row, column] += weight * said[:, down, across]
    torch.testing.assert_close(layer(grid), grid + layer.hear(heard.relu()))


def test_surroundings_learn_which_red_cell_has_green_next_to_it_however_far() -> None:
    """Red, green, blue, red or red, blue, green, red: by themselves, the red cells leave an even guess."""
    network = GridCNN(16, width=8, context="surroundings")
    optimizer = torch.optim.AdamW(network.parameters(), 2e-2)
    right = []
    for _ in range(70):
        values = torch.randn(32, 3, 8, 96) * 0.1
        places = torch.rand(32, 12).argsort(1)[:, :4].sort(1).values
        first = torch.randint(2, (32,))  # 0: green comes first, 1: blue does
        cells, rows = values.unflatten(3, (12, 8)), torch.arange(32)
        for place, colour in enumerate((0 * first, 1 + first, 2 - first, 0 * first)):
            cells[rows, colour, :, places[:, place]] += 1
        target = places[rows, 3 * first]
        scores = network(Pixels(values)).vectors[..., 0]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(scores, target).backward()
        optimizer.step()
        right.append((scores.argmax(1) == target).float())
    assert torch.cat(right[-10:]).mean() > 0.93


def test_coordinates_tell_equal_cells_apart() -> None:
    grey = Pixels(torch.zeros(1, 3, 64, 64))
    inner = torch.tensor([27, 28, 35, 36])  # away from the borders, where the convolutions' zeros begin
    with_them = GridCNN(24, width=8)(grey).vectors[0, inner]
    without = GridCNN(24, width=8, coordinates=False)(grey).vectors[0, inner]
    assert torch.pdist(with_them).min() > 1e-2
    assert torch.pdist(without).max() < 1e-4


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_every_weight_learns(settings: dict[str, object]) -> None:
    network = GridCNN(24, width=8, **settings)  # type: ignore[arg-type]
    network(pictures()).vectors.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name


def test_learns_where_a_red_square_is() -> None:
    """Twenty steps are enough for the vector of the coloured cell to stand out."""
    network = GridCNN(1, width=8)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        values = torch.randn(32, 3, 64, 64, generator=generator) * 0.1
        cells = torch.randint(64, (32,), generator=generator)
        for picture, cell in enumerate(cells.tolist()):
            top, left = cell // 8 * 8, cell % 8 * 8
            values[picture, 0, top : top + 8, left : left + 8] += 1
        scores = network(Pixels(values)).vectors[..., 0]
        loss = torch.nn.functional.cross_entropy(scores, cells)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (scores.argmax(1) == cells).float().mean() > 0.9


def test_mistakes_name_value_and_remedy() -> None:
    with pytest.raises(ValueError, match="cell = 6 pixels; expected a power of two"):
        GridCNN(24, cell=6)
    with pytest.raises(ValueError, match="stem_stride = 4; expected 2, or 4 with cells of at least 4"):
        GridCNN(24, cell=2, stem_stride=4)
    with pytest.raises(ValueError, match="stem_stride = 3"):
        GridCNN(24, stem_stride=3)
    with pytest.raises(ValueError, match="pictures of 60 x 64 pixels do not divide into cells of 8"):
        GridCNN(24)(pictures(1, 64, 60))
    with pytest.raises(ValueError, match='attention "more" is not known'):
        GridCNN(24, context="more")
