"""Makes the whole world in a folder, from a seed: wiki, page views, dictionary, web, crawl, evaluation sets, truth.

    WORLD/wikipedia/   a dump (bz2, multistream) and its index        WORLD/pageviews/  hourly and daily files
    WORLD/wordnet/     a WordNet database folder                      WORLD/site/       what the web server answers with
    WORLD/crawl/       the pages of the site as WARC files            WORLD/evaluation/ sets in CLIP_benchmark's layout
    WORLD/truth.json   the copies of evaluation images in the site    WORLD/world.json  what it was made from; written last
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from sample_world import evaluation, site, warc, wiki, wordnet
from sample_world.pictures import draw, encode
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.parallel import run_tasks
from wit_builder.progress import progress

MADE, TRUTH = "world.json", "truth.json"
WORLD_VERSION = 2  # raise it when the same seed gives another world


@dataclass(frozen=True)
class Scale:
    """How large a world is."""

    pictures: int  # of the web's own
    per_class: int  # evaluation images of each class
    planted: float  # share of the evaluation images that are copied into the web
    copies: int  # of each of those
    words: int  # of an article, about


SCALES = {
    "demo": Scale(pictures=2400, per_class=30, planted=0.3, copies=3, words=330),
    "small": Scale(pictures=300, per_class=5, planted=0.4, copies=2, words=330),
}


def make_world(folder: str, seed: int, scale: str, processes: int) -> dict[str, Any]:
    """Make the world, unless the folder holds it already; returns what `world.json` says.

    Raises:
      UserError: where the folder holds something else, or a world from another seed or scale.
    """
    if not folder:
        raise UserError("an empty path", where="the world's folder")
    path = os.path.join(folder, MADE)
    identity = {"seed": seed, "scale": scale, "world_version": WORLD_VERSION}
    if os.path.exists(path):
        found = files.read_json(path)
        if {name: found.get(name) for name in identity} != identity:
            raise UserError("this folder holds a world from another seed or scale", where=folder, fix="give another folder, or delete it")
        return found
    if any(os.path.basename(name) != TRUTH for name in files.match(folder)):  # an unfinished world has no other file beside its folders
        raise UserError("this folder holds something else", where=folder, fix="give another folder, or empty it")
    size = SCALES[scale]
    counts: dict[str, int] = {}
    pages = wiki.write_dump(os.path.join(folder, "wikipedia"), seed, size.words)
    counts |= {f"wiki {kind}": number for kind, number in pages.items()}
    wiki.write_pageviews(os.path.join(folder, "pageviews"), seed)
    counts["synsets"] = wordnet.write_wordnet(os.path.join(folder, "wordnet"))
    counts |= _write_web(folder, seed, size, processes)
    made = {**identity, "counts": counts}
    files.write_json(path, made)
    return made


def _write_web(folder: str, seed: int, size: Scale, processes: int) -> dict[str, int]:
    sets = {name: evaluation.examples(name, seed + 1 + number, size.per_class) for number, name in enumerate(evaluation.SETS)}
    plants = [plant for examples in sets.values() for plant in site.plants_of(examples, seed, size.planted, size.copies)]
    pages, pictures = site.plan(seed, size.pictures, plants)

    _draw(folder, [example for examples in sets.values() for example in examples], "evaluation images", processes)
    routes = _draw(folder, pictures, "pictures of the web", processes)
    for name, examples in sets.items():
        stored = [(example, files.read_bytes(_evaluation_file(folder, example))) for example in examples]
        evaluation.write_set(os.path.join(folder, "evaluation", name), name, stored)
    files.remove(os.path.join(folder, "drawn"))

    records = []
    for page in pages:
        content = site.page_html(seed, page)
        name = page.path[1:]
        _write(os.path.join(folder, "site", name), content)
        routes[page.path] = {"file": name}
        records.append((page.url, content))
    routes |= _common_files(os.path.join(folder, "site"))
    files.write_json(os.path.join(folder, "site", "routes.json"), routes)
    warc.write_crawl(os.path.join(folder, "crawl"), records)
    truth = [
        {"dataset": example.dataset, "eval_key": example.eval_key, "transform": transform, "url": picture.url}
        for picture in pictures
        if picture.plant
        for example, transform in [picture.plant]
    ]
    kinds = {"transforms": list(evaluation.TRANSFORMS), "easy": list(evaluation.EASY)}
    files.write_json(os.path.join(folder, TRUTH), {**kinds, "plants": truth})
    postings = [posting for page in pages for posting in page.postings]
    return {
        "pages": len(pages),
        "pictures": len(pictures),
        "postings": len(postings),
        "planted copies": len(plants),
        "planted examples": len({(example.dataset, example.number) for example, _ in plants}),
        **{f"examples of {name}": len(examples) for name, examples in sets.items()},
    }


def _common_files(folder: str) -> dict[str, dict]:
    """What every site has: robots.txt, a logo, a spacer, a page for what is gone; returns the routes of those with an address."""
    files.write_bytes(os.path.join(folder, _PAGE), b"<html><body>This picture has moved.</body></html>")
    files.write_bytes(os.path.join(folder, _SVG), b'<svg xmlns="http://www.w3.org/2000/svg"><circle r="9"/></svg>')
    files.write_bytes(os.path.join(folder, "robots.txt"), b"User-agent: *\nDisallow: /private/\n")
    dot, logo = io.BytesIO(), io.BytesIO()
    Image.new("P", (1, 1)).save(dot, "GIF")
    Image.new("RGB", (64, 64), (90, 140, 120)).save(logo, "PNG")
    files.write_bytes(os.path.join(folder, "media", "spacer.gif"), dot.getvalue())
    files.write_bytes(os.path.join(folder, "media", "logo.png"), logo.getvalue())
    names = {"/robots.txt": "robots.txt", "/media/logo.png": "media/logo.png"}
    return {path: {"file": name} for path, name in names.items()} | {
        path: {"file": "media/spacer.gif"} for path in ("/media/spacer.gif", "/media/pixel.gif")
    }


def _evaluation_file(folder: str, example: evaluation.Example) -> str:
    return os.path.join(folder, "drawn", example.dataset, f"{example.number}.jpg")


def _draw(folder: str, drawn: Sequence[site.Picture | evaluation.Example], label: str, processes: int) -> dict[str, dict]:
    """Draw every picture on local processes; returns the routes of the site's."""
    tasks = [drawn[first : first + 50] for first in range(0, len(drawn), 50)]
    routes: dict[str, dict] = {}
    with progress(label, len(drawn), "picture", scale=False) as line:
        for number, made in run_tasks(_DrawPictures(folder), tasks, processes):
            routes |= made
            line.update(number)
    return dict(sorted(routes.items()))


_PAGE = "media/page.html"
_SVG = "media/drawing.svg"
_ANSWERS: dict[str, dict] = {
    "gone": {"status": 410},
    "server error": {"status": 500},
    "empty": {},
    "page in its place": {"file": _PAGE, "headers": {"Content-Type": "text/html"}},
    "drawing in SVG": {"file": _SVG, "headers": {"Content-Type": "image/svg+xml"}},
}


def _write(path: str, data: bytes) -> None:
    """Write one of thousands of small files; `world.json`, written last, says that they are whole."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(data)


class _DrawPictures:
    """Work: draws pictures and writes their files; returns how many, and the routes of those on the site."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def load(self) -> None:
        return None

    def __call__(self, loaded: None, task: list[site.Picture | evaluation.Example]) -> tuple[int, dict[str, dict]]:
        routes: dict[str, dict] = {}
        for one in task:
            if isinstance(one, evaluation.Example):
                _write(_evaluation_file(self.folder, one), one.stored())
            else:
                routes |= self._post(one)
        return len(task), routes

    def _post(self, picture: site.Picture) -> dict[str, dict]:
        """Write a picture of the site with what is wrong with it; returns its routes."""
        fault = picture.fault
        if fault == "missing":
            return {}
        if fault == "circle of redirects":
            return {picture.path: {"status": 302, "headers": {"Location": picture.path}}}
        if fault in _ANSWERS:
            return {picture.path: _ANSWERS[fault]}
        if picture.plant:
            example, transform = picture.plant
            stored = files.read_bytes(_evaluation_file(self.folder, example))
            data = evaluation.transformed(Image.open(io.BytesIO(stored)), transform, picture.path)
        else:
            data = encode(draw(picture.scene), picture.form)
        if fault == "truncated":
            data = data[: len(data) // 3]
        name = picture.path[1:].replace("%", "_")
        _write(os.path.join(self.folder, "site", name), data)
        route: dict[str, Any] = {"file": name}
        if fault == "redirect":
            moved = picture.path.replace("/media/", "/moved/")
            return {picture.path: {"status": 301, "headers": {"Location": moved}}, moved: route}
        if fault == "wrong type":
            route["headers"] = {"Content-Type": "application/octet-stream"}
        elif fault == "opted out":
            route["headers"] = {"X-Robots-Tag": "noai, noimageai"}
        return {picture.path: route}
