"""Routes of searches and explanations: /v1/search, /v1/similar, /v1/captions, /v1/explain."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, UploadFile

from wordsight.files.fingerprint import content_of_bytes
from wordsight.pairs import Picture
from wordsight.read.pictures.decode import UnreadablePicture
from wordsight.search.searcher import Searcher
from wordsight.web import schemas as models
from wordsight.web import to_schema as answers
from wordsight.web.pictures import file_of, refused, sent_picture
from wordsight.web.problems import responses
from wordsight.web.state import Library, Served, row_of

router = APIRouter(prefix="/v1")
SENT = "The picture itself: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, or HEIC if the server has its extra heic."


class SimilarForm(models.Paged):
    """Search by an uploaded picture, optionally with words."""

    picture: Annotated[UploadFile, Form(description=SENT)]
    query: Annotated[
        str | None, Form(min_length=1, max_length=models.MAX_QUERY_CHARACTERS, description=models.QUERY)
    ] = None
    weight: models.Weight = 0.5
    engine: models.Engine = "auto"
    sort: models.Sort = "score"


class CaptionsForm(models.Paged):
    """Search for sentences that match an uploaded picture."""

    picture: Annotated[UploadFile, Form(description=SENT)]


class ExplainForm(models.Filtered):
    """An uploaded picture, and the sentence whose score to explain."""

    picture: Annotated[UploadFile, Form(description=SENT)]
    id: models.Id


@router.get("/search", tags=["search"], responses=responses(409, 422), operation_id="search")
async def search(library: Served, params: Annotated[models.Search, Query()]) -> models.Answer:
    """Pictures that match a sentence, each with the words found in it and their regions.

    Those that match come first, the best first. `relevant` is the number of all that match; `verdict` says it
    in a sentence. With 0 the hits are the closest ones.
    """
    return await library.search(_search, library, params)


@router.post(
    "/search",
    tags=["search"],
    responses=responses(400, 408, 409, 413, 415, 422),
    operation_id="search_by_body",
)
async def search_by_body(library: Served, params: models.SearchBody) -> models.Answer:
    """Search with the query in the body, so that logs of addresses do not contain it."""
    return await library.search(_search, library, params)


def _search(library: Library, params: models.Search) -> models.Answer:
    found = library.of_images().find_images(
        params.query,
        params.k,
        params.offset,
        answers.filters_of(params, library.policy),
        params.engine,
        params.sort,
    )
    return answers.answer(found, "images", library.policy)


@router.get("/similar", tags=["search"], responses=responses(404, 409, 422), operation_id="similar")
async def similar(library: Served, params: Annotated[models.SimilarTo, Query()]) -> models.Answer:
    """Pictures similar to one of the index, which is left out; with `query` also to these words."""
    return await library.search(_similar_to_item, library, params)


def _similar_to_item(library: Library, params: models.SimilarTo) -> models.Answer:
    return _similar(library, params.id, params)


@router.post(
    "/similar",
    tags=["search"],
    responses=responses(400, 408, 409, 413, 415, 422),
    operation_id="similar_to_sent",
)
async def similar_to_sent(
    library: Served, params: Annotated[SimilarForm, Form(media_type="multipart/form-data")]
) -> models.Answer:
    """Pictures similar to an uploaded one, which is not stored."""
    data = await params.picture.read()
    await library.reading_pictures(library.of_images())
    return await library.search(_similar_to_data, library, data, params)


def _similar_to_data(library: Library, data: bytes, params: SimilarForm) -> models.Answer:
    library.of_images()
    return _similar(library, sent_picture(data), params, content_of_bytes(data))


def _similar(
    library: Library,
    picture: Picture | int,
    params: models.SimilarTo | SimilarForm,
    content: str | None = None,
) -> models.Answer:
    found = library.of_images().similar(
        picture,
        params.k,
        params.offset,
        answers.filters_of(params, library.policy),
        params.query,
        params.weight,
        params.engine,
        params.sort,
        content,
    )
    return answers.answer(found, "images", library.policy)


@router.get("/captions", tags=["search"], responses=responses(404, 409, 410, 422), operation_id="captions")
async def captions(library: Served, params: Annotated[models.CaptionsOf, Query()]) -> models.Answer:
    """Sentences of the index of texts that match a picture of the index of pictures."""
    await library.reading_pictures(library.of_texts())
    return await library.search(_captions_of_item, library, params)


def _captions_of_item(library: Library, params: models.CaptionsOf) -> models.Answer:
    texts, session = library.of_texts(), library.of_images().session()
    stored = session.snapshot.item(row_of(session, params.id))
    try:
        return _captions(texts, file_of(stored, library.roots()), params)
    except UnreadablePicture as error:
        raise refused(stored, error) from error


@router.post(
    "/captions",
    tags=["search"],
    responses=responses(400, 408, 409, 413, 415, 422),
    operation_id="captions_of_sent",
)
async def captions_of_sent(
    library: Served, params: Annotated[CaptionsForm, Form(media_type="multipart/form-data")]
) -> models.Answer:
    """Sentences of the index of texts that match an uploaded picture."""
    data = await params.picture.read()
    await library.reading_pictures(library.of_texts())
    return await library.search(_captions_of_data, library.of_texts(), data, params)


def _captions_of_data(searcher: Searcher, data: bytes, params: CaptionsForm) -> models.Answer:
    return _captions(searcher, sent_picture(data), params)


def _captions(searcher: Searcher, picture: Picture, params: models.Paged) -> models.Answer:
    found = searcher.find_texts(picture, params.k, params.offset, answers.filters_of(params))
    return answers.answer(found, "texts")


@router.get("/explain", tags=["reasons"], responses=responses(404, 409, 422), operation_id="explain")
async def explain(library: Served, params: Annotated[models.Explain, Query()]) -> models.Explanation:
    """Explain the score of a picture with a sentence: regions of each word, parts of the score."""
    return await library.search(_explain, library.of_images(), params.query, params.id)


@router.post(
    "/explain",
    tags=["reasons"],
    responses=responses(400, 404, 408, 409, 413, 415, 422),
    operation_id="explain_by_body",
)
async def explain_by_body(library: Served, params: models.ExplainBody) -> models.Explanation:
    """Explain a score, with the query in the body."""
    return await library.search(_explain, library.of_images(), params.query, params.id)


@router.post(
    "/captions/explain",
    tags=["reasons"],
    responses=responses(400, 404, 408, 409, 413, 415, 422),
    operation_id="explain_caption",
)
async def explain_caption(
    library: Served, params: Annotated[ExplainForm, Form(media_type="multipart/form-data")]
) -> models.Explanation:
    """Explain the score of a sentence of the index of texts with an uploaded picture."""
    data = await params.picture.read()
    await library.reading_pictures(library.of_texts())
    return await library.search(_explain_data, library.of_texts(), data, params.id)


def _explain_data(searcher: Searcher, data: bytes, id: int) -> models.Explanation:
    return _explain(searcher, sent_picture(data), id)


def _explain(searcher: Searcher, query: str | Picture, id: int) -> models.Explanation:
    return answers.explanation(searcher.explain(query, id))
