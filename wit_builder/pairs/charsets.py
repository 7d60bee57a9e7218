"""From a page's bytes to text: byte order mark, HTTP header, meta tag, detection, in the order that browsers use."""

from __future__ import annotations

import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(rb"""<meta[\s/][^>]*?charset\s*=\s*["']?\s*([A-Za-z0-9][A-Za-z0-9_:.+-]*)""", re.IGNORECASE)
_HEADER = re.compile(r"""charset\s*=\s*["']?\s*([A-Za-z0-9][A-Za-z0-9_:.+-]*)""", re.IGNORECASE)
META_BYTES = 4096  # how far a meta tag is looked for; browsers stop at 1,024, many pages do not


def decode(data: bytes, content_type: str | None = None) -> str:
    """A page's text. Bytes that its character set does not know become U+FFFD.

    >>> decode("é".encode("latin-1"), "text/html; charset=ISO-8859-1")
    'é'
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    header = _HEADER.search(content_type or "")
    encoding = _known(header[1]) if header else None
    if encoding is None:
        meta = _META.search(data[:META_BYTES])
        encoding = _known(meta[1].decode("ascii")) if meta else None
        if encoding is not None and encoding.startswith("utf-16"):
            encoding = "utf-8"  # the tag was readable as ASCII, so the page is not in UTF-16
    if encoding is None:
        try:
            return data.decode()
        except UnicodeDecodeError:
            encoding = _known(detect_encoding(data)) or "cp1252"
    return data.decode(encoding, "replace")


def _known(label: str) -> str | None:
    """Python's name of the encoding that browsers take a label for; None where they know none."""
    encoding = map_encoding_to_html5(label, fallback_utf8=False)
    if encoding is None:
        return None
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        return None
