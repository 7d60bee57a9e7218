"""The page of `trainer report`: tables and plots of what was found; every text from data is escaped by wit_builder.report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.evaluate import robustness_page
from trainer.evaluate.fits import ShotsToMatch
from trainer.evaluate.page_parts import by_shots, percent, short, with_interval
from trainer.evaluate.probe import main_score
from trainer.evaluate.report_flags import included_sections
from trainer.evaluate.report_models import model_sections
from trainer.evaluate.scoring import primary_metric
from wit_builder.report import Section, counted, render

METRIC_NAMES = {"top1": "top-1", "map11": "11-point mAP"}


def page(about: dict[str, Any] | None, found: dict[str, Any], folders: Sequence[str] = ()) -> bytes:
    """The whole page, from what report.json holds.

    Args:
      about: the checkpoint, or None where there is none.
      found: what report.json holds.
      folders: of the results that are included, in their order.
    """
    sets, over = found["sets"], found["over_sets"]
    sections = [
        *zero_shot_section(sets, over),
        *prompt_section(sets),
        *probe_section(sets, over),
        *few_shot_section(sets, over),
        *model_sections(sets, found["models"]),
        *retrieval_section(sets),
        *robustness_page.sections(found["robustness"]),
        *included_sections(found["included"], folders),
        *confusion_section(sets),
        *skipped_section(sets, found["failed"], (found["robustness"] or {}).get("left_out", {})),
    ]
    what = (
        f"Checkpoint {about['checkpoint']} ({about['sha256'][:12]}), {about['image_size']}-pixel pictures, {about['precision']}"
        if about
        else "Features from elsewhere"
    )
    lead = f"{what}; {counted(len(sets), 'set')}. Numbers are per cent; low and high bound the 99.5% Clopper-Pearson interval."
    return render("Evaluation of a CLIP model" if about else "Linear probes", sections, lead)


def zero_shot_section(sets: dict[str, Any], over: dict[str, Any]) -> list[Section]:
    rows = {name: one["zero_shot"] for name, one in sets.items() if "zero_shot" in one}
    if not rows:
        return []
    section = Section("Zero-shot", f"Mean over {counted(len(rows), 'set')}: {percent(over['zero_shot_mean'])}.")
    ordered = sorted(rows, key=lambda name: main_score(rows[name]))

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        values = np.array([100 * rows[name]["top1"]["value"] for name in ordered])
        low = values - [100 * rows[name]["top1"]["low"] for name in ordered]
        high = np.array([100 * rows[name]["top1"]["high"] for name in ordered]) - values
        axes.barh(range(len(ordered)), values, xerr=[low, high], color="#4c78a8", ecolor="#1c2530", capsize=3)
        chance = [100 / rows[name]["classes"] for name in ordered]
        axes.plot(chance, range(len(ordered)), "|", color="#e45756", markersize=14, markeredgewidth=2, label="chance")
        axes.set_yticks(range(len(ordered)), [short(name) for name in ordered])
        axes.set_xlabel("top-1 accuracy, per cent")
        axes.set_xlim(0, 100)
        axes.legend(loc="lower right")

    section.plot(draw, alt="Zero-shot top-1 accuracy of each set with its interval", height=1.4 + 0.32 * len(rows))
    section.table(
        ["set", "classes", "examples", "top-1", "low", "high", "top-5", "mean per class", "11-point mAP", "ROC AUC", "templates"],
        [
            [
                name, one["classes"], one["examples"], *with_interval(one["top1"]),
                percent(one["top5"]["value"]) if "top5" in one else None, percent(one.get("mean_per_class")),
                percent(one.get("map11")), percent(one.get("roc_auc")), one["templates"],
            ]
            for name, one in rows.items()
        ],
    )  # fmt: skip
    return [section]


def prompt_section(sets: dict[str, Any]) -> list[Section]:
    rows = {name: one["prompts"] for name, one in sets.items() if "prompts" in one}
    if not rows:
        return []
    section = Section("Prompts", "The same pictures with the bare class name, one default prompt, an ensemble of 80, and the set's own.")
    names = ["bare", "single", "ensemble", "set"]
    section.table(["set", *names], [[name, *(percent(one.get(choice)) for choice in names)] for name, one in rows.items()])
    return [section]


def probe_section(sets: dict[str, Any], over: dict[str, Any]) -> list[Section]:
    rows = {name: one for name, one in sets.items() if "linear_probe" in one}
    if not rows:
        return []
    correlation = over["correlation"] if len(rows) > 2 else None  # through two points there is always a line
    note = f"Mean of the probes over {counted(len(rows), 'set')}: {percent(over['linear_probe_mean'])}."
    if correlation is not None:
        note += f" Correlation of zero-shot with the probe: r = {correlation:.2f}."
    section = Section("Zero-shot against linear probe", note)
    points = {name: (100 * main_score(one["zero_shot"]), 100 * main_score(one["linear_probe"])) for name, one in rows.items()}

    def draw(figure: Any) -> None:
        scatter, bars = figure.subplots(1, 2)
        scatter.plot([0, 100], [0, 100], color="#9aa5b1", linewidth=1)
        for number, (x, y) in enumerate(points.values(), 1):
            scatter.plot(x, y, "o", color="#4c78a8")
            scatter.annotate(str(number), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=8)
        scatter.set_xlim(0, 100)
        scatter.set_ylim(0, 102)
        scatter.set_xlabel("zero-shot, per cent")
        scatter.set_ylabel("linear probe, per cent")
        gains = sorted(((x - y, name) for name, (x, y) in points.items()))
        bars.barh(range(len(gains)), [gain for gain, _ in gains], color=["#e45756" if gain < 0 else "#54a24b" for gain, _ in gains])
        bars.axvline(0, color="#1c2530", linewidth=1)
        bars.set_yticks(range(len(gains)), [short(name) for _, name in gains])
        bars.set_xlabel("zero-shot − linear probe, points")

    section.plot(draw, alt="Zero-shot against linear-probe accuracy", height=max(3.6, 1.2 + 0.3 * len(rows)))
    section.table(
        ["number", "set", "metric", "zero-shot", "linear probe", "top-1 low", "high", "difference", "training examples", "λ"],
        [
            [
                number, name, METRIC_NAMES[primary_metric(one["linear_probe"])], round(points[name][0], 2), round(points[name][1], 2),
                *with_interval(one["linear_probe"]["top1"])[1:], round(points[name][0] - points[name][1], 2),
                one["linear_probe"]["train_examples"], one["linear_probe"]["l2"],
            ]
            for number, (name, one) in enumerate(rows.items(), 1)
        ],
    )  # fmt: skip
    return [section]


def few_shot_section(sets: dict[str, Any], over: dict[str, Any]) -> list[Section]:
    rows = {name: one for name, one in sets.items() if "few_shot" in one}
    if not rows:
        return []
    note = "Linear probes on a few examples a class, averaged over draws."
    match = over["shots_to_match"]
    if match:
        note += (
            f" Over {counted(match['sets'], 'set')} with 16 examples a class, a probe needs {match['median']:.3g} of them (median) or"
            f" {match['mean']:.3g} (mean) to equal zero-shot."
        )
    section = Section("Few-shot", note)
    complete = [by_shots(one) for one in rows.values() if one["few_shot"]["complete"]]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for name, one in rows.items():
            curve = by_shots(one)
            (line,) = axes.plot(list(curve), list(curve.values()), "o-", alpha=0.5, markersize=3)
            if len(rows) <= 10:
                line.set_label(short(name))
        if len(complete) > 1:
            counts = list(complete[0])
            means = [np.mean([curve[count] for curve in complete]) for count in counts]
            zero = 100 * np.mean([one["zero_shot"]["top1"]["value"] for one in rows.values() if one["few_shot"]["complete"]])
            axes.plot(counts, means, "o-", color="#1c2530", linewidth=2.5, label="mean of the probes")
            axes.axhline(zero, color="#e45756", linestyle="--", label="mean of zero-shot")
        axes.set_xscale("log", base=2)
        axes.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
        axes.set_xlabel("examples a class")
        axes.set_ylabel("top-1 accuracy, per cent")
        axes.set_ylim(0, 102)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)

    section.plot(draw, alt="Few-shot accuracy by examples a class")
    counts = sorted({count for one in rows.values() for count in by_shots(one)})
    section.table(
        ["set", *("1 shot" if count == 1 else f"{count} shots" for count in counts), "all examples", "zero-shot", "shots to match"],
        [
            [
                name, *(round(by_shots(one)[count], 2) if count in by_shots(one) else None for count in counts),
                percent(one["linear_probe"]["top1"]["value"]), percent(one["zero_shot"]["top1"]["value"]),
                str(ShotsToMatch(*one["few_shot"]["to_match"])),
            ]
            for name, one in rows.items()
        ],
    )  # fmt: skip
    return [section]


def retrieval_section(sets: dict[str, Any]) -> list[Section]:
    rows = {name: one["retrieval"] for name, one in sets.items() if "retrieval" in one}
    if not rows:
        return []
    section = Section("Retrieval", "Share of queries whose right answer is among the first 1, 5 and 10.")
    columns = ["set", "direction", "queries", "R@1", "low", "high", "R@5", "R@10", "median rank"]
    body = []
    for name, one in rows.items():
        for direction in ("text_to_image", "image_to_text"):
            recall = one[direction]
            first = recall["recall_at_1"]
            numbers = [percent(recall[f"recall_at_{k}"]["value"]) for k in (5, 10)]
            body.append([
                name, direction.replace("_", " "), first["total"], *with_interval(first), *numbers, recall["median_rank"],
            ])  # fmt: skip
    section.table(columns, body)
    return [section]


def confusion_section(sets: dict[str, Any]) -> list[Section]:
    body = [
        [name, row["label"], row["predicted"], row["count"]]
        for name, one in sets.items()
        for row in one.get("zero_shot", {}).get("confused", [])
    ]
    if not body:
        return []
    section = Section("Most frequent mistakes", "Of zero-shot, the five largest of each set.")
    section.table(["set", "label", "predicted", "pictures"], body)
    return [section]


def skipped_section(sets: dict[str, Any], failed: dict[str, str], left_out: dict[str, str]) -> list[Section]:
    section = Section("Not used", "Pictures that could not be used, with the first of each set, and sets that could not be evaluated.")
    body = []
    for name, one in sets.items():
        parts = {"": one["skipped"]}
        for model, other in one.get("others", {}).items():
            parts.update({f"{model}, {split}: ": skipped for split, skipped in other.get("linear_probe", {}).get("skipped", {}).items()})
        for part, skipped in parts.items():
            for reason, count in sorted(skipped["counts"].items()):
                first = next((item["eval_key"] for item in skipped["named"] if item["reason"] == reason), "")
                body.append([name, part + reason, count, first])
    if body:
        section.table(["set", "reason", "pictures", "first"], body)
    missing = [[name, one["no_probe"]] for name, one in sets.items() if "no_probe" in one]
    missing += [[name, other["no_probe"]] for name, one in sets.items() for other in one.get("others", {}).values() if "no_probe" in other]
    missing += [[name, message] for name, message in (*failed.items(), *left_out.items())]
    if missing:
        section.table(["set", "what is missing of it, and why"], missing)
    return [section] if body or missing else []
