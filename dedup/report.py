"""The overlap report: one HTML page, and the same numbers as CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import pyarrow.compute as pc

from dedup.gallery import add_gallery
from dedup.overlap import Overlaps, overlap_statistics, uids_to_remove
from dedup.statistics import ALPHA, SetStatistics, check_identity, summary
from dedup.within_report import within_counts, within_section
from wit_builder import files, tables
from wit_builder.report import Section, render

COLUMNS = (
    "set", "threshold", "examples", "overlap", "contamination", "All", "Clean", "Overlap",
    "All − Clean", "p", "corrected", "interval", "power",
)  # fmt: skip


def write_report(
    overlaps: Overlaps,
    thresholds: Mapping[str, float],
    predictions,
    output: str,
    *,
    inspected: bool = False,
    remove: str | None = None,
    gallery: int = 16,
) -> dict[str, Any]:
    """Write report.html, overlap.csv and overlap.json into `output`, and the list of uids to leave out; returns the JSON.

    Args:
      thresholds: of each set, at or above the search's loose one.
      predictions: see `dedup.overlap.read_predictions`; None for contamination alone.
      inspected: whether a person set the thresholds.
      remove: path of a Parquet file that gets the training uids to leave out.
      gallery: pairs shown of each set; 0 for none.
    """
    sets = overlap_statistics(overlaps, thresholds, predictions)
    assert all(check_identity(one) for one in sets)
    totals = summary(sets)
    found = {
        "summary": totals,
        "sets": [one.to_json() for one in sets],
        "inspected": inspected,
        "search": {name: overlaps.manifest[name] for name in ("parameters", "counts", "drops")},
    }
    inside = within_counts(overlaps, thresholds)
    if overlaps.within is not None:
        found["within"] = [asdict(one) for one in inside]
    if remove:
        uids = uids_to_remove(overlaps, thresholds)
        tables.write_table(remove, uids)
        found["removed"] = uids.num_rows
    files.make_folder(output)
    files.write_json(files.join(output, "overlap.json"), found)
    files.write_bytes(files.join(output, "overlap.csv"), _csv(sets))
    files.write_bytes(files.join(output, "report.html"), _page(overlaps, thresholds, sets, inside, totals, inspected, gallery))
    return found


def _csv(sets: Sequence[SetStatistics]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = [field.name for field in fields(SetStatistics)]
    writer.writerow(names)
    for one in sets:
        writer.writerow(["" if getattr(one, name) is None else getattr(one, name) for name in names])
    return buffer.getvalue().encode()


def _page(overlaps: Overlaps, thresholds, sets: Sequence[SetStatistics], inside, totals, inspected: bool, gallery: int) -> bytes:
    counts, parameters = overlaps.manifest["counts"], overlaps.manifest["parameters"]
    lead = (
        f"{counts.get('evaluation images', 0):,} evaluation images against {counts.get('training images', 0):,} training images. "
        + ("Thresholds were set by inspection." if inspected else "Thresholds are the detector's own: set them by inspection with review.")
    )
    overview = Section("Summary")
    overview.table(["", "value"], [[name, _shown(name, value)] for name, value in totals.items()])
    each = Section(
        "Each set",
        "Overlap: examples with a training image at or above the threshold. p: one-tailed binomial test of the accuracy on Overlap "
        "against that on Clean, and after Bonferroni's correction. Interval: 99.5% Clopper-Pearson, of the accuracy on Overlap. "
        "Underpowered: fewer than 80 in 100 such tests would see an Overlap halfway between Clean and perfect.",
    )
    each.table(COLUMNS, [_row(one) for one in sets])
    sections = [overview, each]
    if any(one.gain is not None for one in sets):
        figure = Section("Overlap and accuracy", "Filled: significant at 0.05 before correction. The paper's figure 17.")
        figure.plot(lambda canvas: _panels(canvas, sets), alt="Accuracy differences against contamination", height=4.2)
        sections.append(figure)
    for one in sets:
        section = Section(one.dataset, _confounded(overlaps, one.dataset, thresholds[one.dataset]))
        section.plot(lambda canvas, name=one.dataset: _histogram(canvas, overlaps, name, thresholds[name]), alt="Similarities", height=2.4)
        if gallery:
            add_gallery(section, overlaps, one.dataset, thresholds[one.dataset], gallery)
        sections.append(section)
    if overlaps.within is not None:
        sections.append(within_section(overlaps, inside, gallery))
    embedder = "CLIP's own image tower" if parameters.get("clip") else "Detector"
    views = ", ".join(["whole", *parameters["views"]])
    how = Section("How it was searched", f"Views: {views}. Index: {parameters['index']}. {embedder}: {parameters['detector']}.")
    how.table(["count", "number"], [[name, number] for name, number in {**counts, **overlaps.manifest["drops"]}.items()])
    return render("Overlap of training data with evaluation sets", [*sections, how], lead)


def _percent(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{100 * value:.{digits}f}%"


def _shown(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{100 * value:+.2f} points" if "gain" in name else _percent(value, 2)
    return "" if value is None else str(value)


def _row(one: SetStatistics) -> list[Any]:
    interval = "" if one.interval_low is None else f"{100 * one.interval_low:.1f}–{_percent(one.interval_high)}"
    power = "" if one.power is None else f"{one.power:.2f}" + (" underpowered" if one.underpowered else "")
    gain = "" if one.gain is None else f"{100 * one.gain:+.2f}"
    p_values = ["" if value is None else f"{value:.3g}" for value in (one.p_value, one.p_corrected)]
    accuracies = [_percent(value) for value in (one.accuracy_all, one.accuracy_clean, one.accuracy_overlap)]
    share = _percent(one.contamination, 2)
    return [one.dataset, f"{one.threshold:.3f}", one.examples, one.overlap, share, *accuracies, gain, *p_values, interval, power]


def _panels(figure, sets: Sequence[SetStatistics]) -> None:
    """The paper's two panels: Overlap - Clean with its interval, and All - Clean, against contamination."""
    left, right = figure.subplots(1, 2)
    for one in sets:
        if one.gain is None:
            continue
        significant = one.p_value is not None and one.p_value <= ALPHA
        style = dict(color="#1d5fa8", markerfacecolor="#1d5fa8" if significant else "white", marker="o", markersize=5)
        share = 100 * (one.contamination or 0)
        if one.accuracy_overlap is not None and one.accuracy_clean is not None:
            middle = 100 * (one.accuracy_overlap - one.accuracy_clean)
            low, high = 100 * (one.interval_low - one.accuracy_clean), 100 * (one.interval_high - one.accuracy_clean)
            # Clopper-Pearson always holds the estimate, but rounding may put an end a hair past it.
            left.errorbar(share, middle, yerr=[[max(0, middle - low)], [max(0, high - middle)]], capsize=2, linewidth=1, **style)
            left.annotate(one.dataset, (share, middle), fontsize=7, xytext=(4, 3), textcoords="offset points")
        right.plot(share, 100 * one.gain, **style)
        right.annotate(one.dataset, (share, 100 * one.gain), fontsize=7, xytext=(4, 3), textcoords="offset points")
    for axes, label in ((left, "accuracy, Overlap − Clean (points)"), (right, "accuracy, All − Clean (points)")):
        axes.axhline(0, color="#8a94a0", linewidth=0.8)
        axes.set_xlabel("contamination (% of examples)")
        axes.set_ylabel(label)
        axes.margins(x=0.15)  # room for the names of the sets at the right


def _histogram(figure, overlaps: Overlaps, dataset: str, threshold: float) -> None:
    axes = figure.subplots()
    rows = overlaps.images
    values = rows.filter(pc.equal(rows["dataset"], dataset))["similarity"].drop_null().to_numpy()
    axes.hist(values, bins=40, range=(overlaps.manifest["parameters"]["loose"], 1.0), color="#7fa8d1")
    axes.axvline(threshold, color="#b3261e", linewidth=1.2)
    axes.set_xlabel("similarity of the nearest training image (line: threshold)")
    axes.set_ylabel("images")


def _confounded(overlaps: Overlaps, dataset: str, threshold: float) -> str:
    """How many of the overlapping images are of kinds whose matches may mean nothing."""
    rows = overlaps.images
    marked: dict[str, int] = {}
    for name, reasons, value in zip(rows["dataset"].to_pylist(), rows["confounder"].to_pylist(), rows["similarity"].to_pylist()):
        if name == dataset and reasons and value is not None and value >= threshold:
            for reason in reasons.split(", "):
                marked[reason] = marked.get(reason, 0) + 1
    if not marked:
        return "No overlapping image is tiny or nearly of one colour."
    return "Known confounders among the overlapping images: " + ", ".join(f"{number} {reason}" for reason, number in sorted(marked.items()))
