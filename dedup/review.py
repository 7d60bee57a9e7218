"""Setting thresholds by inspection: which pairs are shown, what is kept of the answers, and what follows from them.

Pairs are sampled by similarity, the same number from each bin, so that few answers tell much about every threshold. The
answers are appended to a file at once; taking one back appends too, so nothing that was written is ever lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from dedup.overlap import Overlaps, within_name
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.hashing import hash64

LABELS = ("duplicate", "different", "unsure")
BINS = 20
TARGET = 0.95  # precision that the suggested threshold should reach


@dataclass(frozen=True)
class Pair:
    """An evaluation image and its most similar training image; `bin` counts from the loose threshold up.

    Of a comparison within a set, `dataset` is its name (`within_name`), `shard` the other image's split, `uid` and `key` its eval_key.
    """

    dataset: str
    eval_key: str
    uid: str
    shard: str
    key: str
    similarity: float
    bin: int


@dataclass(frozen=True)
class Sample:
    """What one set's review shows, and what it stands for.

    Attributes:
      pairs: in the order they are shown, bins in turn.
      edges: lower edges of the bins, and 1 at the end, [BINS + 1].
      population: images whose nearest training image falls into each bin, [BINS].
    """

    pairs: list[Pair]
    edges: np.ndarray
    population: np.ndarray


def _hits(overlaps: Overlaps, dataset: str) -> list[dict[str, Any]]:
    if dataset in overlaps.datasets:
        return overlaps.hits.filter(pc.equal(overlaps.hits["dataset"], dataset)).to_pylist()
    name = next(name for name in overlaps.datasets if within_name(name) == dataset)
    found = overlaps.within.filter(pc.equal(overlaps.within["dataset"], name)).to_pylist()
    return [hit | {"uid": hit["other_key"], "shard": hit["split"], "key": hit["other_key"]} for hit in found]


def sample_pairs(overlaps: Overlaps, dataset: str, per_bin: int) -> Sample:
    """At most `per_bin` pairs of every bin, chosen by a hash of the image's name."""
    loose = overlaps.manifest["parameters"]["loose"]
    edges = np.linspace(loose, 1.0, BINS + 1)
    best: dict[str, dict[str, Any]] = {}
    for hit in _hits(overlaps, dataset):  # falling similarity
        best.setdefault(hit["eval_key"], hit)
    binned: list[list[Pair]] = [[] for _ in range(BINS)]
    for hit in sorted(best.values(), key=lambda hit: hash64("review", dataset, hit["eval_key"])):
        place = int(np.clip(np.searchsorted(edges, hit["similarity"], side="right") - 1, 0, BINS - 1))
        binned[place].append(Pair(dataset, hit["eval_key"], hit["uid"], hit["shard"], hit["key"], hit["similarity"], place))
    population = np.array([len(pairs) for pairs in binned])
    shown = [(rank, hash64("review", dataset, pair.eval_key, rank), pair) for pairs in binned for rank, pair in enumerate(pairs[:per_bin])]
    return Sample([pair for _, _, pair in sorted(shown, key=lambda entry: entry[:2])], edges, population)


def precision_at_edges(sample: Sample, labels: Mapping[str, str]) -> list[dict[str, float]]:
    """Precision of all hits at or above each edge, with a 95% interval, from the answers so far.

    Images that were answered count as they are; those left of each bin by its share of duplicates, under a Beta(1/2, 1/2)
    prior. `unsure` counts as no answer. The interval is that of a normal law with the posterior's mean and variance.

    Args:
      labels: answer by eval_key.

    Returns:
      threshold, hits, precision, low, high of every edge, rising.
    """
    right, asked = np.zeros(BINS), np.zeros(BINS)
    for pair in sample.pairs:
        if labels.get(pair.eval_key) in ("duplicate", "different"):
            asked[pair.bin] += 1
            right[pair.bin] += labels[pair.eval_key] == "duplicate"
    mean = (right + 0.5) / (asked + 1)
    variance = mean * (1 - mean) / (asked + 2)
    rows = []
    for edge in range(BINS):
        weight = sample.population[edge:]
        total = weight.sum()
        if not total:
            continue
        left = weight - asked[edge:]
        middle = float((right[edge:] + left * mean[edge:]).sum() / total)
        doubt = left**2 * variance[edge:] + left * mean[edge:] * (1 - mean[edge:])  # of the share, and of the images left
        spread = 1.96 * float(np.sqrt(doubt.sum())) / total
        rows.append({
            "threshold": round(float(sample.edges[edge]), 4),
            "hits": int(total),
            "precision": middle,
            "low": max(0.0, middle - spread),
            "high": min(1.0, middle + spread),
        })  # fmt: skip
    return rows


def suggested_threshold(rows: Sequence[Mapping[str, float]], target: float = TARGET) -> float | None:
    """The lowest edge from which on precision reaches the target; None where none does."""
    good = [row["threshold"] for row in rows if row["precision"] >= target]
    return min(good) if good else None


class Labels:
    """The answers, in a file that only grows: one JSON line each, on disk before `add` returns.

    Raises:
      UserError: where the file holds something else.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.entries: list[dict[str, Any]] = []
        if os.path.exists(path):
            text = files.read_bytes(path).decode("utf-8", "replace")
            whole = text[: text.rfind("\n") + 1]  # a line cut off by a crash is no answer
            if len(whole) < len(text):
                files.write_bytes(path, whole.encode())
            for number, line in enumerate(whole.splitlines(), 1):
                try:
                    self._apply(json.loads(line))
                except (ValueError, KeyError, TypeError, IndexError) as error:
                    raise UserError(f"line {number} is no answer of a review", where=path, fix="give another --labels") from error

    def _apply(self, entry: dict[str, Any]) -> None:
        if entry.get("undo"):
            self.entries.pop()
        else:
            if entry["label"] not in LABELS:
                raise ValueError(entry["label"])
            self.entries.append({name: str(entry[name]) for name in ("dataset", "eval_key", "uid", "label")})

    def _write(self, entry: dict[str, Any]) -> None:
        files.make_folder(os.path.dirname(self.path) or ".")
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._apply(entry)

    def add(self, pair: Pair, label: str) -> None:
        self._write({"dataset": pair.dataset, "eval_key": pair.eval_key, "uid": pair.uid, "label": label})

    def undo(self) -> bool:
        """Take the last answer back; False where there is none."""
        if not self.entries:
            return False
        self._write({"undo": True})
        return True

    def of(self, sample: Sample) -> dict[str, str]:
        """Answers by eval_key to the very pairs of a sample."""
        given = {(entry["dataset"], entry["eval_key"], entry["uid"]): entry["label"] for entry in self.entries}
        found = ((pair.eval_key, given.get((pair.dataset, pair.eval_key, pair.uid))) for pair in sample.pairs)
        return {key: label for key, label in found if label}

