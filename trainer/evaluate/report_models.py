"""Several models on one page: numbers and sections of `trainer report` about a checkpoint beside features from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.evaluate.page_parts import by_shots, percent, short
from trainer.evaluate.probe import main_score
from trainer.evaluate.suites import ALL, suite_means
from wit_builder.report import Section


def models_of(own: str, sets: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What was found of each model's probes: model → set → its part of the set's results; the checkpoint, named `own`, comes first."""
    found: dict[str, dict[str, Any]] = {own: {name: one for name, one in sets.items() if "linear_probe" in one}}
    for name, one in sets.items():
        for model, part in one.get("others", {}).items():
            if "linear_probe" in part:
                found.setdefault(model, {})[name] = part
    return {model: known for model, known in found.items() if known}


def compare_models(
    own: str, sets: Mapping[str, Any], flops: Mapping[str, float], suites: Mapping[str, Sequence[Sequence[str]]]
) -> dict[str, Any]:
    """Numbers over the models.

    Args:
      own: name of the checkpoint.
      sets: results by set, as in report.json.
      flops: floating-point operations of one image's forward pass, by model, where they are known.
      suites: entries of each named suite (`suites.SUITES`).

    Returns:
      `probe`: model → set → score; `suites`: `suite_means`; `zero_shot_minus_probe`: model → set → difference;
      `few_shot`: `sets` that all models have whole curves on, and `means`: model → shots → mean top-1; `flops`.
    """
    models = models_of(own, sets)
    probe = {model: {name: main_score(one["linear_probe"]) for name, one in known.items()} for model, known in models.items()}
    zero = {name: main_score(one["zero_shot"]) for name, one in sets.items() if "zero_shot" in one}
    curves = {
        model: {name: by_shots(one) for name, one in known.items() if one.get("few_shot", {}).get("complete")}
        for model, known in models.items()
    }
    common = [name for name in sets if curves and all(name in known for known in curves.values())]
    return {
        "probe": probe,
        "suites": suite_means(probe, suites),
        "zero_shot_minus_probe": {
            model: {name: zero[name] - score for name, score in known.items() if name in zero} for model, known in probe.items()
        },
        "few_shot": {
            "sets": common,
            "means": {
                model: {str(shots): float(np.mean([known[name][shots] for name in common])) / 100 for shots in known[common[0]]}
                for model, known in curves.items()
                if common
            },
        },
        "flops": {model: flops[model] for model in models if model in flops},
    }


def model_sections(sets: Mapping[str, Any], compared: Mapping[str, Any]) -> list[Section]:
    """Sections of the page: the paper's bar figure beside each other model, few-shot curves, suites against FLOPs."""
    if len(compared["probe"]) < 2 and set(compared["suites"]) <= {ALL}:
        return []
    return [*_beside(compared), *_few_shot(sets, compared["few_shot"]), *_suites(compared)]


def _beside(compared: Mapping[str, Any]) -> list[Section]:
    own, *others = compared["probe"]
    if not others and not compared["zero_shot_minus_probe"].get(own):
        return []
    section = Section("Probes of several models", "The same pictures, divided alike; the metric of each set as in the tables above.")
    for model in others:
        gains = sorted((100 * gain, name) for name, gain in compared["zero_shot_minus_probe"][model].items())
        if not gains:
            continue

        def draw(figure: Any, gains=gains, model=model) -> None:
            axes = figure.subplots()
            axes.barh(range(len(gains)), [gain for gain, _ in gains], color=["#e45756" if gain < 0 else "#54a24b" for gain, _ in gains])
            axes.axvline(0, color="#1c2530", linewidth=1)
            axes.set_yticks(range(len(gains)), [short(name) for _, name in gains])
            axes.set_xlabel(f"zero-shot − linear probe on {short(model)}, points")

        section.plot(draw, alt=f"Zero-shot minus the linear probe on {model}, of each set", height=1.4 + 0.32 * len(gains))
    names = list(dict.fromkeys(name for known in compared["probe"].values() for name in known))
    section.table(
        ["set", *compared["probe"]],
        [[name, *(percent(known.get(name)) for known in compared["probe"].values())] for name in names],
    )
    return [section]


def _few_shot(sets: Mapping[str, Any], compared: Mapping[str, Any]) -> list[Section]:
    if len(compared["means"]) < 2:
        return []
    zero = [sets[name]["zero_shot"]["top1"]["value"] for name in compared["sets"] if "zero_shot" in sets[name]]
    section = Section("Few-shot probes of several models", f"Mean top-1 over {len(compared['sets'])} sets with 16 examples a class.")

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for model, curve in compared["means"].items():
            axes.plot([int(shots) for shots in curve], [100 * value for value in curve.values()], "o-", label=short(model))
        if zero:
            axes.plot(0.5, 100 * np.mean(zero), "*", color="#e45756", markersize=14, label="zero-shot")
        axes.set_xscale("log", base=2)
        axes.set_xticks([0.5, 1, 2, 4, 8, 16], ["0", "1", "2", "4", "8", "16"])
        axes.set_xlabel("examples a class")
        axes.set_ylabel("mean top-1 accuracy, per cent")
        axes.set_ylim(0, 102)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)

    section.plot(draw, alt="Few-shot accuracy of several models by examples a class")
    counts = list(next(iter(compared["means"].values())))
    section.table(
        ["model", *("1 shot" if count == "1" else f"{count} shots" for count in counts)],
        [[model, *(percent(curve[count]) for count in counts)] for model, curve in compared["means"].items()],
    )
    return [section]


def _suites(compared: Mapping[str, Any]) -> list[Section]:
    suites, flops = compared["suites"], compared["flops"]
    if not suites:
        return []
    parts = [f"{name}: {len(one['sets'])} of {one['of']} sets" if name != ALL else f"{name}: {one['of']}" for name, one in suites.items()]
    section = Section("Probes over suites of sets", f"Mean over the sets that every model has: {'; '.join(parts)}.")
    if len(flops) > 1:

        def draw(figure: Any) -> None:
            axes = figure.subplots()
            for suite, one in suites.items():
                points = sorted((flops[model] / 1e9, 100 * mean) for model, mean in one["means"].items() if model in flops)
                axes.plot([x for x, _ in points], [y for _, y in points], "o", label=f"{short(suite)} ({len(one['sets'])})")
            for model, mean in suites[ALL]["means"].items():
                if model in flops:
                    axes.annotate(
                        short(model), (flops[model] / 1e9, 100 * mean), xytext=(5, 5), textcoords="offset points", fontsize=8
                    )
            axes.set_xscale("log")
            places = sorted({flops[model] / 1e9 for model in flops})
            axes.set_xticks(places, [f"{place:.3g}" for place in places], rotation=30)
            axes.minorticks_off()  # labels of its own would overlap over less than a decade
            axes.margins(x=0.25, y=0.2)
            axes.set_xlabel("forward pass, GFLOP an image (two for a multiplication with its addition)")
            axes.set_ylabel("mean probe score, per cent")
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)

        section.plot(draw, alt="Mean probe score over suites of sets against the forward pass's floating-point operations")
    section.table(
        ["model", "GFLOP an image", *suites],
        [
            [model, flops[model] / 1e9 if model in flops else None, *(percent(one["means"][model]) for one in suites.values())]
            for model in compared["probe"]
        ],
    )
    return [section]
