"""Images of an HTML page: `img` with its lazy-loading variants, `picture` sources, captions, and `<base href>`."""

from __future__ import annotations

import re
from collections import deque

from wit_builder.pairs.rules import Image, Page
from wit_builder.pairs.tokenizer import BASE, CLOSE, FIGCAPTION, FIGURE, IMG, PICTURE, RAW, SCRIPT, SOURCE, attributes, tags, unescape

# Attributes in which lazy-loading scripts keep the real URL, the commonest first, then those with a choice of sizes.
LAZY_ATTRIBUTES = ("data-src", "data-original", "data-lazy-src", "data-lazy", "data-url", "data-image", "data-original-src")
SRCSET_ATTRIBUTES = ("srcset", "data-srcset", "data-lazy-srcset")
TEXT_ATTRIBUTES = ("alt", "title", "aria-label")
OPEN_FIGURES = 8  # figures nested more deeply lose the outermost: a caption is never read more often than this

_OF_IMAGE = frozenset(name.encode() for name in ("src", *TEXT_ATTRIBUTES, *LAZY_ATTRIBUTES, *SRCSET_ATTRIBUTES))
_OF_SOURCE = frozenset(name.encode() for name in SRCSET_ATTRIBUTES)
_OF_BASE = frozenset((b"href",))

_URL = re.compile(r"[\s,]*+(\S++)")
_DESCRIPTORS = re.compile(r"((?:[^,(]++|\([^)]*+\)?)*+),?")
_DESCRIPTOR = re.compile(r"(?:^|\s)(\d{1,15}(?:\.\d{1,15})?|\.\d{1,15})([wx])(?=\s|$)")


def largest_candidate(srcset: str) -> str:
    """URL of the largest image of a `srcset`: most pixels across (w), else the highest density (x); empty where there is none.

    >>> largest_candidate("small.jpg 320w, big,1.jpg 1280w, medium.jpg 640w")
    'big,1.jpg'
    """
    best, best_size, place = "", (-1, -1.0), 0
    while match := _URL.match(srcset, place):
        url, place = match[1], match.end()
        size = (0, 1.0)
        if url.endswith(","):
            url = url.rstrip(",")
        else:
            match = _DESCRIPTORS.match(srcset, place)
            place = match.end()
            for number, unit in _DESCRIPTOR.findall(match[1]):
                size = (int(unit == "w"), float(number))
        if url and size > best_size:
            best, best_size = url, size
    return best


def read_page(url: str, html: bytes, *, captions: bool = False) -> Page:
    """What a page in UTF-8 says of its images, in document order. `captions`: also the `figcaption` of figures."""
    base_href: str | None = None
    images: list[Image] = []
    picture: list[str] | None = None  # URLs of the open picture's sources
    figures: deque[_Figure] = deque(maxlen=OPEN_FIGURES)
    for kind, start, name_end, end in tags(html):
        if kind == IMG:
            image = _image(attributes(html[name_end : end - 1], _OF_IMAGE), picture or ())
            images.append(image)
            picture = None
            if figures:
                figures[-1].images.append(image)
        elif kind == PICTURE:
            picture = []
        elif kind == SOURCE:
            if picture is not None:
                picture += _largest(attributes(html[name_end : end - 1], _OF_SOURCE))
        elif kind == PICTURE + CLOSE:
            picture = None
        elif kind == BASE:
            if base_href is None:
                base_href = attributes(html[name_end : end - 1], _OF_BASE).get("href")
        elif not captions:
            continue
        elif kind == FIGURE:
            figures.append(_Figure())
        elif kind == FIGCAPTION and figures and figures[-1].caption_start is None:
            figures[-1].caption_start = end
        elif kind == FIGCAPTION + CLOSE and figures and figures[-1].caption_end is None:
            figures[-1].caption_end = start
        elif kind == FIGURE + CLOSE and figures:
            figures.pop().close(html, start)
    for figure in figures:
        figure.close(html, len(html))
    return Page(url, base_href, images)


def _image(values: dict[str, str], picture: tuple[str, ...] | list[str]) -> Image:
    others = [values[name] for name in LAZY_ATTRIBUTES if name in values]
    others += [*_largest(values), *picture]
    get = values.get
    return Image(get("src"), others, get("alt"), get("title"), aria_label=get("aria-label"))


def _largest(values: dict[str, str]) -> list[str]:
    return [largest_candidate(values[name]) for name in SRCSET_ATTRIBUTES if name in values]


class _Figure:
    """A figure that is being read: its images, and where the first caption stands."""

    def __init__(self) -> None:
        self.images: list[Image] = []
        self.caption_start: int | None = None
        self.caption_end: int | None = None

    def close(self, html: bytes, end: int) -> None:
        if self.images and self.caption_start is not None:
            caption = text_of(html[self.caption_start : self.caption_end if self.caption_end is not None else end])
            for image in self.images:
                image.figcaption = caption


def text_of(html: bytes) -> str:
    """Text of a piece of a page, tags and comments taken for spaces where they break lines and for nothing elsewhere.

    >>> text_of(b"<b>A</b>n apple<br>&amp; a pear<!-- no -->")
    'An apple & a pear'
    """
    pieces, place, raw = [], 0, False
    for kind, start, name_end, end in tags(html, every=True):
        if not raw:
            pieces.append(html[place:start])
        raw = kind in (RAW, SCRIPT)
        if html[start + 1 : name_end].lstrip(b"/").lower() in _BREAKING:
            pieces.append(b" ")
        place = end
    if not raw:
        pieces.append(html[place:])
    return unescape(b"".join(pieces).decode("utf-8", "replace"), attribute=False)


_BREAKING = frozenset(
    (b"br", b"p", b"div", b"li", b"ul", b"ol", b"td", b"tr", b"table", b"dd", b"dt", b"h1", b"h2", b"h3", b"h4", b"h5", b"h6", b"hr")
)
