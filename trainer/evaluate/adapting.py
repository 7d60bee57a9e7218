"""Adapting to one set: what a probe on the reference set gains there, and what is left of it under shift (the paper's section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from trainer.evaluate.label_spaces import accuracy, stands_in
from trainer.evaluate.linear_probe import ProbeData
from trainer.evaluate.metrics import Rate
from trainer.evaluate.probe import Labelled, fit_best
from trainer.evaluate.scoring import Linear
from wit_builder.errors import UserError
from wit_builder.progress import progress

SHOTS = (1, 2, 4, 8, 16, 32, 64, 128)
ALL = "all"


Maps = Mapping[str, Sequence[Sequence[int]]]  # by set, the reference's classes that each of its classes stands for


def measure(linear: Linear, reference: Labelled, shifted: Mapping[str, Labelled], maps: Maps) -> dict[str, Any]:
    """A classifier of the reference's classes on the reference and on each shifted set.

    Args:
      linear: of c classes.
      reference: the reference's test examples.
      shifted: test examples by set.
      maps: by set.

    Returns:
      `reference`: rate over all classes; `sets`: by name `top1`, and `reference` on the reference's examples of these classes.
    """
    own = [[label] for label in range(linear.classes)]
    sets = {}
    for name, data in shifted.items():
        here = stands_in(maps[name], linear.classes)[reference.labels]
        sets[name] = {
            "top1": accuracy(data.features, linear, maps[name], data.labels),
            "reference": accuracy(reference.features, linear, maps[name], here),
        }
    return {"reference": accuracy(reference.features, linear, own, reference.labels), "sets": sets}


def summary(shots: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One point of the curve: means over runs, of each set and over the sets, with every run's rates and λ."""

    def mean(rates: Sequence[Rate]) -> float:
        return float(np.mean([rate["value"] for rate in rates]))

    names = list(runs[0]["sets"])
    sets: dict[str, Any] = {}
    for name in names:
        found = [run["sets"][name] for run in runs]
        sets[name] = {**{key: mean([one[key] for one in found]) for key in ("top1", "reference")}, "runs": found}
    over = {key: float(np.mean([sets[name][key] for name in names])) for key in ("top1", "reference")}
    strengths = [run["l2"] for run in runs if "l2" in run]
    return {"shots": shots, "reference": mean([run["reference"] for run in runs]), "sets": sets, "mean": over, "l2": strengths}


def adapt(
    data: ProbeData,
    zero_shot: Mapping[str, Any],
    shifted: Mapping[str, Labelled],
    maps: Maps,
    classes: int,
    device: torch.device,
    shots: Sequence[int] = SHOTS,
    seeds: int = 3,
) -> list[dict[str, Any]]:
    """Zero-shot, then probes on few examples a class of the reference, then on all: one `summary` each.

    λ is chosen on the reference's validation examples alone, never on a shifted set. Shots that some class has too few examples
    for are left out.

    Args:
      data: the reference's examples.
      zero_shot: the same form as `measure` gives, of the reference's prompts.
      shifted: test examples by set.
      maps: by set.
      classes: of the reference.
      device: where probes are fitted.
      shots: examples a class.
      seeds: draws of few examples.

    Raises:
      UserError: where the reference's images have several labels.
    """
    if data.train.positive is not None:
        raise UserError("images of the reference have several labels: there is nothing to adapt to", where="--reference")
    smallest = int(np.bincount(data.train.labels, minlength=classes).min())
    counts = [count for count in shots if count <= smallest]
    points = [summary("0", [zero_shot])]
    ranks = [data.train.class_ranks(seed) for seed in range(seeds)]
    with progress("probes of the reference", len(counts) * seeds + 1, "probe") as line:
        for count in counts:
            runs = []
            for seed in range(seeds):
                train = data.train.take(np.flatnonzero(ranks[seed] < count))
                fitted = fit_best(train, data.validation, classes, device, refit=False)
                runs.append({**measure(fitted.probe.linear, data.test, shifted, maps), "l2": fitted.strength})
                line.update()
            points.append(summary(str(count), runs))
        fitted = fit_best(data.train, data.validation, classes, device)
        points.append(summary(ALL, [{**measure(fitted.probe.linear, data.test, shifted, maps), "l2": fitted.strength}]))
        line.update()
    return points
