"""WARC and WAT records of pages in Common Crawl's form; what a WAT says is found by Python's own HTML parser."""

from __future__ import annotations

import gzip
import io
import json
import uuid
from collections.abc import Iterable
from html.parser import HTMLParser

from fastwarc.warc import WarcRecord, WarcRecordType


class Links(HTMLParser):
    """Collects what Common Crawl's extractor keeps: every link with its path, and the base."""

    def __init__(self) -> None:
        super().__init__()
        self.base: str | None = None
        self.links: list[dict[str, str]] = []

    def handle_starttag(self, tag, attrs):
        values: dict[str, str] = {}
        for name, value in attrs:
            values.setdefault(name, value or "")
        if tag == "base" and "href" in values and self.base is None:
            self.base = values["href"]
        elif tag == "img" and "src" in values:
            self.links.append({"path": "IMG@/src", "url": values["src"], **{k: values[k] for k in ("alt", "title") if k in values}})
        elif tag == "a" and "href" in values:
            self.links.append({"path": "A@/href", "url": values["href"], "text": "a link"})


def wat_json(url: str, page: str) -> bytes:
    """The JSON of a page's WAT record."""
    parser = Links()
    parser.feed(page)
    parser.close()
    html = {"Head": {"Base": parser.base} if parser.base is not None else {}, "Links": parser.links}
    payload = {"HTTP-Response-Metadata": {"Headers": {"Content-Type": "text/html"}, "HTML-Metadata": html}}
    envelope = {"WARC-Header-Metadata": {"WARC-Target-URI": url, "WARC-Type": "response"}, "Payload-Metadata": payload}
    return json.dumps({"Container": {"Filename": "x.warc.gz"}, "Envelope": envelope}, ensure_ascii=False).encode()


def record(kind: WarcRecordType, url: str, content_type: str, body: bytes, *, http: str | None = None) -> bytes:
    """One WARC record, not compressed; with `http`, the body is a response with these header lines."""
    made = WarcRecord()
    made.init_headers(kind, record_urn=f"uuid:{uuid.uuid5(uuid.NAMESPACE_URL, url)}".encode())
    made.headers["WARC-Date"] = "2026-01-01T00:00:00Z"
    made.headers["WARC-Target-URI"] = url
    made.headers["Content-Type"] = content_type
    head = b"" if http is None else f"HTTP/1.1 200 OK\r\n{http}\r\n\r\n".encode()
    made.set_bytes_content(head + body)
    buffer = io.BytesIO()
    made.write(buffer)
    return buffer.getvalue()


def response(url: str, body: bytes, http: str = "Content-Type: text/html") -> bytes:
    """A response record."""
    return record(WarcRecordType.response, url, "application/http; msgtype=response", body, http=http)


def metadata(url: str, page: str) -> bytes:
    """A WAT record."""
    return record(WarcRecordType.metadata, url, "application/json", wat_json(url, page))


def members(records: Iterable[bytes]) -> bytes:
    """The records as Common Crawl stores them: a gzip member each."""
    return b"".join(gzip.compress(one, 1, mtime=0) for one in records)
