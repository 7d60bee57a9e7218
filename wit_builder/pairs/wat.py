"""Images of a WAT record: what Common Crawl's extractor kept of a page, as JSON.

`Envelope.WARC-Header-Metadata.WARC-Target-URI` names the page; `…HTML-Metadata` holds `Head.Base` and `Links`, among
them `{"path": "IMG@/src", "url": …, "alt": …, "title": …}`. Entities are already decoded there.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

import msgspec

from wit_builder.pairs.rules import Page

IMAGE_PATH = "IMG@/src"


class _Link(msgspec.Struct, gc=False):
    """A link, with the attributes of `wit_builder.pairs.rules.Image`, so that no second object is made of it."""

    path: str = ""
    src: str | None = msgspec.field(default=None, name="url")
    alt: str | None = None
    title: str | None = None
    figcaption: ClassVar[None] = None
    aria_label: ClassVar[None] = None
    others: ClassVar[tuple[str, ...]] = ()


class _Head(msgspec.Struct):
    Base: str | None = None


class _Html(msgspec.Struct):
    Head: _Head | None = None
    Links: list[_Link] = []


class _Response(msgspec.Struct):
    html: _Html | None = msgspec.field(default=None, name="HTML-Metadata")


class _Payload(msgspec.Struct):
    response: _Response | None = msgspec.field(default=None, name="HTTP-Response-Metadata")


class _Header(msgspec.Struct):
    uri: str = msgspec.field(default="", name="WARC-Target-URI")


class _Envelope(msgspec.Struct):
    payload: _Payload | None = msgspec.field(default=None, name="Payload-Metadata")
    header: _Header | None = msgspec.field(default=None, name="WARC-Header-Metadata")


class _Record(msgspec.Struct):
    Envelope: _Envelope | None = None


_decode = msgspec.json.Decoder(_Record).decode  # builds only what is named above; everything else is skipped


def read_wat(data: bytes) -> Page | None:
    """What a WAT record says of a page's images, in document order. None where it is not about an HTML page.

    Raises:
      ValueError: where the record is not JSON.
    """
    try:
        envelope = _decode(data).Envelope
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _read_loosely(data)
    html = envelope and envelope.payload and envelope.payload.response and envelope.payload.response.html
    if not html:
        return None
    images = [link for link in html.Links if link.path == IMAGE_PATH]
    return Page(envelope.header.uri if envelope.header else "", html.Head.Base if html.Head else None, images)


def _read_loosely(data: bytes) -> Page | None:
    """As `read_wat`, for JSON whose values have other types or encodings than they should: those values are left out."""
    try:
        record = json.loads(data.decode("utf-8", "replace"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error

    def get(value: Any, *keys: str, kind: type) -> Any:
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, kind) else None

    html = get(record, "Envelope", "Payload-Metadata", "HTTP-Response-Metadata", "HTML-Metadata", kind=dict)
    if html is None:
        return None
    links = [link for link in get(html, "Links", kind=list) or () if get(link, "path", kind=str) == IMAGE_PATH]
    images = [_Link(IMAGE_PATH, *(get(link, name, kind=str) for name in ("url", "alt", "title"))) for link in links]
    uri = get(record, "Envelope", "WARC-Header-Metadata", "WARC-Target-URI", kind=str)
    return Page(uri or "", get(html, "Head", "Base", kind=str), images)
