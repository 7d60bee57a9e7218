"""From the images of a page to pairs: which URL, which text, and why a candidate is dropped.

The same rules serve HTML and WAT, so that both give the same pairs wherever the WAT holds what the page says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wit_builder.pairs.urls import base_url, image_url
from wit_builder.text import clean

TEXT_SOURCES = ("alt", "title", "figcaption", "aria-label")
MAX_TEXT = 8192  # characters after white space is collapsed; longer ones are stuffing, not descriptions

# What scripts replace once the reader scrolls there. Names alone decide, so that HTML and WAT agree.
_PLACEHOLDER = re.compile(
    r"""(?:(?:blank|clear|dummy|empty|gr[ae]y|lazy|lazy[-_]?load(?:er|ing)?|load(?:er|ing)|pixel|placeholder|spacer|trans|
        transparent|white|1x1|1px)(?:[-_](?:1x1|placeholder|image|img|pixel))?|lazy[-_]?placeholder)\.(?:gif|png|svg)(?:[?#]|$)""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(slots=True)
class Image:
    """One `img` of a page, attribute values with entities decoded.

    Attributes:
      src: None where there is no such attribute.
      others: URLs to take where `src` is a placeholder, the best first.
      texts: text by its source, of `TEXT_SOURCES`.
    """

    src: str | None
    others: Sequence[str]
    texts: dict[str, str]


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
    start = src[:5].lower()
    if start == "http:" or start == "https":
        return _is_spacer(src)
    start = src.lstrip()[:11].lower()
    return not start or start.startswith(("#", "data:", "about:", "javascript:")) or _is_spacer(src)


def _is_spacer(src: str) -> bool:
    return _PLACEHOLDER.match(src, src.split("?", 1)[0].rfind("/") + 1) is not None


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
    pairs: list[tuple[str, str, str]] = []
    drops: Counter = Counter()
    for image in page.images:
        texts = [(source, clean(image.texts[source])) for source in sources if source in image.texts]
        if not texts:
            drops["text_missing"] += 1
            continue
        url = reason = ""
        for source, text in texts:
            if not text:
                drops["text_empty"] += 1
                continue
            if not url and not reason:
                url, reason = choose_url(image)
                if not reason:
                    url, reason = image_url(url, base)
            why = reason or ("text_too_long" if len(text) > MAX_TEXT else "")
            if why:
                drops[why] += 1
            else:
                pairs.append((url, text, source))
    return pairs, drops
