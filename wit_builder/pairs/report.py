"""The report of an extraction: what was read, what came of it, what was dropped and why, what was broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wit_builder.report import Section, render

# Every reason for which a candidate is dropped.
REASONS = {
    "text_missing": "the image has none of the wanted texts",
    "text_empty": "the text holds nothing but white space",
    "text_too_long": "the text is longer than 8,192 characters",
    "no_url": "the image names no URL at all",
    "url_placeholder": "src is a spacer for a lazy-loading script, and no other URL is given",
    "url_empty": "the URL is empty or a mere #fragment",
    "url_data": "the image stands in the page itself (data:)",
    "url_not_http": "the URL is neither http nor https",
    "url_relative_without_base": "the URL is relative, and the page's own is not known",
    "url_invalid": "no browser would accept the URL",
    "url_too_long": "the URL is longer than 4,096 characters",
    "duplicate": "the same URL with the same text was found elsewhere too",
}
_SHOWN = 50


def page(
    counts: Mapping[str, int], drops: Mapping[str, int], hosts: Mapping[str, int], faults: Sequence[tuple[str, int, str]]
) -> bytes:
    """The page as HTML."""
    numbers = Section("Counts")
    numbers.table(["what", "number"], [(name.replace("_", " "), number) for name, number in counts.items()])
    found = counts.get("pairs_found", 0) + sum(number for name, number in drops.items() if name != "duplicate")
    dropped = Section("Dropped", note=f"Of {found:,} candidates: an image with one of its texts.")
    dropped.table(
        ["reason", "candidates", "share", "meaning"],
        [(name, drops[name], f"{drops[name] / max(1, found):.1%}", REASONS[name]) for name in sorted(drops, key=lambda name: -drops[name])],
    )
    top = sorted(hosts.items(), key=lambda host: (-host[1], host[0]))[:_SHOWN]
    pairs = max(1, counts.get("pairs", 0))
    frequent = Section("Hosts with most pairs", note="Summed over the 1,000 most frequent hosts of each file.")
    frequent.table(["host", "pairs", "share"], [(host, number, f"{number / pairs:.1%}") for host, number in top])
    told = sum(number for name, number in counts.items() if name.startswith("faults_"))
    broken = Section("Broken places", note=f"{told:,} in all. What stands before and after them was kept." if told else "None.")
    if faults:
        broken.table(["file", "byte", "what"], [(name, offset, what) for name, offset, what in faults[:_SHOWN]])
    return render("Image-text pairs", [numbers, dropped, broken, frequent], lead=f"{counts.get('pairs', 0):,} unique pairs")
