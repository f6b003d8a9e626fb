"""The menu: every name leads to a part, and what is wrong in a table is said with what would be right."""

import inspect

import pytest

from wordsight import components

NAMES = [(kind, name) for kind, menu in components.MENU.items() for name in menu]


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_every_name_on_the_menu_leads_to_a_documented_part(kind: str, name: str) -> None:
    assert inspect.getdoc(components.find(kind, name))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r'loss "tripplet" is not on the menu \(did you mean "triplet"\?\); known:'
    ):
        components.make("loss", {"name": "tripplet"})


def test_an_unknown_setting_lists_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r'\[loss\] margn is not a setting of Triplet \(did you mean "margin"\?\)'
    ):
        components.make("loss", {"name": "triplet", "margn": 0.1})


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(ValueError, match=r"\[image_encoder\] RegionEncoder needs feature_dim"):
        components.make("image_encoder", {"name": "regions"})


def test_an_address_that_leads_nowhere_is_said() -> None:
    with pytest.raises(ValueError, match="cannot be imported"):
        components.find("loss", "my_lab.losses:Focal")


@pytest.mark.parametrize("pooling", components.MENU["pooling"])
@pytest.mark.parametrize("similarity", ["max-sim", "cross-attention"])
def test_a_part_describes_itself_by_the_table_that_builds_it(similarity: str, pooling: str) -> None:
    table = {"name": similarity, "seeker": "region", "pooling": {"name": pooling}}
    described = components.describe(components.make("similarity", table))
    assert described == components.describe(components.make("similarity", described))
    assert described["seeker"] == "region"
    assert described["pooling"] == components.complete("pooling", {"name": pooling})
