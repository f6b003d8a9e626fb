"""The menu: every name leads to a part, and what is wrong in a table is said with what would be right."""

import inspect
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from torch import Tensor

from wordsight import registry
from wordsight.extending import Limits, OneOf, takes
from wordsight.learn.loss import Loss
from wordsight.pairs import EncodedPairs
from wordsight.registry.trust import trusting

NAMES = [(kind, name) for kind, menu in registry.REGISTRY.items() for name in menu]


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_every_name_on_the_menu_leads_to_a_documented_part(kind: str, name: str) -> None:
    assert inspect.getdoc(registry.find(kind, name))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r'unknown loss "tripplet" \(did you mean "triplet"\?\); known:'):
        registry.build("loss", {"name": "tripplet"})


def test_an_unknown_setting_lists_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r'\[loss\] margn is not a setting of Triplet \(did you mean "margin"\?\)'
    ):
        registry.build("loss", {"name": "triplet", "margn": 0.1})


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(ValueError, match=r"\[image_encoder\] RegionEncoder needs feature_dim"):
        registry.build("image_encoder", {"name": "regions"})


PLACES = ("seed",)  # whole numbers that may be any
OWN = ("cell", "negatives")  # those that their part alone can judge


def takes_whole_numbers(annotation: Any) -> bool:
    """Whether a setting is a whole number, alone or as one of several kinds; a list is not."""
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return any(takes_whole_numbers(one) for one in get_args(annotation))
    return annotation is int


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_a_whole_number_on_the_menu_that_makes_no_sense_is_told_with_its_limit(kind: str, name: str) -> None:
    part = registry.find(kind, name)
    for key, setting in inspect.signature(part).parameters.items():
        if takes_whole_numbers(setting.annotation) and key not in (*PLACES, *OWN):
            with pytest.raises(ValueError, match=rf"\[{kind}\] {key} = -4; expected (at least 1|0 or more)"):
                registry.complete(kind, {"name": name, key: -4})


@pytest.mark.parametrize(
    ("kind", "table", "message"),
    [
        (
            "pool",
            {"name": "gpo", "hidden": 0},
            r"\[pool\] hidden = 0; expected at least 1; left out it is 32",
        ),
        ("pooling", {"name": "softmax", "temperature": 0.0}, "temperature = 0.0; expected more than 0"),
        ("loss", {"name": "projection", "label_smoothing": 2}, "label_smoothing = 2; expected 0 to 1"),
        (
            "reader",
            {"name": "pixels", "size": 8, "std": [1, 0, 1]},
            r"std = \[1, 0, 1\]; expected more than 0",
        ),
        (
            "reader",
            {"name": "backbone", "model": "x", "grid": [1, 0]},
            r"grid = \[1, 0\]; expected at least 1",
        ),
    ],
)
def test_numbers_that_make_no_sense_are_told_before_a_part_is_built(
    kind: str, table: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        registry.build(kind, table)


class Strange(Loss):
    """A loss of somebody else's."""

    def __init__(self, depth: int = 3):
        super().__init__()
        self.depth = depth

    def forward(self, pairs: EncodedPairs) -> Tensor:
        return pairs.scores.mean()


def test_what_a_number_means_in_other_peoples_parts_is_for_them_to_say() -> None:
    with trusting(["test_registry:Strange"]):
        assert registry.build("loss", {"name": "test_registry:Strange", "depth": -1}).depth == -1
    table = {"name": "backbone", "model": "x", "layers": ["last", -2]}
    assert registry.complete("reader", table)["layers"] == ["last", -2]


@dataclass(frozen=True)
class FocalOptions:
    """Settings of a loss of somebody else's."""

    gamma: Annotated[float, Limits(0, 5)] = 2.0
    target: Annotated[str, OneOf("count", "share")] = "count"


class Focal(Loss):
    """A loss of somebody else's whose settings are a dataclass."""

    @takes(FocalOptions)
    def __init__(self, options: FocalOptions) -> None:
        super().__init__()
        self.options = options

    def forward(self, pairs: EncodedPairs) -> Tensor:
        return pairs.scores.mean()


def test_settings_may_be_a_dataclass_with_limits() -> None:
    table = {"name": "test_registry:Focal", "gamma": 1.5}
    with trusting(["test_registry:Focal"]):
        loss = registry.build("loss", table)
        assert (loss.options.gamma, Focal(3.0).options.gamma) == (1.5, 3.0)
        assert registry.describe(loss) == table | {"target": "count"}
        with pytest.raises(ValueError, match=r"gamma = -1; expected 0 or more; left out it is 2.0"):
            registry.build("loss", table | {"gamma": -1})
        with pytest.raises(ValueError, match="target = 'mean'; expected one of count, share"):
            registry.build("loss", table | {"target": "mean"})
        with pytest.raises(ValueError, match=r'gama is not a setting of Focal \(did you mean "gamma"\?\)'):
            registry.build("loss", table | {"gama": 1})


def test_an_address_that_leads_nowhere_is_said() -> None:
    with trusting(["my_lab.losses:Focal"]), pytest.raises(ValueError, match="cannot be imported"):
        registry.find("loss", "my_lab.losses:Focal")


@pytest.mark.parametrize("pooling", registry.REGISTRY["pooling"])
@pytest.mark.parametrize("similarity", ["max-sim", "cross-attention"])
def test_a_part_describes_itself_by_the_table_that_builds_it(similarity: str, pooling: str) -> None:
    table = {"name": similarity, "direction": "region", "pooling": {"name": pooling}}
    described = registry.describe(registry.build("similarity", table))
    assert described == registry.describe(registry.build("similarity", described))
    assert described["direction"] == "region"
    assert described["pooling"] == registry.complete("pooling", {"name": pooling})
