"""Options of the commands that search: the index and its model, the hits, filters, and the form of output."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wordsight.cli.filter_options import filters_of
from wordsight.cli.open_index import index_at, index_place
from wordsight.cli.shared_options import Device, Exclude, FollowLinks, NoLock
from wordsight.cli.trust import TrustRemoteCode

if TYPE_CHECKING:
    from wordsight.search.index.index import Filters
    from wordsight.search.index.interface import SearchableIndex
    from wordsight.search.index.picture_roots import PictureRoots
    from wordsight.search.places import Place
    from wordsight.search.searcher import Searcher

IndexOrFolder = Annotated[
    Any,  # a Path, or the address of an index on a server
    typer.Argument(
        metavar="INDEX",
        parser=index_place,
        help="An index that wordsight index has made, in a folder or on a server (postgresql://..., "
        "qdrant://...); or a "
        "folder of pictures, whose index is made at the first search and updated at each later one.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Only hits that match; exit code 5 if there are none."),
]
MinProbability = Annotated[
    float | None,
    typer.Option(
        "--min-probability",
        "--threshold",
        help="Least probability of a match, and of a word that counts as found; by default 0.5.",
    ),
]
FalsePositiveRate = Annotated[
    float | None,
    typer.Option(
        help="For a model without probabilities: accepted false-positive rate for queries with no match."
    ),
]
MemoryMb = Annotated[
    float, typer.Option("--memory-mb", min=1, help="Memory for the rows of the index that are in use.")
]
Top = Annotated[int, typer.Option("--top", "-k", min=1, max=1000, help="Hits per page.")]
Page = Annotated[int, typer.Option("--page", min=1, help="Page of hits.")]
Text = Annotated[str | None, typer.Option(help="Only items whose captions or path contain these words.")]
Roots = Annotated[
    list[Path] | None,
    typer.Option(
        "--root",
        metavar="FOLDER",
        help="Also open pictures below this folder, for an index that you did not make. Repeatable.",
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Model used to index the folder (first use only): a run, a model, a hub name of a CLIP, ...",
    ),
]


@dataclass(frozen=True)
class IndexOptions:
    """How an index, or a folder of pictures, is opened."""

    model: ModelName = None
    exclude: Exclude = None
    follow_links: FollowLinks = None
    memory_mb: MemoryMb = 256
    device: Device = "auto"
    no_lock: NoLock = False
    trust_remote_code: TrustRemoteCode = False

    def open(self, path: "Place") -> "SearchableIndex":
        return index_at(
            path, self.model, self.exclude, self.follow_links, self.trust_remote_code, self.device
        )


@dataclass(frozen=True)
class PageOptions:
    """A page of hits, and the relevance threshold."""

    top: Top = 10
    page: Page = 1
    strict: Strict = False
    min_probability: MinProbability = None
    false_positive_rate: FalsePositiveRate = None

    @property
    def offset(self) -> int:
        """Hits before this page."""
        return (self.page - 1) * self.top


@dataclass(frozen=True)
class HitOptions(PageOptions):
    """Choice and order of the hits that a search shows."""

    sort: Annotated[str, typer.Option("--sort", help="score, or date: the matching ones, newest first.")] = (
        "score"
    )
    engine: Annotated[
        str, typer.Option("--engine", help="auto, exact, regions, shortlist, or one of an installed package.")
    ] = "auto"


@dataclass(frozen=True)
class FilterOptions:
    """Properties that every hit must have."""

    folder: Annotated[
        str | None, typer.Option(help="Only below this folder: a path, or the last names of one.")
    ] = None
    after: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            help="Only pictures taken on this day or later (EXIF, else the file's date): 2024-05-31.",
        ),
    ] = None
    before: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only pictures taken before this day.")
    ] = None
    camera: Annotated[
        str | None,
        typer.Option(help="Only pictures of this camera (EXIF), by words of its name: 'canon 5d'."),
    ] = None
    near: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Only pictures taken (EXIF) around a place: latitude,longitude,kilometres, 52.52,13.405,5.",
        ),
    ] = None
    text: Text = None
    min_size: Annotated[str | None, typer.Option(help="Only files of at least this size: 200kB, 1.5MB.")] = (
        None
    )

    def filters(self) -> "Filters":
        return filters_of(
            self.folder, self.after, self.before, self.text, self.min_size, self.camera, self.near
        )


@dataclass(frozen=True)
class OutputOptions:
    """The form in which hits are printed, and whether the best one is opened."""

    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per hit.")] = False
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Only paths, each ended by NUL: for xargs -0.")
    ] = False
    open_best: Annotated[bool, typer.Option("--open", help="Open the best hit with the system's viewer.")] = (
        False
    )
    root: Roots = None


def searcher_of(
    index: "SearchableIndex",
    memory_mb: float = 256,
    false_positive_rate: float | None = None,
    min_probability: float | None = None,
) -> "Searcher":
    """A searcher with the default threshold unless one is given."""
    from wordsight.search.searcher import Searcher

    options: dict[str, Any] = {
        "false_positive_rate": false_positive_rate,
        "min_probability": min_probability,
    }
    return Searcher(index, memory_mb, **{key: one for key, one in options.items() if one is not None})


def roots_of(searcher: "Searcher", named: list[Path] | None) -> "PictureRoots":
    """The folders whose pictures may be opened."""
    from wordsight.search.index.picture_roots import PictureRoots

    return PictureRoots(searcher.index.folder, tuple(named or ()))
