"""Content blocks of events (contract/events.md, Content blocks)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from roost.wire.shape import Params

ImageMediaType = Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
NonEmptyText = Annotated[str, StringConstraints(min_length=1)]


class Base64ImageSource(Params):
    type: Literal["base64"]
    media_type: ImageMediaType
    data: NonEmptyText


class UrlSource(Params):
    type: Literal["url"]
    url: NonEmptyText


class FileSource(Params):
    type: Literal["file"]
    file_id: NonEmptyText


class Base64DocumentSource(Params):
    type: Literal["base64"]
    media_type: Literal["application/pdf"]
    data: NonEmptyText


class PlainTextSource(Params):
    type: Literal["text"]
    media_type: Literal["text/plain"]
    data: NonEmptyText


class TextBlock(Params):
    type: Literal["text"] = "text"
    text: NonEmptyText


class ImageBlock(Params):
    type: Literal["image"]
    source: Annotated[Base64ImageSource | UrlSource | FileSource, Field(discriminator="type")]


class DocumentBlock(Params):
    type: Literal["document"]
    source: Annotated[Base64DocumentSource | PlainTextSource | UrlSource | FileSource, Field(discriminator="type")]
    title: str | None = None
    context: str | None = None


class Citations(Params):
    enabled: bool


class SearchResultBlock(Params):
    """A search hit; only in results of tools."""

    type: Literal["search_result"]
    source: NonEmptyText
    title: str
    content: list[TextBlock]
    citations: Citations


MessageBlock = Annotated[TextBlock | ImageBlock | DocumentBlock, Field(discriminator="type")]
"""What a client may put into a message. `redacted` exists on the wire but only the server writes it."""

ResultBlock = Annotated[TextBlock | ImageBlock | DocumentBlock | SearchResultBlock, Field(discriminator="type")]
"""What a tool may answer."""
