"""The made web: what pages there are, which pictures they post under which texts, and how each is linked.

This is the plan only; `sample_world.world` draws the pictures and writes the files.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field

import numpy as np

from sample_world.chance import chance, choose
from sample_world.evaluation import EASY, TRANSFORMS, Example
from sample_world.pictures import Scene, make_scene
from sample_world.texts import KINDS, alt_text, caption

HOST = "sample.invalid"  # a name that no resolver knows (RFC 2606): the fetcher maps it to a port of this machine
ORIGIN = f"http://{HOST}"
PICTURES_PER_PAGE = 12

# what goes wrong with a picture on the way, and how often; the rest is served as it is
FAULTS: dict[str, float] = {
    "none": 91.0,
    "missing": 2.0,
    "gone": 0.5,
    "server error": 0.5,
    "truncated": 1.0,
    "page in its place": 1.0,
    "empty": 0.5,
    "drawing in SVG": 0.5,
    "wrong type": 0.7,  # a good picture sent as application/octet-stream
    "redirect": 1.2,
    "circle of redirects": 0.3,
    "opted out": 0.8,  # X-Robots-Tag: noai
}
_FORMATS = {"jpeg": 80.0, "png": 8.0, "webp": 8.0, "gif": 4.0}
_SUFFIXES = {"jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif"}
# how a page links a picture, and how often
_LINKS = {"root": 30.0, "absolute": 25.0, "relative": 20.0, "protocol": 5.0, "lazy": 8.0, "srcset": 4.0, "picture": 4.0, "escaped": 4.0}


@dataclass(frozen=True)
class Picture:
    """One image on the server: where, what, in which format, and what is wrong with it."""

    path: str  # from the root, percent-encoded as in URLs
    scene: Scene
    form: str
    fault: str = "none"
    plant: tuple[Example, str] | None = None  # the evaluation image it copies, and how

    @property
    def url(self) -> str:
        """The address under which pages link it."""
        return ORIGIN + self.path


@dataclass
class Page:
    """One HTML page and the pictures on it: (picture, alt text, way of linking)."""

    path: str
    postings: list[tuple[Picture, str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return ORIGIN + self.path


def plan(seed: int, pictures: int, plants: list[tuple[Example, str]]) -> tuple[list[Page], list[Picture]]:
    """Pages and pictures of the web: `pictures` of its own, a copy for each plant, some posted again elsewhere."""
    own = [_own_picture(seed, number) for number in range(pictures)]
    copies = [_planted(seed, number, example, transform) for number, (example, transform) in enumerate(plants)]
    every = own + copies
    postings = [_posting(seed, picture, every) for picture in every]
    postings += [_posting(seed, picture, every, again=1) for picture in own if chance("again", seed, picture.path).random() < 0.1]
    order = sorted(range(len(postings)), key=lambda number: chance("order", seed, number, postings[number][0].path).random())
    pages = []
    for number, first in enumerate(range(0, len(order), PICTURES_PER_PAGE)):
        section = choose(chance("section", seed, number), ("gallery", "blog", "shop", "news/2026"))
        page = Page(f"/{section}/page-{number:04d}.html")
        page.postings = [postings[index] for index in order[first : first + PICTURES_PER_PAGE]]
        pages.append(page)
    return pages, every


def plants_of(examples: list[Example], seed: int, share: float, copies: int) -> list[tuple[Example, str]]:
    """The plants: a share of the examples by chance, each in several copies, transforms in turn, every second one easy."""
    chosen = [example for example in examples if chance("planted", seed, example.scene.key).random() < share]
    hard = [name for name in TRANSFORMS if name not in EASY]
    made = []
    for number, example in enumerate(chosen):
        for copy in range(copies):
            turn = number * copies + copy
            made.append((example, EASY[turn // 2 % len(EASY)] if turn % 2 == 0 else hard[turn // 2 % len(hard)]))
    return made


def _own_picture(seed: int, number: int) -> Picture:
    g = chance("own picture", seed, number)
    scene = make_scene(f"web/{seed}/{number}")
    form = choose(g, list(_FORMATS), list(_FORMATS.values()))
    stem = choose(g, (f"{scene.colour}-{scene.thing}-{number}", f"img_{number:05d}", f"{scene.thing}%20{number}", f"f%C3%BCr-{number}"))
    folder = "private" if g.random() < 0.005 else f"media/{int(g.integers(16)):02x}"
    return Picture(f"/{folder}/{stem}.{_SUFFIXES[form]}", scene, form, choose(g, list(FAULTS), list(FAULTS.values())))


def _planted(seed: int, number: int, example: Example, transform: str) -> Picture:
    g = chance("planted picture", seed, number)
    return Picture(f"/media/{int(g.integers(16)):02x}/upload-{number:05d}.jpg", example.scene, "jpeg", "none", (example, transform))


def _posting(seed: int, picture: Picture, every: list[Picture], again: int = 0) -> tuple[Picture, str, str]:
    g = chance("posting", seed, picture.path, again)
    kind = choose(g, list(KINDS), list(KINDS.values()))
    link = choose(g, list(_LINKS), list(_LINKS.values()))
    if picture.plant:  # nine in ten with a true caption, as most of the web's copies have
        text = caption(picture.scene, g) if g.random() < 0.9 else alt_text(picture.scene, kind, "upload.jpg", every[0].scene, g)
    else:
        text = alt_text(picture.scene, kind, picture.path.rsplit("/", 1)[-1], choose(g, every).scene, g)
    return picture, text, link


_PLACEHOLDERS = ("data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==", "/media/spacer.gif")


_TAGS = ('<img src="{u}" alt="{a}">', '<IMG ALT="{a}" SRC="{u}" width=120>', '<img alt="{a}" src=" {u} " loading="lazy" />')
_AROUND = ("<figure>{}<figcaption>Posted again</figcaption></figure>", "<p>{}", "<div><a href='#'>{}</a></div>", "<td>{}")


def _image_tag(page: Page, picture: Picture, text: str, link: str, based: bool, g: np.random.Generator) -> str:
    alt = html.escape(text, quote=True)
    url = {
        "absolute": picture.url,
        "protocol": f"//{HOST}{picture.path}",
        "relative": ("../" * (page.path.count("/") - 1) if not based else "") + picture.path[1:],
        "escaped": picture.url.replace("/", "&#47;"),
    }.get(link, picture.path)
    if link == "lazy":
        name = choose(g, ("data-src", "data-original"))
        return f'<img class="lazy" src="{choose(g, _PLACEHOLDERS)}" {name}="{url}" alt="{alt}">'
    if link == "srcset":
        return f'<img src="{_PLACEHOLDERS[0]}" srcset="/thumbs{picture.path} 60w, {url} 480w" sizes="50vw" alt="{alt}"/>'
    if link == "picture":
        return f'<picture><source srcset="/thumbs{picture.path}" media="(max-width: 99px)"><img alt="{alt}" src="{url}"></picture>'
    return choose(g, _TAGS).format(u=url, a=alt)


def page_html(seed: int, page: Page) -> bytes:
    """The page, with what else stands on one: a logo, adverts, links that are no pictures, and tags left open."""
    g = chance("page", seed, page.path)
    based = g.random() < 0.15
    base = f'<base href="{ORIGIN}/">' if based else ""
    figures = []
    for picture, text, link in page.postings:
        tag = _image_tag(page, picture, text, link, based, g)
        figures.append(choose(g, _AROUND).format(tag))
    junk = (
        '<img src="/media/logo.png" alt="Sample site">',
        '<img src="javascript:void(0)" alt="a red star in a script">',
        '<img src="ftp://sample.invalid/star.jpg" alt="a red star by FTP">',
        '<img src="" alt="a red star from nowhere">',
        '<img src="/media/pixel.gif" alt="" width="1" height="1">',
        '<img src="/media/no-text.jpg">',
    )
    body = "\n".join([junk[0], *figures[:6], choose(g, junk[1:]), *figures[6:]])
    text = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Page {html.escape(page.path)}</title>{base}'
        f"<script>var x = '<img src=\"/media/script.jpg\" alt=\"a red star in a string\">';</script></head>\n"
        f"<body><!-- <img src='/media/comment.jpg' alt='a red star in a comment'> -->\n{body}\n</body></html>\n"
    )
    return text.encode()
