"""What an overlap report says of near-duplicates inside the evaluation sets (`dedup.within`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from dedup.gallery import pair_picture, read_evaluation_images
from dedup.overlap import Overlaps, within_name
from wit_builder.report import Section


@dataclass(frozen=True)
class WithinCounts:
    """Near-duplicates of a set's images in one of its splits.

    Attributes:
      dataset, split, threshold: the set; the split the others are of; similarity from which they count.
      examples, overlap: images of the evaluated split, and those with a near-duplicate there.
      contamination: overlap / examples; None without examples.
      other_label: those of `overlap` whose nearest near-duplicate has another label; None where there are no labels.
    """

    dataset: str
    split: str
    threshold: float
    examples: int
    overlap: int
    contamination: float | None
    other_label: int | None


def within_counts(overlaps: Overlaps, thresholds: Mapping[str, float]) -> list[WithinCounts]:
    """Of every set and each split that has a hit, by name; none where images were not compared inside their sets.

    Args:
      thresholds: by set, and by `within_name` where a set has one of its own for this.
    """
    if overlaps.within is None:
        return []
    nearest: dict[tuple[str, str], dict[str, tuple[int | None, int | None]]] = {}
    for hit in overlaps.within.to_pylist():  # falling similarity for each image
        if hit["similarity"] >= np.float32(thresholds.get(within_name(hit["dataset"]), thresholds[hit["dataset"]])):
            nearest.setdefault((hit["dataset"], hit["split"]), {}).setdefault(hit["eval_key"], (hit["label"], hit["other_label"]))
    examples = {name: 0 for name in overlaps.datasets}
    for entry in pc.value_counts(overlaps.images["dataset"].combine_chunks()).to_pylist():
        examples[entry["values"]] = entry["counts"]
    compared = {
        (entry["dataset"], split)
        for entry in overlaps.manifest["inputs"]["evaluation sets"]
        for split in entry.get("within", {})
    }
    found = []
    for dataset, split in sorted(compared):
        pairs = nearest.get((dataset, split), {}).values()
        labelled = [pair for pair in pairs if None not in pair]
        found.append(WithinCounts(
            dataset,
            split,
            thresholds.get(within_name(dataset), thresholds[dataset]),
            examples[dataset],
            len(pairs),
            len(pairs) / examples[dataset] if examples[dataset] else None,
            sum(own != other for own, other in labelled) if labelled else None,
        ))  # fmt: skip
    return found


def within_section(overlaps: Overlaps, counts: list[WithinCounts], gallery: int) -> Section:
    """The report's section, with at most `gallery` pairs of each set: the least similar that count."""
    split = overlaps.manifest["parameters"]["split"]
    section = Section(
        "Inside the sets",
        f"Images of each set's {split} split with a near-duplicate in a split of the same set, themselves left out. A model that has "
        "learnt from the set's train split answers these from memory. Other label: the nearest one carries another label.",
    )
    columns = ["set", "split", "threshold", "examples", "with a near-duplicate", "share", "other label"]
    section.table(columns, [
        [
            one.dataset, one.split, f"{one.threshold:.3f}", one.examples, one.overlap,
            "" if one.contamination is None else f"{one.contamination:.2%}", "" if one.other_label is None else one.other_label,
        ]
        for one in counts
    ])  # fmt: skip
    for dataset in overlaps.datasets if gallery else ():
        threshold = np.float32(next(one.threshold for one in counts if one.dataset == dataset))
        best: dict[str, dict] = {}
        for hit in overlaps.within.filter(pc.equal(overlaps.within["dataset"], dataset)).to_pylist():
            if hit["similarity"] >= threshold:
                best.setdefault(hit["eval_key"], hit)
        chosen = sorted(best.values(), key=lambda hit: (hit["similarity"], hit["eval_key"]))[:gallery]
        first = read_evaluation_images(overlaps.run, dataset, split, (hit["eval_key"] for hit in chosen))
        second: dict[tuple[str, str], bytes] = {}
        for other in {hit["split"] for hit in chosen}:
            keys = [hit["other_key"] for hit in chosen if hit["split"] == other]
            second |= {(other, key): image for key, image in read_evaluation_images(overlaps.run, dataset, other, keys).items()}
        for hit in chosen:
            caption = f"{dataset}, {hit['similarity']:.3f}, {hit['view']}: {hit['eval_key']} | {hit['split']}: {hit['other_key']}"
            section.image(pair_picture(first.get(hit["eval_key"]), second.get((hit["split"], hit["other_key"]))), caption)
    return section
