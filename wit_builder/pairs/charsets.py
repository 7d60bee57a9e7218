"""From a page's bytes to UTF-8: byte order mark, HTTP header, meta tag, detection, in the order that browsers use."""

from __future__ import annotations

import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(rb"""<meta[\s/][^>]*?charset\s*=\s*["']?\s*([A-Za-z0-9][A-Za-z0-9_:.+-]*)""", re.IGNORECASE)
_HEADER = re.compile(r"""charset\s*=\s*["']?\s*([A-Za-z0-9][A-Za-z0-9_:.+-]*)""", re.IGNORECASE)
META_BYTES = 4096  # how far a meta tag is looked for; browsers stop at 1,024, many pages do not


def to_utf8(data: bytes, content_type: str | None = None) -> bytes:
    """A page in UTF-8, whatever it came in. What its character set does not know becomes U+FFFD.

    A page that is in UTF-8 comes back as it is, and may hold broken sequences: they never reach over an ASCII byte,
    so pieces cut at tags and quotes decode on their own as they would within the page.

    >>> to_utf8("é".encode("latin-1"), "text/html; charset=ISO-8859-1").decode()
    'é'
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return _recode(data[len(mark) :], name)
    header = _HEADER.search(content_type or "")
    encoding = _known(header[1]) if header else None
    if encoding is None:
        meta = _META.search(data[:META_BYTES])
        encoding = _known(meta[1].decode("ascii")) if meta else None
        if encoding is not None and encoding.startswith("utf-16"):
            encoding = "utf-8"  # the tag was readable as ASCII, so the page is not in UTF-16
    if encoding is None:
        try:
            data.decode()
            return data
        except UnicodeDecodeError:
            encoding = _known(detect_encoding(data)) or "cp1252"
    return _recode(data, encoding)


def _recode(data: bytes, encoding: str) -> bytes:
    if encoding == "utf-8":
        return data
    return data.decode(encoding, "replace").encode("utf-8", "replace")


def _known(label: str) -> str | None:
    """Python's name of the encoding that browsers take a label for; None where they know none."""
    encoding = map_encoding_to_html5(label, fallback_utf8=False)
    if encoding is None:
        return None
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        return None
