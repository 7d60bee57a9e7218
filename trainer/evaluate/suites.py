"""Named suites of evaluation sets, and the mean probe score over one (the paper's figure 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Kornblith et al.'s 12 sets and the paper's 27 (its table 9), by the names that CLIP_benchmark gives them, with other names in use.
_TWELVE = (
    ("food101",), ("cifar10",), ("cifar100",), ("birdsnap",), ("sun397",), ("cars", "stanford_cars"), ("fgvc_aircraft",),
    ("voc2007", "voc2007_multilabel"), ("dtd",), ("pets", "oxford_pets"), ("caltech101",), ("flowers", "flowers102"),
)  # fmt: skip
_FIFTEEN = (
    ("mnist",), ("fer2013",), ("stl10",), ("eurosat",), ("resisc45",), ("gtsrb",),
    ("kitti", "kitti_closest_vehicle_distance"), ("country211",), ("pcam",), ("ucf101",), ("kinetics700",),
    ("clevr", "clevr_count_all", "clevr_counts"), ("hateful_memes",), ("renderedsst2", "rendered_sst2", "sst2"),
    ("imagenet", "imagenet1k"),
)  # fmt: skip
SUITES = {"12": _TWELVE, "27": _TWELVE + _FIFTEEN}
ALL = "all sets"


def members(suite: Sequence[Sequence[str]], sets: Sequence[str]) -> list[str]:
    """The sets that stand for a suite's entries, in its order; a name may be in capitals, or start with wds_ or vtab- as there."""

    def plain(name: str) -> str:
        return name.lower().replace("-", "_").replace("/", "_").removeprefix("wds_").removeprefix("vtab_")

    known = {plain(name): name for name in sets}
    found = (next((known[name] for name in names if name in known), None) for names in suite)
    return [name for name in found if name is not None]


def suite_means(scores: Mapping[str, Mapping[str, float]], suites: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, Any]:
    """Mean score of each model over the sets of each suite, of those sets alone that every model has a score on.

    Args:
      scores: model → set → score.
      suites: entries of each suite, each with all names that a set may have.

    Returns:
      suite → `sets` (names), `of` (entries of the suite), `means` (model → mean); also of all sets. A suite without any is left out.
    """
    common = [name for name in next(iter(scores.values()), {}) if all(name in known for known in scores.values())]
    chosen = {suite: (members(entries, common), len(entries)) for suite, entries in suites.items()}
    chosen[ALL] = (common, len(common))
    return {
        suite: {"sets": sets, "of": entries, "means": {model: float(np.mean([known[s] for s in sets])) for model, known in scores.items()}}
        for suite, (sets, entries) in chosen.items()
        if sets
    }
