"""Routes of items, thumbnails and originals, /v1/about, /healthz and /metrics."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from fastapi import Path as InPath
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from wordsight.files.undecodable import shown
from wordsight.read.pictures.decode import UnreadablePicture
from wordsight.search.index.index import Item
from wordsight.search.searcher import Searcher
from wordsight.web import metrics as request_metrics
from wordsight.web import pictures, security
from wordsight.web import schemas as models
from wordsight.web import to_schema as answers
from wordsight.web.about_schemas import About, Health
from wordsight.web.desktop import shows_files
from wordsight.web.problems import Refused, responses
from wordsight.web.state import Library, Served, row_of

router = APIRouter()
InPathId = Annotated[int, InPath(ge=1, le=models.MAX_INTEGER, description="Id of the item.")]
FOR_EVER = "private, max-age=31536000, immutable"
SHORTLY = "private, max-age=60"


@router.get("/v1/about", tags=["items"], operation_id="about", responses=responses())
async def about(library: Served) -> About:
    """Describe the indexes and the limits of a request."""
    return await library.draw(_about, library)


def _about(library: Library) -> About:
    return About(
        version=version("wordsight"),
        images=_size(library.images),
        texts=_size(library.texts),
        opens_pictures=library.images is not None and bool(library.roots().all()),
        originals=library.policy.originals,
        engines=[] if library.images is None else library.images.session().index.engines,
        shows_files=shows_files(library.policy),
        longest_query=models.MAX_QUERY_CHARACTERS,
        most_hits=models.MAX_HITS,
        most_bytes=security.MAX_FORM_BYTES,
        most_pixels=pictures.MAX_PIXELS,
    )


def _size(searcher: Searcher | None) -> int | None:
    return None if searcher is None else len(searcher.session().snapshot)


@router.get("/v1/items", tags=["items"], operation_id="items", responses=responses(422))
async def items(library: Served, params: Annotated[models.Listing, Query()]) -> models.Items:
    """Items that pass the filters, the newest first."""
    return await library.draw(_items, library, params)


def _items(library: Library, params: models.Listing) -> models.Items:
    session = library.listed.session()
    wanted, total = session.snapshot.newest(
        answers.filters_of(params, library.policy), params.offset, params.k
    )
    kind = session.index.kind
    found = [answers.item(item, kind, library.policy) for item in session.snapshot.items(wanted)]
    return models.Items(total=total, offset=params.offset, items=found)


@router.get("/v1/folders", tags=["items"], operation_id="folders", responses=responses(422))
async def folders(
    library: Served,
    k: Annotated[int, Query(ge=1, le=models.MAX_HITS, description="Number of folders.")] = 100,
) -> models.Folders:
    """Folders of the index for the filter `folder`, those with the most items first."""
    return await library.draw(_folders, library.listed, k)


def _folders(searcher: Searcher, k: int) -> models.Folders:
    return answers.folders(searcher.session().folders, k)


@router.get("/v1/items/{id:int}", tags=["items"], operation_id="item", responses=responses(404, 422))
async def item(library: Served, id: InPathId) -> models.Item:
    """One item."""
    stored = await library.draw(_stored, library.listed, id)
    return answers.item(stored, library.listed.index.kind, library.policy)


def _stored(searcher: Searcher, id: int) -> Item:
    session = searcher.session()
    found: Item = session.snapshot.item(row_of(session, id))
    return found


@router.get(
    "/v1/items/{id:int}/thumbnail",
    tags=["items"],
    operation_id="thumbnail",
    response_class=Response,
    responses={
        **responses(404, 409, 410, 422),
        200: {
            "content": {"image/jpeg": {"schema": {"type": "string", "contentMediaType": "image/jpeg"}}},
            "description": "A JPEG without any of the file's metadata.",
        },
        304: {"description": "The client has this thumbnail already."},
    },
)
async def thumbnail(
    library: Served,
    id: InPathId,
    size: Annotated[
        Literal["320", "640", "1280", "2560"], Query(description="Pixels of the longer side, at most.")
    ] = "640",
    version: Annotated[
        str | None,
        Query(
            max_length=64,
            description="As in the item's address; it allows caching for ever.",
        ),
    ] = None,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """Thumbnail of a picture, by the id of its item."""
    library.of_images()
    stored, file = await library.draw(picture_file, library, id)
    tag = f'"{stored.content}-{size}"'
    cache_control = FOR_EVER if version and stored.content.startswith(version) else SHORTLY
    headers = {"etag": tag, "cache-control": cache_control}
    if if_none_match is not None and tag in if_none_match:
        return Response(status_code=304, headers=headers)
    data = await library.draw(_drawn, stored, file, int(size))
    return Response(data, media_type="image/jpeg", headers=headers)


def picture_file(library: Library, id: int) -> tuple[Item, Path]:
    """An item and its file. Raises Refused if this server may not open it."""
    stored = _stored(library.of_images(), id)
    try:
        return stored, pictures.file_of(stored, library.roots())
    except UnreadablePicture as error:
        raise pictures.refused(stored, error) from error


def _drawn(stored: Item, file: Path, size: int) -> bytes:
    try:
        return pictures.thumbnail(file, size)
    except UnreadablePicture as error:
        raise pictures.refused(stored, error) from error


@router.get(
    "/v1/items/{id:int}/original",
    tags=["items"],
    operation_id="original",
    response_class=Response,
    responses={
        **responses(403, 404, 409, 410, 422),
        200: {
            "content": {"image/*": {"schema": {"type": "string", "contentMediaType": "image/*"}}},
            "description": "The file itself, with its metadata.",
        },
    },
)
async def original(
    library: Served,
    id: InPathId,
    download: Annotated[bool, Query(description="Send it as an attachment.")] = False,
) -> Response:
    """Original file of a picture, unless the server was started with --no-originals."""
    if not library.policy.originals:
        message = "This server sends only thumbnails (--no-originals); request the thumbnail."
        raise Refused(403, "originals", message)
    stored, file = await library.draw(picture_file, library, id)
    media = await library.draw(picture_media, stored, file)
    return _WholeFile(
        file,
        media_type=media,
        filename=shown(answers.item(stored, "images").name),
        content_disposition_type="attachment" if download else "inline",
        headers={"cache-control": SHORTLY, "accept-ranges": "none"},
    )


class _WholeFile(FileResponse):
    """A whole file, without ranges: errors about ranges would not be problems (RFC 9457)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)


def picture_media(stored: Item, file: Path) -> str:
    """The media type of the picture in a file. Raises Refused for any other file."""
    try:
        return pictures.original_media(file)
    except UnreadablePicture as error:
        raise pictures.refused(stored, error) from error


@router.get("/healthz", tags=["health"], operation_id="health", responses=responses())
async def health(library: Served) -> Health:
    """Status 200 if the indexes can be searched."""
    return Health(status="ok", reads_pictures=await library.draw(library.reads_pictures))


@router.get(
    "/metrics",
    tags=["health"],
    operation_id="metrics",
    response_class=PlainTextResponse,
    responses=responses(),
)
async def metrics(library: Served) -> Response:
    """Metrics in Prometheus' text format."""
    sizes = await library.draw(lambda: (_size(library.images) or 0, _size(library.texts) or 0))
    gauges = {
        "wordsight_pictures": ("gauge", "Pictures in the index.", sizes[0]),
        "wordsight_texts": ("gauge", "Texts in the index.", sizes[1]),
        "wordsight_under_way": ("gauge", "Searches running or waiting.", library.search.under_way),
        "wordsight_refused_total": (
            "counter", "Searches refused because too many waited.", library.search.refused
        ),
        "wordsight_questions_total": (
            "counter", "Queries that were scored.", library.scans.queries
        ),
        "wordsight_readings_total": (
            "counter", "Scans of an index; queries share them.", library.scans.scans
        ),
    }  # fmt: skip
    return Response(library.metrics.text(gauges), media_type=request_metrics.MEDIA)
