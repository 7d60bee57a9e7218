"""The made web's pages as a crawler stores them: WARC files, a gzip member for each record."""

from __future__ import annotations

import gzip
import io
import os
import uuid

from fastwarc.warc import WarcRecord, WarcRecordType

from wit_builder import files

PAGES_PER_FILE = 60
_DATE = "2026-01-01T00:00:00Z"  # of the crawl; one for all, so that the same world has the same bytes


def _record(kind: WarcRecordType, name: str, headers: dict[str, str], block: bytes, http: bool) -> bytes:
    record = WarcRecord()
    record.init_headers(kind, record_urn=f"uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}".encode())
    record.headers["WARC-Date"] = _DATE
    for header, value in headers.items():
        record.headers[header] = value
    record.is_http = http
    record.set_bytes_content(block)
    plain = io.BytesIO()
    record.write(plain)
    return gzip.compress(plain.getvalue(), mtime=0)


def write_crawl(folder: str, pages: list[tuple[str, bytes]]) -> int:
    """Write (URL, HTML) pages as `sample-00000.warc.gz`, …: a request and a response for each. Returns the files."""
    number = 0
    for number, first in enumerate(range(0, len(pages), PAGES_PER_FILE)):
        name = f"sample-{number:05d}.warc.gz"
        info = b"software: sample_world\r\nformat: WARC File Format 1.1\r\n"
        records = [_record(WarcRecordType.warcinfo, name, {"Content-Type": "application/warc-fields"}, info, False)]
        for url, content in pages[first : first + PAGES_PER_FILE]:
            target = {"WARC-Target-URI": url}
            host, path = url.removeprefix("http://").split("/", 1)
            request = f"GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(content)}\r\n\r\n".encode()
            records.append(_record(WarcRecordType.request, f"{url}#request", target, request, True))
            records.append(_record(WarcRecordType.response, url, target, head + content, True))
        files.write_bytes(os.path.join(folder, name), b"".join(records))
    return number + 1
