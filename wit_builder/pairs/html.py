"""Images of an HTML page: `img` with its lazy-loading variants, `picture` sources, captions, and `<base href>`."""

from __future__ import annotations

import re

from resiliparse.parse.html import HTMLTree

from wit_builder.pairs.rules import Image, Page

# Attributes in which lazy-loading scripts keep the real URL, the commonest first.
LAZY_ATTRIBUTES = ("data-src", "data-original", "data-lazy-src", "data-lazy", "data-url", "data-image", "data-original-src")
SRCSET_ATTRIBUTES = ("srcset", "data-srcset", "data-lazy-srcset")

_CANDIDATE = re.compile(r"[\s,]*([^\s,]\S*[^\s,]|[^\s,])(?:\s+([^,(]*(?:\([^)]*\)[^,(]*)*))?(?:,|$)")
_DESCRIPTOR = re.compile(r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)([wx])")


def largest_candidate(srcset: str) -> str:
    """URL of the largest image of a `srcset`: most pixels across (w), else the highest density (x); empty where there is none.

    >>> largest_candidate("small.jpg 320w, big,1.jpg 1280w, medium.jpg 640w")
    'big,1.jpg'
    """
    best, best_size = "", (-1, -1.0)
    for found in _CANDIDATE.finditer(srcset):
        size = (0, 1.0)
        for number, unit in _DESCRIPTOR.findall(found[2] or ""):
            size = (int(unit == "w"), float(number))
        if size > best_size:
            best, best_size = found[1], size
    return best


def read_page(url: str, html: str) -> Page:
    """What a page says of its images, in document order."""
    document = HTMLTree.parse(html).document
    base = next((node["href"] for node in document.get_elements_by_tag_name("base") if "href" in node.attrs), None)
    images = []
    for node in document.get_elements_by_tag_name("img"):
        get = node.getattr
        others = [get(name) for name in LAZY_ATTRIBUTES if get(name)]
        others += [largest_candidate(get(name)) for name in SRCSET_ATTRIBUTES if get(name)]
        parent = node.parent
        if parent is not None and parent.tag == "picture":
            for source in parent.get_elements_by_tag_name("source"):
                others += [largest_candidate(source.getattr(name)) for name in SRCSET_ATTRIBUTES if source.getattr(name)]
        texts = {name: get(name) for name in ("alt", "title", "aria-label") if get(name) is not None}
        images.append(Image(get("src"), others, texts))
    return Page(url, base, images)
