"""Schemas of what the server says about itself: its indexes, limits and health."""

from typing import Literal

from pydantic import BaseModel, Field


class About(BaseModel):
    """Facts about the served indexes."""

    version: str
    images: int | None = Field(description="Number of pictures; null without an index of pictures.")
    texts: int | None = Field(description="Number of sentences; null without an index of texts.")
    opens_pictures: bool = Field(
        description="False: no picture is shown, because the server's owner indexed and named no folder."
    )
    originals: bool = Field(description="Whether original files are served, not only thumbnails.")
    engines: list[str] = Field(description="Values of `engine` that this index of pictures has.")
    shows_files: bool = Field(
        description="Whether this server opens files on its own screen, for requests from its own machine."
    )
    longest_query: int
    most_hits: int
    most_bytes: int = Field(description="Of an uploaded picture.")
    most_pixels: int


class Health(BaseModel):
    """Health of the server."""

    status: Literal["ok"]
    reads_pictures: bool = Field(
        description="Whether the vision model is loaded; only requests that send a picture wait for it."
    )
