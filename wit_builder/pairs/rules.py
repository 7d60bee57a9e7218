"""From the images of a page to pairs: which URL, which text, and why a candidate is dropped.

The same rules serve HTML and WAT, so that both give the same pairs wherever the WAT holds what the page says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from wit_builder.pairs.urls import base_url, image_url
from wit_builder.text import clean

TEXT_SOURCES = ("alt", "title", "figcaption", "aria-label")
MAX_TEXT = 8192  # characters after white space is collapsed; longer ones are stuffing, not descriptions

# What scripts replace once the reader scrolls there. Names alone decide, so that HTML and WAT agree.
_LAZY = (f"lazy{mark}load{end}" for mark in ("", "-", "_") for end in ("", "er", "ing"))
_WORDS = (
    *("blank", "clear", "dummy", "empty", "gray", "grey", "lazy", *_LAZY, "loader", "loading", "pixel", "placeholder", "spacer"),
    *("trans", "transparent", "white", "1x1", "1px"),
)
_ENDINGS = ("", *(mark + word for mark in "-_" for word in ("1x1", "placeholder", "image", "img", "pixel")))
_SPACERS = frozenset((*(word + ending for word in _WORDS for ending in _ENDINGS), "lazyplaceholder"))
_SPACER_TYPE = re.compile(r"\.(?:gif|png|svg)(?:[?#]|$)", re.IGNORECASE)


@dataclass(slots=True)
class Image:
    """One `img` of a page, attribute values with entities decoded; None where there is no such attribute.

    Attributes:
      others: URLs to take where `src` is a placeholder, the best first.
    """

    src: str | None = None
    others: Sequence[str] = ()
    alt: str | None = None
    title: str | None = None
    figcaption: str | None = None
    aria_label: str | None = None


@dataclass(slots=True)
class Page:
    """What a page says of its images."""

    url: str
    base_href: str | None
    images: list[Image]


def is_placeholder(src: str) -> bool:
    """Whether `src` shows nothing of the image: empty, inline data, a script, or named like a spacer.

    >>> is_placeholder("/img/blank.gif"), is_placeholder("/img/blanket.jpg")
    (True, False)
    """
    if src.startswith(("http", "/")):
        return _is_spacer(src)
    start = src.lstrip()[:11].lower()
    return not start or start.startswith(("#", "data:", "about:", "javascript:")) or _is_spacer(src)


def _is_spacer(src: str) -> bool:
    if src.endswith((".jpg", ".jpeg")):
        return False
    query = src.find("?")
    name = (src.rfind("/") if query < 0 else src.rfind("/", 0, query)) + 1
    dot = src.find(".", name)
    return src[name:dot].lower() in _SPACERS and dot >= 0 and _SPACER_TYPE.match(src, dot) is not None


def choose_url(image: Image) -> tuple[str, str]:
    """The URL to take, as it stands in the page, and an empty string; or an empty string and a drop reason."""
    if image.src is not None and not is_placeholder(image.src):
        return image.src, ""
    for other in image.others:
        if not is_placeholder(other):
            return other, ""
    if image.src is None:
        return "", "no_url"
    return (image.src, "") if not _is_spacer(image.src) else ("", "url_placeholder")


def pairs_of(page: Page, sources: Sequence[str] = ("alt",)) -> tuple[list[tuple[str, str, str]], Counter]:
    """Pairs of a page as (url, text, text source), and counts of drops by reason.

    An image is a candidate once for each wanted text source that it has, and once where it has none.
    """
    base = base_url(page.url, page.base_href)
    wanted = [(source, attrgetter(source.replace("-", "_"))) for source in sources]
    pairs: list[tuple[str, str, str]] = []
    dropped: list[str] = []
    for image in page.images:
        url = reason = ""
        missing = True
        for source, text_of in wanted:
            text = text_of(image)
            if text is None:
                continue
            missing = False
            text = text and clean(text)
            if not text:
                dropped.append("text_empty")
                continue
            if not url and not reason:
                url, reason = choose_url(image)
                if not reason:
                    url, reason = image_url(url, base)
            if reason:
                dropped.append(reason)
            elif len(text) > MAX_TEXT:
                dropped.append("text_too_long")
            else:
                pairs.append((url, text, source))
        if missing:
            dropped.append("text_missing")
    return pairs, Counter(dropped)
