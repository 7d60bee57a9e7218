"""Outlines of the things, as polygons in a box from -1 to 1, y pointing down; a polygon either fills or cuts a hole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Polygon = tuple[bool, np.ndarray]  # (fills, points [n, 2])


def _fill(*points: tuple[float, float]) -> Polygon:
    return True, np.array(points, float)


def _cut(*points: tuple[float, float]) -> Polygon:
    return False, np.array(points, float)


def _ellipse(x: float, y: float, a: float, b: float, *, fills: bool = True, arc: tuple[float, float] = (0, 360)) -> Polygon:
    angles = np.radians(np.linspace(*arc, 28))
    return fills, np.stack([x + a * np.cos(angles), y + b * np.sin(angles)], axis=1)


def _star(g: np.random.Generator) -> list[Polygon]:
    angles = np.radians(-90 + 36 * np.arange(10))
    radii = np.where(np.arange(10) % 2 == 0, 1.0, g.uniform(0.38, 0.5))
    return [(True, np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1))]


def _heart(g: np.random.Generator) -> list[Polygon]:
    t = np.linspace(0, 2 * np.pi, 48)
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16
    return [(True, np.stack([np.sin(t) ** 3, y], axis=1))]


def _house(g: np.random.Generator) -> list[Polygon]:
    door, eaves = g.uniform(-0.45, 0.25), g.uniform(-0.15, 0.05)
    return [
        _fill((-0.75, eaves), (0.75, eaves), (0.75, 0.95), (-0.75, 0.95)),
        _fill((-1, eaves), (0, -1), (1, eaves)),
        _fill((0.4, -0.95), (0.65, -0.95), (0.65, -0.2), (0.4, -0.2)),
        _cut((door, 0.4), (door + 0.3, 0.4), (door + 0.3, 0.95), (door, 0.95)),
        _cut((door + 0.4, 0.2), (door + 0.65, 0.2), (door + 0.65, 0.45), (door + 0.4, 0.45)),
    ]


def _tree(g: np.random.Generator) -> list[Polygon]:
    trunk = _fill((-0.14, 0.4), (0.14, 0.4), (0.14, 1), (-0.14, 1))
    if g.random() < 0.5:
        return [trunk, *(_fill((-w, b), (0, t), (w, b)) for w, t, b in ((0.5, -1, -0.3), (0.65, -0.6, 0.1), (0.8, -0.2, 0.55)))]
    return [trunk, *(_ellipse(x, y, 0.48, 0.44) for x, y in ((0, -0.55), (-0.38, -0.1), (0.38, -0.1), (0, 0.1)))]


def _fish(g: np.random.Generator) -> list[Polygon]:
    return [
        _ellipse(-0.2, 0, 0.75, g.uniform(0.38, 0.5)),
        _fill((0.4, 0), (1, -0.5), (0.85, 0), (1, 0.5)),
        _fill((-0.3, -0.3), (0.15, -0.72), (0.25, -0.3)),
        _ellipse(-0.6, -0.1, 0.09, 0.09, fills=False),
    ]


def _flower(g: np.random.Generator) -> list[Polygon]:
    petals = int(g.integers(5, 8))
    turns = 2 * np.pi * np.arange(petals) / petals
    return [*(_ellipse(0.58 * np.cos(t), 0.58 * np.sin(t), 0.36, 0.36) for t in turns), _ellipse(0, 0, 0.24, 0.24, fills=False)]


def _moon(g: np.random.Generator) -> list[Polygon]:
    tip = g.uniform(50, 62)  # degrees from the middle of the open side to either tip of the crescent
    outer = np.radians(np.linspace(tip, 360 - tip, 40))
    inner = np.radians(np.linspace(360 - tip - 22, tip + 22, 40))  # of a smaller circle, moved towards the opening
    reach = np.sin(np.radians(tip)) / np.sin(np.radians(tip + 22))
    middle = np.cos(np.radians(tip)) - reach * np.cos(np.radians(tip + 22))
    points = [(np.cos(outer), np.sin(outer)), (middle + reach * np.cos(inner), reach * np.sin(inner))]
    return [(True, np.concatenate([np.stack(arc, axis=1) for arc in points]))]


def _boat(g: np.random.Generator) -> list[Polygon]:
    top = g.uniform(-1, -0.8)
    return [
        _fill((-1, 0.4), (1, 0.4), (0.65, 0.95), (-0.65, 0.95)),
        _fill((-0.05, top), (0.05, top), (0.05, 0.45), (-0.05, 0.45)),
        _fill((0.12, top), (0.85, 0.25), (0.12, 0.25)),
        _fill((-0.12, top + 0.25), (-0.7, 0.25), (-0.12, 0.25)),
    ]


def _arrow(g: np.random.Generator) -> list[Polygon]:
    w, neck = g.uniform(0.14, 0.24), g.uniform(0.05, 0.3)
    return [_fill((-1, -w), (neck, -w), (neck, -0.62), (1, 0), (neck, 0.62), (neck, w), (-1, w))]


def _key(g: np.random.Generator) -> list[Polygon]:
    return [
        _ellipse(-0.6, 0, 0.4, 0.4),
        _ellipse(-0.62, 0, 0.2, 0.2, fills=False),
        _fill((-0.25, -0.11), (1, -0.11), (1, 0.11), (-0.25, 0.11)),
        _fill((0.8, 0), (1, 0), (1, 0.5), (0.8, 0.5)),
        _fill((0.4, 0), (0.6, 0), (0.6, g.uniform(0.34, 0.46)), (0.4, 0.4)),
    ]


def _cup(g: np.random.Generator) -> list[Polygon]:
    foot = g.uniform(0.35, 0.55)
    return [
        _ellipse(0.55, -0.05, 0.42, 0.46),
        _ellipse(0.55, -0.05, 0.23, 0.27, fills=False),
        _fill((-0.85, -0.75), (0.55, -0.75), (foot - 0.15, 0.8), (-foot - 0.15, 0.8)),
    ]


def _mushroom(g: np.random.Generator) -> list[Polygon]:
    dots = [_ellipse(x, y, 0.11, 0.11, fills=False) for x, y in ((-0.5, -0.3), (0.05, -0.55), (0.5, -0.25))]
    stem = g.uniform(0.2, 0.32)
    return [
        _ellipse(0, 0.02, 1, 0.9, arc=(180, 360)),
        _fill((-stem, 0), (stem, 0), (stem + 0.1, 0.95), (-stem - 0.1, 0.95)),
        *dots[: int(g.integers(1, 4))],
    ]


def _ring(g: np.random.Generator) -> list[Polygon]:
    inner = g.uniform(0.55, 0.72)
    return [_ellipse(0, 0, 0.95, 0.95), _ellipse(0, 0, inner, inner, fills=False)]


def _cross(g: np.random.Generator) -> list[Polygon]:
    w = g.uniform(0.2, 0.32)
    return [_fill((-w, -1), (w, -1), (w, 1), (-w, 1)), _fill((-0.95, -w), (0.95, -w), (0.95, w), (-0.95, w))]


_SHAPES: dict[str, Callable[[np.random.Generator], list[Polygon]]] = {
    "star": _star, "heart": _heart, "house": _house, "tree": _tree, "fish": _fish, "flower": _flower, "moon": _moon,
    "boat": _boat, "arrow": _arrow, "key": _key, "cup": _cup, "mushroom": _mushroom, "ring": _ring, "cross": _cross,
}  # fmt: skip


def outline(thing: str, generator: np.random.Generator) -> list[Polygon]:
    """Polygons of one thing, in the order they are drawn; each of its kind is a little different."""
    return _SHAPES[thing](generator)
