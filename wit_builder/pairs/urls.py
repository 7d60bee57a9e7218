"""Image URLs made absolute and normalised: WHATWG URL parsing (Ada), then RFC 3986's percent-encoding rules.

One URL has one spelling: scheme and host in lower case, host in punycode, no default port, no dot segments, no
credentials, no fragment, other characters percent-encoded in UTF-8, escapes in upper case, none where none is needed.
"""

from __future__ import annotations

import re

import can_ada

MAX_URL = 4096  # characters; servers and img2dataset-like tools rarely take more

# Most URLs on the web are in the normal form already, and need no parser: no escapes, no dot segments, no port, nothing
# to encode, and a host whose last label is no number and that holds no "--" (so that it is neither IPv4 nor punycode).
_PLAIN = r"A-Za-z0-9_~!$&()*+,;=:@\-"
_NORMAL = re.compile(
    rf"https?://(?:[a-z0-9]++[.-])++[a-z]++(?:/[{_PLAIN}]++(?:\.[{_PLAIN}.]*+)?)++/?(?:\?[{_PLAIN}./?]*+)?"
)

is_normal = _NORMAL.fullmatch
"""Whether a URL is plainly in the normal form. Other URLs may be in it too."""

_SCHEME = re.compile(r"[\s\x00-\x20]*([a-zA-Z][a-zA-Z0-9+.-]*):")
# An escape that is stray, in lower case, or of an unreserved character.
_ODD_ESCAPE = re.compile("%(?![0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|40|5[B-E]|60|7[B-DF])")
_ESCAPE = re.compile(r"%(?:([0-9A-Fa-f]{2})|)")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SURROGATE = re.compile("[\ud800-\udfff]")


def base_url(page_url: str, base_href: str | None = None) -> can_ada.URL | None:
    """What relative URLs of a page start from: its `<base href>` resolved against its URL. None where neither is usable."""
    base = _parse(page_url, None)
    if base_href is not None:
        base = _parse(base_href, base) or base
    return base if base is not None and base.protocol in ("http:", "https:") else None


def image_url(raw: str, base: can_ada.URL | None) -> tuple[str, str]:
    """The normal form of an image's URL as it stands in a page, and an empty string; or an empty string and a drop reason.

    Reasons: `url_empty`, `url_data`, `url_not_http`, `url_relative_without_base`, `url_invalid`, `url_too_long`.

    >>> image_url("../a%7eb.jpg#top", base_url("http://Example.org:80/x/y"))
    ('http://example.org/a~b.jpg', '')
    """
    if is_normal(raw):
        return (raw, "") if len(raw) <= MAX_URL else ("", "url_too_long")
    scheme = _SCHEME.match(raw)
    if scheme:
        name = scheme[1].lower()
        if name not in ("http", "https"):
            return "", "url_data" if name == "data" else "url_not_http"
    elif not raw.strip() or raw.lstrip()[0] == "#":
        return "", "url_empty"
    elif base is None and not raw.lstrip().startswith("//"):
        return "", "url_relative_without_base"
    if len(raw) > MAX_URL:
        return "", "url_too_long"
    url = _parse(raw if scheme or base is not None else "http:" + raw.lstrip(), base)
    if url is None or not url.hostname:
        return "", "url_invalid"
    text = spell(url)
    return (text, "") if len(text) <= MAX_URL else ("", "url_too_long")


def spell(url: can_ada.URL) -> str:
    """One spelling of a parsed http(s) URL: no credentials, no fragment, percent-encoding in its normal form."""
    text = url.href
    if "#" in text:
        url.hash = ""
        text = url.href
    if "@" in text and url.has_credentials():
        url.username = ""
        url.password = ""
        text = url.href
    return _ESCAPE.sub(_escape, text) if "%" in text and _ODD_ESCAPE.search(text) else text


def host_of(url: str) -> str:
    """Host of a normalised URL, with its port where it is not the scheme's own."""
    return url.split("/", 3)[2]


def _parse(text: str, base: can_ada.URL | None) -> can_ada.URL | None:
    try:
        return can_ada.parse(text) if base is None else base + text
    except ValueError:
        return None
    except TypeError:  # a lone surrogate, which has no UTF-8
        return _parse(_SURROGATE.sub("\ufffd", text), base)


def _escape(found: re.Match) -> str:
    digits = found[1]
    if digits is None:
        return "%25"  # a stray per cent sign
    character = chr(int(digits, 16))
    return character if character in _UNRESERVED else f"%{digits.upper()}"
