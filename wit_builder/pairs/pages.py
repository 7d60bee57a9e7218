"""From a record of an archive, or a loose file, to what its page says of its images."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import partial

from fastwarc.stream_io import BrotliReader, ChunkedReader, GzipReader, ZstdReader
from fastwarc.warc import WarcRecord

from wit_builder.pairs.archives import Record
from wit_builder.pairs.charsets import to_utf8
from wit_builder.pairs.html import read_page
from wit_builder.pairs.rules import Page
from wit_builder.pairs.wat import read_wat

MAX_PAGE = 16 << 20  # bytes of a page that are read, before and after decoding

HTML_TYPES = frozenset(("text/html", "application/xhtml+xml"))
# Nothing is tried twice (++, (?>…)): pages made of comments would keep a backtracking search busy without end.
_LOOKS_LIKE_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?+\s*+(?:(?><!--.{0,2000}?-->)\s*+)*+<(?:!doctype\s++html|html|head|title|body)[\s>]", re.I | re.S
)
_IS_JSON = re.compile(rb"\nContent-Type:[ \t]*application/json[ \t]*[;\r\n]", re.IGNORECASE)
_BARE_HTTP_HEADER = re.compile(rb"HTTP/[^\r\n]++\n(?:[^\r\n]++\n)*+\n")  # lines that end without a carriage return
_DECODERS = {"gzip": GzipReader, "x-gzip": GzipReader, "deflate": partial(GzipReader, zlib=True), "br": BrotliReader, "zstd": ZstdReader}


def page_of(record: Record, *, captions: bool = False) -> Page | None:
    """What a WARC or WAT record says of an HTML page's images; None where it is not about one.

    The HTTP status plays no part, as it plays none in a WAT.

    Raises:
      ValueError: where a WAT record is not JSON, or a header is broken.
    """
    if record.kind == b"metadata":
        return read_wat(record.body) if _IS_JSON.search(record.header) else None
    http = _BARE_HTTP_HEADER.match(record.body)
    if http:  # FastWARC would find no end of it
        record = record.with_body(http[0].replace(b"\n", b"\r\n") + record.body[http.end() :])
    return _page_of_response(record.parse(), captions)


def _page_of_response(record: WarcRecord, captions: bool) -> Page | None:
    content_type = record.headers.get("Content-Type") or ""
    if media_type(content_type) == "application/http":
        try:
            record.parse_http(auto_decode="none")
        except OSError as error:
            raise ValueError(str(error)) from error
        headers = record.http_headers
        content_type = headers.get("Content-Type") or ""
        body = _decoded(record.reader.read(MAX_PAGE), headers.get("Transfer-Encoding") or "", headers.get("Content-Encoding") or "")
    else:
        body = record.reader.read(MAX_PAGE)
    if not is_html(record.headers.get("WARC-Identified-Payload-Type") or content_type, body):
        return None
    url = (record.headers.get("WARC-Target-URI") or "").strip("<> ")
    return read_page(url, to_utf8(body, content_type), captions=captions)


def media_type(content_type: str) -> str:
    """The media type of a Content-Type header, in lower case and without parameters."""
    return content_type.split(";", 1)[0].strip().lower()


def is_html(content_type: str, body: bytes) -> bool:
    """Whether a body is an HTML page: by its media type, or by its first bytes where it has none."""
    kind = media_type(content_type)
    return kind in HTML_TYPES if kind else _LOOKS_LIKE_HTML.match(body) is not None


def _decoded(body: bytes, transfer: str, content: str) -> bytes:
    """The body with its encodings taken off. Crawlers often store it decoded beside the old headers: then it is left as it is."""
    if "chunked" in transfer.lower():
        body = _read(ChunkedReader, body)
    for name in reversed(content.lower().replace(" ", "").split(",")[:4]):
        if name in _DECODERS:
            body = _read(_DECODERS[name], body)
    return body


def _read(decoder: Callable, body: bytes) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        reader = decoder(io.BytesIO(body))
        while size < MAX_PAGE and (piece := reader.read(1 << 16)):
            pieces.append(piece)
            size += len(piece)
    except OSError:
        pass  # cut off or broken: what came before stands
    return b"".join(pieces) or body
