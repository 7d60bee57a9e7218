"""Pictures of the made world, drawn with Pillow: a scene's key decides everything in it.

No two scenes share their ground, so that only planted copies are near-duplicates; the things in them keep their
colour and outline, so that a small model can learn their names.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from sample_world.chance import chance, choose
from sample_world.shapes import outline
from sample_world.vocabulary import COLOURS, COUNTS, GROUNDS, PATTERNS, THINGS

DRAWN_SCALE = 2  # pictures are drawn larger and reduced, for smooth edges


@dataclass(frozen=True)
class Scene:
    """What a picture shows; `key` decides the rest (places, sizes, ground, clutter)."""

    key: str
    thing: str
    colour: str
    pattern: str
    ground: str
    count: int
    beside: tuple[str, str] | None  # colour and name of a small other thing


def make_scene(key: str, *, thing: str | None = None, colour: str | None = None) -> Scene:
    """The scene of a key; `thing` and `colour` are drawn by how common they are on the web unless given."""
    g = chance("scene", key)
    drawn = choose(g, list(THINGS), [weight for _, weight in THINGS.values()])
    shade = choose(g, list(COLOURS), [weight for _, weight in COLOURS.values()])
    pattern = choose(g, list(PATTERNS), list(PATTERNS.values()))
    ground = choose(g, list(GROUNDS))
    count = choose(g, list(COUNTS), [weight for _, weight in COUNTS.values()])
    beside = (choose(g, list(COLOURS)), choose(g, list(THINGS))) if g.random() < 0.12 else None
    return Scene(key, thing or drawn, colour or shade, pattern, ground, count, beside)


def draw(scene: Scene) -> Image.Image:
    """The scene's picture, RGB, 120 to 175 pixels a side."""
    g = chance("picture", scene.key)
    size = int(g.integers(120, 176)), int(g.integers(120, 176))
    large = size[0] * DRAWN_SCALE, size[1] * DRAWN_SCALE
    picture = _ground(scene.ground, large, g)
    _clutter(picture, g)
    short = min(large)
    for x, y, radius in _places(scene.count, large, g):
        _thing(picture, scene.thing, scene.colour, scene.pattern, (x, y), radius * short, g)
    if scene.beside:
        corner = g.choice([0.14, 0.86]) * large[0], g.choice([0.14, 0.86]) * large[1]
        _thing(picture, scene.beside[1], scene.beside[0], "plain", corner, 0.1 * short, g)
    picture = picture.resize(size, Image.Resampling.BOX)
    noise = g.standard_normal((size[1], size[0], 1), np.float32) * np.float32(g.uniform(2, 7))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def encode(picture: Image.Image, form: str, quality: int = 88) -> bytes:
    """The picture as a file: `form` is jpeg, png, webp or gif."""
    buffer = io.BytesIO()
    if form == "jpeg":
        picture.save(buffer, "JPEG", quality=quality)
    elif form == "webp":
        picture.save(buffer, "WEBP", quality=quality, method=1)
    elif form == "png":
        picture.save(buffer, "PNG", compress_level=3)
    else:
        picture.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(buffer, "GIF")
    return buffer.getvalue()


def _ground(name: str, size: tuple[int, int], g: np.random.Generator) -> Image.Image:
    """A ground of its own: a smooth random field between two tones that vary, and marks of its kind."""
    _, first, second = GROUNDS[name]
    tones = np.array([first, second], float) + g.normal(0, 14, (2, 3))
    cells = int(g.integers(4, 7))
    field = g.random((cells, cells, 1))
    small = tones[0] + field * (tones[1] - tones[0]) + g.normal(0, 30, (cells, cells, 1)) + g.normal(0, 12, (cells, cells, 3))
    picture = Image.fromarray(np.clip(small, 0, 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    dark = tuple(int(v) for v in np.clip(tones[0] * 0.86, 0, 255))
    if name == "brick":
        height = int(g.integers(20, 44))
        for row, y in enumerate(range(int(g.integers(height)), size[1], height)):
            pen.line([(0, y), (size[0], y)], dark, 3)
            for x in range((row % 2) * height, size[0], 2 * height):
                pen.line([(x, y), (x, y + height)], dark, 3)
    else:
        marks = {"grass": 90, "sand": 60, "snow": 26, "water": 46, "night": 30, "paper": 10, "clouds": 12}[name]
        xs, ys, lengths = g.integers(size[0], size=marks), g.integers(size[1], size=marks), g.integers(4, 40, size=marks)
        light = tuple(int(v) for v in np.clip(tones[1] * 1.12, 0, 255))
        for x, y, length in zip(xs.tolist(), ys.tolist(), lengths.tolist()):
            if name == "grass":
                pen.line([(x, y), (x + length // 5, y - length)], dark, 2)
            elif name == "water":
                pen.arc([x, y, x + 2 * length, y + length], 20, 160, light, 3)
            elif name == "clouds":
                pen.ellipse([x, y, x + 3 * length, y + length], light)
            elif name == "paper":
                pen.line([(0, y), (size[0], y + length - 20)], light, 2)
            else:
                pen.ellipse([x, y, x + length // 5 + 2, y + length // 5 + 2], light if name in ("night", "snow") else dark)
    return picture


def _clutter(picture: Image.Image, g: np.random.Generator) -> None:
    """Soft, greyish patches and lines, different in every picture."""
    width, height = picture.size
    pen = ImageDraw.Draw(picture, "RGBA")
    for _ in range(int(g.integers(5, 12))):
        grey = g.integers(40, 216) + g.integers(-26, 27, 3)
        tone = (*(int(v) for v in np.clip(grey, 0, 255)), int(g.integers(70, 190)))
        x, y = g.uniform(-0.1, 1.1) * width, g.uniform(-0.1, 1.1) * height
        w, h = g.uniform(0.05, 0.4) * width, g.uniform(0.05, 0.4) * height
        kind = int(g.integers(3))
        if kind == 0:
            pen.ellipse([x - w / 2, y - h / 2, x + w / 2, y + h / 2], tone)
        elif kind == 1:
            corners = g.uniform(-0.5, 0.5, (int(g.integers(3, 5)), 2)) * (w, h) + (x, y)
            pen.polygon([tuple(corner) for corner in corners], tone)
        else:
            pen.line([(x, y), (x + 2 * w * g.uniform(-1, 1), y + 2 * h * g.uniform(-1, 1))], tone, int(g.integers(3, 14)))


def _places(count: int, size: tuple[int, int], g: np.random.Generator) -> list[tuple[float, float, float]]:
    """Centres in pixels and radii as shares of the shorter side; several stand side by side, shuffled a little."""
    width, height = size
    if count == 1:
        radius = g.uniform(0.34, 0.46)
        return [(g.uniform(0.42, 0.58) * width, g.uniform(0.42, 0.58) * height, radius)]
    radius = g.uniform(0.22, 0.27) if count == 2 else g.uniform(0.17, 0.21)
    along = (np.arange(count) + 0.5) / count + g.normal(0, 0.03, count)
    across = g.uniform(0.28, 0.72, count)
    return [(a * width, b * height, radius) if width >= height else (b * width, a * height, radius) for a, b in zip(along, across)]


def _thing(
    picture: Image.Image,
    name: str,
    colour: str,
    pattern: str,
    centre: tuple[float, float],
    radius: float,
    g: np.random.Generator,
) -> None:
    """Draw one thing onto the picture; `centre` and `radius` in pixels."""
    width, height = picture.size
    turn = np.radians(g.normal(0, 25 if name in ("arrow", "key", "star", "flower", "ring", "moon") else 7))
    stretch = np.array([1, g.uniform(0.85, 1.15)]) * (g.choice([-1, 1]), 1)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    polygons = [(fills, (points * stretch) @ rotation * radius + centre) for fills, points in outline(name, g)]
    every = np.concatenate([points for _, points in polygons])
    left, top = np.maximum(np.floor(every.min(axis=0)) - 4, 0).astype(int)
    right, bottom = np.minimum(np.ceil(every.max(axis=0)) + 4, (width, height)).astype(int)
    box = (int(left), int(top), int(right), int(bottom))
    mask = Image.new("1", (max(1, box[2] - box[0]), max(1, box[3] - box[1])))
    edge = mask.copy()
    pen, edge_pen = ImageDraw.Draw(mask), ImageDraw.Draw(edge)
    for fills, points in polygons:
        corners = [tuple(corner) for corner in (points - (left, top)).tolist()]
        pen.polygon(corners, int(fills))
        edge_pen.line([*corners, corners[0]], 1, 5)
    base = np.array(COLOURS[colour][0], float) + g.normal(0, 8, 3)
    rim = Image.new("RGB", mask.size, tuple(int(v) for v in (base * 0.35 if base.mean() > 60 else 255 - (255 - base) * 0.6)))
    picture.paste(rim, box[:2], edge)
    half = (mask.width + 1) // 2, (mask.height + 1) // 2
    filling = Image.fromarray(_filling(base, pattern, half, g)).resize(mask.size, Image.Resampling.BILINEAR)
    picture.paste(filling, box[:2], mask)


def _filling(base: np.ndarray, pattern: str, size: tuple[int, int], g: np.random.Generator) -> np.ndarray:
    """Colour with its pattern and a little shading, uint8 [height, width, 3]."""
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32)
    other = base * 0.62 + 255 * 0.38 if base.mean() < 200 else base * 0.72
    period = np.float32(g.uniform(0.14, 0.24) * max(size))
    angle = g.uniform(0, np.pi)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = x * cosine + y * sine, y * cosine - x * sine
    if pattern == "striped":
        second = u % period < period / 2
    elif pattern == "checkered":
        second = (u % period < period / 2) ^ (v % period < period / 2)
    elif pattern == "dotted":
        second = (u % period - period / 2) ** 2 + (v % period - period / 2) ** 2 < (0.3 * period) ** 2
    else:
        second = np.zeros(u.shape, bool)
    across, down = g.uniform(-0.16, 0.16, 2).astype(np.float32)
    shade = 1 + across * (x / size[0] - 0.5) + down * (y / size[1] - 0.5)
    tones = np.where(second[..., None], other.astype(np.float32), base.astype(np.float32))
    return np.clip(tones * shade[..., None], 0, 255).astype(np.uint8)
