"""Alt texts of the made web: captions in many voices, and all that stands in their place on real pages."""

from __future__ import annotations

import numpy as np

from sample_world.chance import choose
from sample_world.pictures import Scene
from sample_world.vocabulary import COUNTS, FRENCH, GERMAN, GREEK, GROUNDS, JAPANESE, THINGS

# what stands in the alt attribute, and how often; a caption tells the truth about its picture
KINDS: dict[str, float] = {
    "caption": 74.0,
    "bare": 8.0,  # the thing or the colour alone
    "file name": 4.0,
    "empty": 4.0,
    "foreign": 4.0,
    "nothing": 3.0,  # says nothing about any picture
    "wrong": 1.0,  # the caption of another picture
    "long": 1.0,
    "markup": 1.0,  # characters that must be escaped
}

_CAPTIONS = (
    "a photo of {it}",
    "a photo of {it} {where}",
    "{it}",
    "{It}.",
    "picture of {it}",
    "this is {it}",
    "{It}!",
    "Drawing of {it}, {where}",
    "{IT}",
    "{It} - free download",
    "{it} in my garden",
    "my new {thing}: {it}",
    "{thing}",
    "Buy {it} online",
    "stock photo: {it}",
    "Sunday walk, found {it} {where}",
    "a {thing}, {colour}",
    "the {colour} {thing}",
    "{colour}, {thing}",
    "[{thing}] {it}",
)

_NOTHING = (
    "image", "photo", "untitled", "click here", "»", "logo", "banner", "spacer", "…", "loading", "Lorem ipsum dolor sit amet",
    "advertisement", "?", "thumbnail", "share", "🙂", "100%", "new!", "#1", "zoom",
)  # fmt: skip


_MARKUP = ('{} "best" <b>offer</b>', "<script>alert('{}')</script>", "{} &amp; more", "‘{}’ © 1999", "{}\u200b\u00ad\u202e")


def _it(scene: Scene, g: np.random.Generator) -> str:
    """The thing in words: "a red striped star", "two blue fish"."""
    words = [COUNTS[scene.count][0], scene.colour, THINGS[scene.thing][0] if scene.count > 1 else scene.thing]
    if scene.pattern != "plain" and g.random() < 0.3:
        words.insert(int(g.integers(1, 3)), scene.pattern)
    if words[0] == "a" and words[1] == "orange":
        words[0] = "an"
    if scene.beside and g.random() < 0.5:
        words += ["and", "a" if scene.beside[0] != "orange" else "an", *scene.beside]
    return " ".join(words)


def caption(scene: Scene, g: np.random.Generator) -> str:
    """A true caption in one of many voices."""
    it = _it(scene, g)
    return choose(g, _CAPTIONS).format(
        it=it,
        It=it[0].upper() + it[1:],
        IT=it.upper(),
        where=GROUNDS[scene.ground][0],
        colour=scene.colour,
        thing=scene.thing,
    )


def alt_text(scene: Scene, kind: str, file_name: str, other: Scene, g: np.random.Generator) -> str:
    """The alt text of one posting of a picture; `other` is some other picture's scene."""
    if kind == "caption":
        return caption(scene, g)
    if kind == "bare":
        return choose(g, (scene.thing, scene.thing.upper(), THINGS[scene.thing][0], scene.colour, f"something {scene.colour}"))
    if kind == "file name":
        return choose(g, (file_name, f"IMG_{int(g.integers(1000, 9999))}.JPG", f"DSC{int(g.integers(10000, 99999)):05d}"))
    if kind == "empty":
        return choose(g, ("", " ", "\n"))
    if kind == "foreign":
        language = choose(g, (GERMAN, FRENCH, JAPANESE, GREEK))
        first, second = language[scene.colour], language[scene.thing]
        return {id(JAPANESE): f"{first}{second}", id(FRENCH): f"{second} {first}"}.get(id(language), f"{first} {second}")
    if kind == "nothing":
        return choose(g, _NOTHING)
    if kind == "wrong":
        return caption(other, g)
    if kind == "long":
        return " | ".join([caption(scene, g) for _ in range(int(g.integers(30, 60)))])
    return choose(g, _MARKUP).format(caption(scene, g))
