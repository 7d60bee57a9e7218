"""The report of balancing: how the cap flattens the head of the query list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wit_builder.report import Section, render


def shares(matched: np.ndarray, selected: np.ndarray, cap: int) -> list[tuple[str, int, int, float, int, float]]:
    """Rows (queries, how many, matches, their share, selected, their share) of the head above the cap and the tail."""
    rows = []
    for name, part in (("over the cap", matched > cap), ("within the cap", (matched > 0) & (matched <= cap)), ("no match", matched == 0)):
        before, after = int(matched[part].sum()), int(selected[part].sum())
        rows.append((
            name, int(part.sum()), before, before / max(1, int(matched.sum())), after, after / max(1, int(selected.sum()))
        ))
    return rows


def count_curve(figure, matched: np.ndarray, selected: np.ndarray, cap: int) -> None:
    """Matches of each query before and after, sorted, on logarithmic axes (the figure of MetaCLIP's section 3)."""
    axes = figure.subplots()
    for counts, label in ((matched, "before"), (selected, "after")):
        ordered = np.sort(counts[counts > 0])[::-1]
        # Enough points for the eye: a curve of half a million would be a heavy page.
        ranks = np.unique(np.geomspace(1, max(1, len(ordered)), 800).astype(int)) if len(ordered) else np.zeros(0, int)
        axes.plot(ranks, ordered[ranks - 1], label=label)
    axes.axhline(cap, color="grey", linestyle=":", label=f"cap {cap:,}")
    axes.set(xscale="log", yscale="log", xlabel="queries, by falling count", ylabel="pairs")
    axes.legend()


def page(
    queries: Sequence[str],
    sources: Sequence[str],
    matched: np.ndarray,
    selected: np.ndarray,
    cap: int,
    counts: Mapping[str, int],
    drops: Mapping[str, int],
    examples: Mapping[int, Sequence[str]],
    top: np.ndarray,
) -> bytes:
    """The page as HTML."""
    curve = Section("Pairs of each query, before and after")
    curve.plot(lambda figure: count_curve(figure, matched, selected, cap), alt="sorted counts of pairs per query, before and after the cap")
    split = Section("Head and tail")
    split.table(["queries", "number", "matches", "share of matches", "selected", "share of selected"], shares(matched, selected, cap))
    numbers = Section("Pairs")
    numbers.table(["count", "number"], list(counts.items()))
    numbers.table(["dropped because", "pairs"], list(drops.items()))
    head = Section(f"The {len(top)} queries with most matches", note="Examples are selected pairs.")
    head.table(
        ["query", "source", "matches", "selected", "examples"],
        [(queries[q], sources[q], int(matched[q]), int(selected[q]), " · ".join(examples.get(int(q), ()))) for q in top],
    )
    silent = np.flatnonzero(matched == 0)
    none = Section("Queries that matched nothing", note=f"{len(silent):,} of {len(matched):,}; the first of each source.")
    by_source: dict[str, list[str]] = {}
    for query in silent:
        by_source.setdefault(sources[query], []).append(queries[query])
    none.table(["source", "number", "first"], [(source, len(names), ", ".join(names[:20])) for source, names in by_source.items()])
    return render("Balanced pairs", [curve, split, numbers, head, none])
