"""The page of `trainer typographic`: rates by size and place of the words, and pictures with words on them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from learning.images import ImageError, decode
from trainer.evaluate.attacks import Attack
from trainer.evaluate.lettering import seen_square
from trainer.evaluate.page_parts import percent, with_interval
from wit_builder.hashing import hash64
from wit_builder.report import Section

SIDE = 224  # pixels of a picture in the gallery
MISLED, HELD = 12, 6  # pictures in it


def sections(found: Mapping[str, Any]) -> list[Section]:
    """The page's part: for each set the rates by size and place, a plot, and the names that mislead most."""
    return [section for name, one in found["sets"].items() for section in _of_set(name, one)]


def _of_set(name: str, one: Mapping[str, Any]) -> list[Section]:
    section = Section(
        f"Words written on pictures of {name}",
        f"{one['images']:,} pictures, each with the name of another class on it. Without words {percent(one['before']['value'])}% are"
        f" right, and {percent(one['written_before']['value'])}% are taken for what will be written. {percent(one['any']['value'])}% are"
        f" taken for the written class in at least one of {len(one['conditions'])} ways to write it.",
    )
    control = "control_after" in one["conditions"][0]

    def draw(figure: Any) -> None:
        axes = figure.subplots(1, 2, sharey=True)
        for side, key, title in ((axes[0], "success", "taken for the written class"), (axes[1], "after", "right")):
            places = dict.fromkeys(row["place"] for row in one["conditions"])
            for shift, place in enumerate(places):
                rows = [row for row in one["conditions"] if row["place"] == place]
                values = np.array([with_interval(row[key]) for row in rows], float)  # [sizes, 3]
                at = [100 * row["size"] + 0.3 * (shift - (len(places) - 1) / 2) for row in rows]
                errors = [np.maximum(values[:, 0] - values[:, 1], 0), np.maximum(values[:, 2] - values[:, 0], 0)]
                side.errorbar(at, values[:, 0], errors, fmt="o-", capsize=2, linewidth=1.2, markersize=4, label=place)
            base = one["before" if key == "after" else "written_before"]["value"]
            side.axhline(100 * base, color="#9aa5b1", linewidth=1, linestyle="--", label="without words")
            side.set_ylim(-2, 102)
            side.set_title(title, fontsize=10)
            side.set_xlabel("height of the letters, per cent of the side")
        axes[0].set_ylabel("per cent of pictures")
        axes[1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)

    section.plot(draw, alt="Success of the attack and accuracy, by size and place of the words")
    columns = ["size", "place", "right", "low", "high", "taken for written", "low", "high", "of those right before"]
    section.table(
        columns + (["letters shuffled: right", "taken for written"] if control else []),
        [
            [
                percent(row["size"]), row["place"], *with_interval(row["after"]), *with_interval(row["success"]),
                percent((row["turned"] or {}).get("value")),
                *([percent(row["control_after"]["value"]), percent(row["control_success"]["value"])] if control else []),
            ]
            for row in one["conditions"]
        ],
    )  # fmt: skip
    pooled = [(title, value, row) for title, key in (("size", "by_size"), ("place", "by_place")) for value, row in one[key].items()]
    section.table(
        ["by", "", "mean success", "in at least one", "low", "high"],
        [
            [by, f"{100 * float(value):g}" if by == "size" else value, percent(row["mean"]), *with_interval(row["any"])]
            for by, value, row in pooled
        ],
    )
    names = Section(f"Names that mislead most on {name}", "Mean over all ways to write them.")
    rows = [[row["class"], row["images"], percent(row["success"])] for row in one["by_written"][:20]]
    names.table(["written", "pictures", "taken for it"], rows)
    return [section, names]


def gallery(attack: Attack, split: str, size: int) -> Section:
    """Pictures with their words, in the way that misleads most: some that did and some that did not, by a hash of their keys.

    Args:
      attack: on a set.
      split: of it.
      size: pixels of the model's input.
    """
    font, place = attack.ways[attack.strongest]
    hit = attack.after[:, attack.strongest] == attack.written
    order = sorted(range(len(hit)), key=lambda row: hash64("shown", attack.keys[row]))
    rows = [row for row in order if hit[row]][:MISLED] + [row for row in order if not hit[row]][:HELD]
    captions = {attack.keys[row]: row for row in rows}
    pictures = {}
    for example in attack.opened.examples(split):
        if example.eval_key in captions:
            text = attack.names[attack.written[captions[example.eval_key]]]
            try:
                (made,) = attack.write(seen_square(decode(example.image), max(size, SIDE)), text, attack.strongest)
            except ImageError:
                continue
            stream = io.BytesIO()
            made.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(stream, "jpeg", quality=88)
            pictures[example.eval_key] = stream.getvalue()
    note = f"Size {100 * font:g}, {place}: the way that misleads most. First pictures that mislead, then some that do not."
    section = Section(f"Pictures of {attack.opened.name} with words on them", note)
    for key, row in captions.items():
        if key in pictures:
            before, after = (attack.names[classes[row]] for classes in (attack.before, attack.after[:, attack.strongest]))
            section.image(pictures[key], f"a picture of {attack.names[attack.labels[row]]}, taken for {before}; with words for {after}")
    return section
