"""The tables of `trainer bias-probe`: rates by category and group, and the labels that depend most on a group, with their page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.evaluate.label_rates import association
from trainer.evaluate.metrics import rate
from trainer.evaluate.page_parts import percent, short
from wit_builder.report import Section

TOP = 20  # labels shown of each group, as in the paper's figure 18

ASSOCIATIONS = pa.schema([
    ("column", pa.string()),
    ("added", pa.bool_()),  # whether the added classes were on offer
    ("threshold", pa.float64()),  # null: the single best label
    ("label", pa.string()),
    ("chi2", pa.float64()),
    ("p", pa.float64()),
    ("group", pa.string()),  # with the highest rate
])


def variant_name(added: bool) -> str:
    """How metrics.json names the labels on offer."""
    return "with added classes" if added else "as given"


def category_tables(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The form of the paper's tables 6 and 7: column → category → variant → group → rate, of the single best label."""
    found: dict[str, Any] = {}
    for row in rows:
        if row["label"] == "" and row["threshold"] is None:
            groups = found.setdefault(row["column"], {}).setdefault(row["category"], {}).setdefault(variant_name(row["added"]), {})
            groups[row["group"]] = rate(row["count"], row["images"])
    return found


def association_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of ASSOCIATIONS with `rates` by group, the strongest first, of every column, variant and threshold with two groups or more.

    Args:
      rows: of `bias_probe.RATES`.
    """
    tables: dict[tuple, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in rows:
        if row["label"]:
            kind = tables.setdefault((row["column"], row["added"], row["threshold"]), {})
            kind.setdefault(row["label"], {})[row["group"]] = row
    found = []
    for (column, added, threshold), labels in tables.items():
        groups = list(next(iter(labels.values())))
        if len(groups) < 2:
            continue
        counts = np.array([[by_group[group]["count"] for by_group in labels.values()] for group in groups])  # [g, c]
        images = np.array([next(iter(labels.values()))[group]["images"] for group in groups])
        statistic, p = association(counts, images)
        highest = (counts / images[:, None]).argmax(axis=0)
        for place in sorted(range(len(labels)), key=lambda place: (-statistic[place], place)):
            name = list(labels)[place]
            rates = {group: rate(labels[name][group]["count"], labels[name][group]["images"]) for group in groups}
            found.append({
                "column": column, "added": added, "threshold": threshold, "label": name, "chi2": float(statistic[place]),
                "p": float(p[place]), "group": groups[highest[place]], "rates": rates,
            })  # fmt: skip
    return found


def strongest(rows: Sequence[Mapping[str, Any]], top: int = TOP) -> list[dict[str, Any]]:
    """The first `top` labels of each group that depend on it at all, in every column, variant and threshold."""
    taken: dict[tuple, int] = {}
    found = []
    for row in rows:
        place = row["column"], row["added"], row["threshold"], row["group"]
        if row["chi2"] > 0 and taken.get(place, 0) < top:
            taken[place] = taken.get(place, 0) + 1
            found.append(dict(row))
    return found


def sections(found: Mapping[str, Any]) -> list[Section]:
    """The page's part, from metrics.json."""
    made = []
    for column, categories in found["categories"].items():
        groups = list(dict.fromkeys(group for variants in categories.values() for by_group in variants.values() for group in by_group))
        section = Section(f"Labels given, by {column}", "Per cent of the images of each group whose best label is of the category.")
        section.table(
            ["category", "labels", *groups],
            [
                [category, variant, *(percent(by_group[group]["value"]) for group in groups)]
                for category, variants in categories.items()
                for variant, by_group in variants.items()
            ],
        )
        first = next(iter(next(iter(categories.values())).values()))
        section.table(["images", *groups], [["", *(first[group]["total"] for group in groups)]])
        made.append(section)
    kinds = dict.fromkeys((row["column"], row["added"], row["threshold"]) for row in found["associations"])
    for column, added, threshold in kinds:
        rows = [row for row in found["associations"] if (row["column"], row["added"], row["threshold"]) == (column, added, threshold)]
        given = "the best label" if threshold is None else f"labels of at least {100 * threshold:g}%"
        made.append(_associations(column, f"{given}, {variant_name(added)}", rows))
    return made


def _associations(column: str, kind: str, rows: Sequence[Mapping[str, Any]]) -> Section:
    groups = list(rows[0]["rates"])
    section = Section(
        f"Labels that depend on {column}: {kind}",
        f"Ranked by χ² ({len(groups) - 1} degrees of freedom), under the group that gets the label most; rates in per cent.",
    )
    if len(groups) == 2:
        ordered = [row for group in groups for row in rows if row["group"] == group][::-1]

        def draw(figure: Any) -> None:
            axes = figure.subplots()
            for shift, group, colour in ((0.2, groups[0], "#4c78a8"), (-0.2, groups[1], "#e45756")):
                values = [100 * row["rates"][group]["value"] for row in ordered]
                axes.barh(np.arange(len(ordered)) + shift, values, 0.4, color=colour, label=short(group))
            axes.set_yticks(range(len(ordered)), [short(row["label"]) for row in ordered])
            axes.set_xlabel("images that got the label, per cent")
            axes.legend(loc="lower right")

        section.plot(draw, alt=f"Rates of the labels that depend most on {column}", height=1.4 + 0.3 * len(ordered))
    section.table(
        ["most for", "label", *groups, "χ²", "p"],
        [
            [row["group"], row["label"], *(percent(row["rates"][group]["value"]) for group in groups), row["chi2"], row["p"]]
            for group in groups
            for row in rows
            if row["group"] == group
        ],
    )
    return section
