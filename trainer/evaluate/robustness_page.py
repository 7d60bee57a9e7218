"""Robustness as a table and a figure, for `trainer robustness` and `trainer report`."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.evaluate.fits import expit, logit
from trainer.evaluate.page_parts import percent, short, with_interval
from wit_builder.report import Section

_TICKS = (1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99)  # per cent


def sections(shifted: dict[str, Any] | None) -> list[Section]:
    """Sections of what `robustness.compare` found; none where there is nothing."""
    if not shifted or not shifted["sets"]:
        return []
    reference = shifted["reference"]
    section = Section(
        f"Robustness against {reference['name']}",
        f"Reference {reference['name']}: {percent(reference['top1']['value'])}."
        " Each shifted set is compared with the reference's pictures of the same classes (“reference there”); top-1 is by its own class"
        " names, or by the reference's prompts.",
    )
    alt = "Accuracy on shifted sets against the reference's, both on logit axes"
    section.plot(lambda figure: _draw(figure, shifted), alt=alt, height=4.6)
    effective = any("effective_robustness" in one for one in shifted["sets"].values())
    columns = ["set", "classes", "top-1", "low", "high", "reference's prompts", "reference there", "drop"]
    section.table(
        columns + ["effective robustness"] * effective,
        [
            [
                name, one["classes"], *with_interval(one["top1"]), percent(one["top1_reference_classes"]["value"]),
                percent(one["reference"]["value"]), percent(one["drop"]), *[percent(one.get("effective_robustness"))] * effective,
            ]
            for name, one in shifted["sets"].items()
        ],
    )  # fmt: skip
    return [section, *_adapted(shifted)]


def _adapted(shifted: dict[str, Any]) -> list[Section]:
    points = shifted.get("adapted")
    if not points:
        return []
    section = Section(
        "Adapting to the reference",
        "A probe on the reference, by examples a class: accuracy there, and on each shifted set; zero-shot is by the reference's"
        " prompts. What is gained on the reference and not elsewhere is not robust.",
    )
    names = list(points[0]["sets"])
    section.table(
        ["examples a class", shifted["reference"]["name"], "on the sets' classes", *names, "mean of the sets"],
        [
            [
                "zero-shot" if one["shots"] == "0" else one["shots"], percent(one["reference"]), percent(one["mean"]["reference"]),
                *(percent(one["sets"][name]["top1"]) for name in names), percent(one["mean"]["top1"]),
            ]
            for one in points
        ],
    )  # fmt: skip
    return [section]


def _draw(figure: Any, shifted: dict[str, Any]) -> None:
    axes = figure.subplots()
    points = shifted.get("adapted", [])
    here, there = [], []

    def put(x: Any, y: Any, *style: str, **more: Any) -> None:
        here.extend(np.atleast_1d(x))
        there.extend(np.atleast_1d(y))
        axes.plot(logit(x, 1e-3), logit(y, 1e-3), *style, **more)

    colours = {name: f"C{number % 10}" for number, name in enumerate(shifted["sets"])}
    for name, one in shifted["sets"].items():
        put(one["reference"]["value"], one["top1"]["value"], "*", color=colours[name], markersize=12, label=f"{short(name)}, zero-shot")
    if points:
        x, y = ([one["mean"][key] for one in points] for key in ("reference", "top1"))
        put(np.array(x), np.array(y), "o-", color="#1c2530", markersize=4, label="probes, mean of the sets")
        for place, one in enumerate(points):
            if place in (0, 1, len(points) - 1):
                axes.annotate(
                    one["shots"], (logit(x[place], 1e-3), logit(y[place], 1e-3)), xytext=(5, -10), textcoords="offset points", fontsize=8
                )
    low, high = logit(min(here + there), 1e-3) - 0.4, logit(max(here + there), 1e-3) + 0.4
    ends = np.array([low, high])
    axes.plot(ends, ends, color="#9aa5b1", linewidth=1, label="no drop")
    for name, one in shifted["sets"].items():
        if "baseline" in one:
            line = one["baseline"]["slope"] * ends + one["baseline"]["intercept"]
            axes.plot(ends, line, "--", color=colours[name], linewidth=1, label=f"standard models, {short(name)}")
    ticks = [tick for tick in _TICKS if low <= logit(tick / 100) <= high] or [round(100 * float(expit((low + high) / 2)), 1)]
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_xticks(logit(np.array(ticks) / 100), [str(tick) for tick in ticks])
    axes.set_yticks(logit(np.array(ticks) / 100), [str(tick) for tick in ticks])
    axes.set_xlabel("the reference on the set's classes, per cent (logit)")
    axes.set_ylabel("the shifted set, per cent (logit)")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
