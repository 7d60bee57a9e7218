"""Hits as pictures: an evaluation image beside the training image it met."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow.compute as pc
from PIL import Image, ImageOps

from dedup.overlap import Overlaps
from learning.images import ImageError, decode
from wit_builder.errors import UserError
from wit_builder.evalsets import open_set
from wit_builder.report import Section
from wit_builder.shards import find_shards, read_samples

SIDE = 160  # pixels of each picture in the gallery


def read_evaluation_images(run: Mapping[str, Any], dataset: str, split: str, wanted: Iterable[str]) -> dict[str, bytes]:
    """Encoded images of a set by eval_key; those that are no longer there are missing."""
    wanted = set(wanted)
    if not wanted or dataset not in run.get("evaluation_sets", {}):
        return {}
    try:
        examples = open_set(run["evaluation_sets"][dataset], dataset).examples(split)
        return {example.eval_key: example.image for example in examples if example.eval_key in wanted}
    except UserError:
        return {}


def read_training_images(run: Mapping[str, Any], wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
    """Encoded images of shards by (shard, key); those that are no longer there are missing."""
    wanted = set(wanted)
    if not wanted or "shards" not in run:
        return {}
    names = {shard for shard, _ in wanted}
    try:
        found = {}
        for shard in find_shards(run["shards"]):
            if shard.name in names:
                for sample in read_samples(shard):
                    if (shard.name, sample.key) in wanted:
                        found[shard.name, sample.key] = sample.image
        return found
    except UserError:
        return {}


def pair_picture(first: bytes | None, second: bytes | None) -> bytes:
    """JPEG of two pictures side by side, each within a square; a grey square stands for one that cannot be shown."""
    sheet = Image.new("RGB", (2 * SIDE + 4, SIDE), (255, 255, 255))
    for index, data in enumerate((first, second)):
        try:
            picture = ImageOps.contain(decode(data or b"", SIDE), (SIDE, SIDE))
        except ImageError:
            picture = Image.new("RGB", (SIDE, SIDE), (200, 200, 200))
        sheet.paste(picture, (index * (SIDE + 4) + (SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def add_gallery(section: Section, overlaps: Overlaps, dataset: str, threshold: float, limit: int) -> None:
    """Pairs of a set: half of them the least similar still above the threshold, a quarter just below it, a quarter the top."""
    hits = overlaps.hits.filter(pc.equal(overlaps.hits["dataset"], dataset)).to_pylist()
    best: dict[str, dict] = {}
    for hit in hits:  # falling similarity within each image
        best.setdefault(hit["eval_key"], hit)
    ranked = sorted(best.values(), key=lambda hit: (-hit["similarity"], hit["eval_key"]))
    above = [hit for hit in ranked if hit["similarity"] >= threshold]
    below = ranked[len(above) :]
    top = above[: limit // 4]
    chosen = top + above[max(len(top), len(above) - limit // 2) :] + below[: limit // 4]
    evaluation = read_evaluation_images(
        overlaps.run, dataset, overlaps.manifest["parameters"]["split"], (hit["eval_key"] for hit in chosen)
    )
    training = read_training_images(overlaps.run, ((hit["shard"], hit["key"]) for hit in chosen))
    for hit in chosen:
        mark = "" if hit["similarity"] >= threshold else "below the threshold; "
        caption = f"{mark}{hit['similarity']:.3f}, {hit['view']}: {hit['eval_key']} | {hit['url'] or hit['uid']}"
        section.image(pair_picture(evaluation.get(hit["eval_key"]), training.get((hit["shard"], hit["key"]))), caption)
