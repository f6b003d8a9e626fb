"""The field ``engine`` of a request: a name of the registry or of an installed package."""

from typing import Annotated

from pydantic import AfterValidator, Field

from wordsight.registry import names_of

ENGINES = names_of("engine")


def _known_engine(name: str) -> str:
    if name not in ENGINES:
        raise ValueError(f"known: {', '.join(ENGINES)}")
    return name


Engine = Annotated[
    str,
    AfterValidator(_known_engine),
    Field(
        description="`exact` scores all items; `shortlist` those with the nearest mean vectors; `regions` "
        "those with the regions nearest to the words, by an index of regions. `auto` is exact unless that is "
        "slow.",
        json_schema_extra={"enum": ENGINES},
    ),
]
