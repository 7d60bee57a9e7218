"""What came of shards, as numbers that add up: counts, reasons with the hosts where they were met, sizes, shapes."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from wit_builder.shards import SUCCESS, ShardRow

HOSTS_PER_SHARD = 5  # kept for each reason
HOSTS_KEPT = 2_000  # for each reason, in a sum
HOSTS_TOLD = 20  # for each reason, in a manifest

# Lower edges, in pixels of the original's shorter side, and of width / height.
SIDE_EDGES = (0, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
ASPECT_EDGES = (0.0, 0.25, 0.33, 0.5, 0.6, 0.7, 0.8, 0.95, 1.05, 1.25, 1.45, 1.7, 2.0, 3.0, 4.0)

Summary = dict[str, Any]


def host_of(url: str) -> str:
    """Host of a URL for tables; cut, since anything may stand in a URL."""
    try:
        return (urlsplit(url).hostname or "?")[:80]
    except ValueError:
        return "?"


def shard_statistics(rows: Iterable[ShardRow]) -> dict[str, Any]:
    """What a shard's statistics hold beside img2dataset's counts: hosts by reason, histograms of the originals."""
    hosts: dict[str, Counter] = {}
    sides, aspects = [0] * len(SIDE_EDGES), [0] * len(ASPECT_EDGES)
    for row in rows:
        if row.error_message:
            hosts.setdefault(row.error_message, Counter())[host_of(row.url)] += 1
        if row.status == SUCCESS:
            sides[bisect_right(SIDE_EDGES, min(row.original_width, row.original_height)) - 1] += 1
            aspects[bisect_right(ASPECT_EDGES, row.original_width / row.original_height) - 1] += 1
    return {
        "hosts": {reason: dict(_most(counts, HOSTS_PER_SHARD)) for reason, counts in sorted(hosts.items())},
        "original_sides": sides,
        "original_aspects": aspects,
    }


def of_stats(stats: Mapping[str, Any]) -> Summary:
    """Summary of one shard from its statistics."""
    drops = {reason: number for reason, number in stats.get("status_dict", {}).items() if reason != SUCCESS}
    return {
        "counts": {"shards": 1, "pairs_tried": stats["count"], "images_saved": stats["successes"], "tar_bytes": stats.get("tar_bytes", 0)},
        "drops": drops,
        "hosts": stats.get("hosts", {}),
        "original_sides": stats.get("original_sides", [0] * len(SIDE_EDGES)),
        "original_aspects": stats.get("original_aspects", [0] * len(ASPECT_EDGES)),
    }


def add_up(summaries: Iterable[Summary]) -> Summary:
    """Sum of summaries, of bounded size: of each reason's hosts only the most frequent are kept."""
    counts, drops, hosts = Counter(), Counter(), {}
    sides, aspects = [0] * len(SIDE_EDGES), [0] * len(ASPECT_EDGES)
    for summary in summaries:
        counts.update(summary["counts"])
        drops.update(summary["drops"])
        for reason, numbers in summary["hosts"].items():
            hosts.setdefault(reason, Counter()).update(numbers)
        sides = [a + b for a, b in zip(sides, summary["original_sides"])]
        aspects = [a + b for a, b in zip(aspects, summary["original_aspects"])]
    return {
        "counts": dict(sorted(counts.items())),
        "drops": dict(sorted(drops.items())),
        "hosts": {reason: dict(_most(numbers, HOSTS_KEPT)) for reason, numbers in sorted(hosts.items())},
        "original_sides": sides,
        "original_aspects": aspects,
    }


def top_hosts(summary: Summary) -> dict[str, dict[str, int]]:
    """For each reason the hosts where it was met most, from each shard's most frequent ones."""
    return {reason: dict(_most(numbers, HOSTS_TOLD)) for reason, numbers in summary["hosts"].items()}


def _most(numbers: Mapping[str, int], most: int) -> Sequence[tuple[str, int]]:
    return sorted(numbers.items(), key=lambda item: (-item[1], item[0]))[:most]


def reason_table(summary: Summary, hosts: int = 3) -> list[tuple[str, int, float, str]]:
    """Rows of the final table, most frequent first: reason, pairs, share of pairs tried, hosts where it was met most."""
    tried = summary["counts"].get("pairs_tried", 0)
    return [
        (reason, number, number / tried, ", ".join(f"{host} ({n:,})" for host, n in _most(summary["hosts"].get(reason, {}), hosts)))
        for reason, number in _most(summary["drops"], len(summary["drops"]))
    ]
