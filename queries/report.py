"""report.html of a query list: counts by source, frequency by rank, PMI, and the ends of each source."""

from __future__ import annotations

from collections.abc import Mapping

from queries.assemble import Chosen
from queries.bigrams import PMI_BINS
from wit_builder.records import QUERY_SOURCES
from wit_builder.report import Section, render

_SHOWN = 15  # queries from each end of a source


def histogram(totals: Mapping[str, int], name: str) -> dict[int, int]:
    """The bins of one histogram among the totals, by number of the bin, rising."""
    prefix = f"histogram: {name} "
    return dict(sorted((int(key.removeprefix(prefix)), number) for key, number in totals.items() if key.startswith(prefix)))


def _sources(chosen: Chosen, how: Mapping) -> Section:
    section = Section("Queries by source", "In the paper's order, each net of the ones before.")
    sizes = [len(chosen.queries[source]) for source in QUERY_SOURCES]

    def draw(figure) -> None:
        axes = figure.subplots()
        bars = axes.barh(QUERY_SOURCES[::-1], sizes[::-1], color="#3b6ea5")
        axes.bar_label(bars, [f" {size:,}" for size in sizes[::-1]])
        axes.set_xlabel("queries")
        axes.margins(x=0.15)

    section.plot(draw, alt="Bars: queries by source", height=2.4)
    rows = [[source, len(chosen.queries[source]), None, None, ""] for source in QUERY_SOURCES]
    for row in rows[1:3]:
        cut = how["cut-offs"][row[0]]
        row[2:] = [cut["asked for by its share"], cut["score of the last one in"], cut["how"]]
    section.table(["source", "queries", "share of the size asked", "score of the last one in", "cut-off"], rows)
    return section


def _ranks(words: Mapping[int, int], frequent: int) -> Section:
    section = Section("Words: frequency by rank", "Words occurring at least as often as the threshold are queries.")

    def draw(figure) -> None:
        axes = figure.subplots()
        ranks, counts, rank = [], [], 0
        for step in sorted(words, reverse=True):
            rank += words[step]
            ranks.append(rank)
            counts.append(2 ** (step / 4))
        axes.loglog(ranks, counts, color="#3b6ea5")
        if frequent:
            axes.axvline(frequent, color="#b3442e", linestyle="--", label=f"threshold: {frequent:,} words")
            axes.legend()
        axes.set_xlabel("rank")
        axes.set_ylabel("occurrences, at least")

    section.plot(draw, alt="Curve: occurrences of a word by its rank, with the threshold")
    return section


def _pmi(bins: Mapping[int, int], cut: float | None) -> Section:
    section = Section("Bigrams: pointwise mutual information", "Pairs of frequent words that occur together often enough, in bits.")

    def draw(figure) -> None:
        axes = figure.subplots()
        steps = list(bins)
        axes.bar([step / PMI_BINS for step in steps], list(bins.values()), width=1 / PMI_BINS, align="edge", color="#3b6ea5")
        if cut is not None:
            axes.axvline(cut, color="#b3442e", linestyle="--", label=f"last one in: {cut:.2f} bits")
            axes.legend()
        axes.set_xlabel("PMI, bits")
        axes.set_ylabel("bigrams")

    section.plot(draw, alt="Histogram of PMI with the cut-off")
    return section


def _ends(chosen: Chosen, source: str) -> Section:
    found = chosen.queries[source]
    section = Section(f"Top and last in: {source}")
    top, last = found[:_SHOWN], found[-_SHOWN:]
    rows = [
        [a.text, a.count, a.score, b.text, b.count, b.score]
        for a, b in zip(top, last)
    ]
    section.table(["top", "count", "score", "last in", "count", "score"], rows)
    return section


def page(chosen: Chosen, how: Mapping, totals: Mapping[str, int], counts: Mapping[str, int], drops: Mapping[str, int]) -> bytes:
    """The report as HTML."""
    sections = [_sources(chosen, how)]
    if words := histogram(totals, "words"):
        sections.append(_ranks(words, totals.get("frequent words", 0)))
    if bins := histogram(totals, "pmi"):
        sections.append(_pmi(bins, chosen.cuts["bigram"]))
    sections += [_ends(chosen, source) for source in QUERY_SOURCES if chosen.queries[source]]
    numbers = Section("Counts")
    numbers.table(["what", "number"], [list(row) for row in counts.items()])
    if drops:
        numbers.table(["dropped because", "number"], [list(row) for row in drops.items()])
    sections.append(numbers)
    asked = f" of {how['size asked']:,} asked for" if how["size asked"] else ""
    return render("Query list", sections, f"{how['size']:,} queries{asked}.")
