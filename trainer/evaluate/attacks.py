"""Typographic attacks as numbers: which class's name is written on a picture, and how often the model reads it instead of looking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.evaluate.metrics import rate
from wit_builder.evalsets import EvaluationSet
from wit_builder.hashing import hash64

NONE = -1
ATTACKS = pa.schema([
    ("dataset", pa.string()),
    ("eval_key", pa.string()),
    ("label", pa.int32()),
    ("written", pa.int32()),  # the class whose name is on the picture
    ("size", pa.float32()),  # of the font, as a share of the side
    ("place", pa.string()),
    ("before", pa.int32()),  # predicted without words
    ("after", pa.int32()),  # predicted with the name
    ("control", pa.int32()),  # predicted with the name's letters shuffled
])


def written_classes(keys: Sequence[str], labels: np.ndarray, class_names: Sequence[str], seed: int, target: int = NONE) -> np.ndarray:
    """The class whose name goes onto each picture, int [n]: one with another name than the picture's, by a salted hash of its key.

    Args:
      keys: eval_key of n pictures.
      labels: int [n].
      class_names: by label.
      seed: salts the hash.
      target: a class that is written on all pictures of other classes.

    Returns:
      Class numbers; NONE where there is no other name to write.
    """
    others = {label: [other for other, name in enumerate(class_names) if name != class_names[label]] for label in set(labels.tolist())}
    found = np.full(len(keys), NONE)
    for place, (key, label) in enumerate(zip(keys, labels.tolist())):
        possible = others[label] if target == NONE else [other for other in others[label] if other == target]
        if possible:
            found[place] = possible[hash64("written", seed, key) % len(possible)]
    return found


def shuffled(text: str, seed: int) -> str:
    """The same letters in another order, where there is one: it covers a picture alike, and says nothing."""
    for attempt in range(20):
        order = sorted(range(len(text)), key=lambda place: hash64("letters", seed, attempt, text, place))
        if (other := "".join(text[place] for place in order)) != text:
            return other
    return text


def first_by_hash(keys: Sequence[str], possible: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The possible ones with the `count` smallest salted hashes of their keys, bool [n]; all where it is 0."""
    places = np.flatnonzero(possible).tolist()
    chosen = sorted(places, key=lambda place: hash64("attacked", seed, keys[place]))[: count or None]
    found = np.zeros(len(keys), bool)
    found[chosen] = True
    return found


@dataclass(frozen=True)
class Attack:
    """Words written on n pictures of a set in k ways, and what the model said.

    Attributes:
      opened: the set.
      names: of its classes, by label.
      keys: eval_key of each picture.
      labels: its class, int [n].
      written: the class whose name was written on it, int [n].
      before: predicted without words, int [n].
      after: predicted with the name, int [n, k].
      control: predicted with the name's letters shuffled, int [n, k], or None.
      ways: size and place, k of them.
      skipped: counts and names of the pictures that were left out.
      write: of a square picture, a text and perhaps the number of a way, the pictures with it.
    """

    opened: EvaluationSet
    names: Sequence[str]
    keys: Sequence[str]
    labels: np.ndarray
    written: np.ndarray
    before: np.ndarray
    after: np.ndarray
    control: np.ndarray | None
    ways: Sequence[tuple[float, str]]
    skipped: dict[str, Any]
    write: Callable[..., list]

    @property
    def strongest(self) -> int:
        """The way in which most pictures are taken for the written class; of equal ones the first."""
        return int((self.after == self.written[:, None]).sum(axis=0).argmax())

    def metrics(self) -> dict[str, Any]:
        """What metrics.json holds of the set."""
        found = attack_rates(self.labels, self.written, self.before, self.after, self.control, self.ways)
        return {**found, "by_written": by_written(self.written, self.after, self.names), "skipped": self.skipped}

    def rows(self) -> pa.Table:
        """Rows of ATTACKS: each picture in each way."""
        n, k = self.after.shape
        each = [np.repeat(column, k) for column in (self.labels, self.written)]
        control = pa.nulls(n * k, pa.int32()) if self.control is None else pa.array(self.control.ravel(), pa.int32())
        columns = [
            pa.array([self.opened.name] * (n * k)), pa.array(np.repeat(np.array(self.keys, object), k)), *map(pa.array, each),
            pa.array([size for size, _ in self.ways] * n), pa.array([place for _, place in self.ways] * n),
            pa.array(np.repeat(self.before, k)), pa.array(self.after.ravel()), control,
        ]  # fmt: skip
        return pa.table(columns, names=ATTACKS.names).cast(ATTACKS)


def attack_rates(
    labels: np.ndarray, written: np.ndarray, before: np.ndarray, after: np.ndarray, control: np.ndarray | None, ways: Sequence[tuple]
) -> dict[str, Any]:
    """What metrics.json holds of a set.

    A picture counts once in every rate that has an interval, so pictures are independent there.

    Args:
      labels: int [n].
      written: class whose name is on each picture, int [n].
      before: predictions without words, int [n].
      after: with the name, int [n, k] by way.
      control: with its letters shuffled, int [n, k], or None.
      ways: size and place, k of them.

    Returns:
      `before`, accuracy; `written_before`, predicted as what will be written; `conditions`, by way: `after`, accuracy, `success`,
      predicted as written, `turned`, the same among those that were right before, and the control's accuracy and success; by size
      and by place `any`, success in at least one way, and `mean`, the mean success; `any` over all.
    """
    n = len(labels)
    hit, right = after == written[:, None], before == labels
    found: dict[str, Any] = {
        "images": n,
        "before": rate(np.count_nonzero(right), n),
        "written_before": rate(np.count_nonzero(before == written), n),
        "any": rate(np.count_nonzero(hit.any(axis=1)), n),
        "conditions": [],
    }
    for column, (size, place) in enumerate(ways):
        one = {
            "size": size,
            "place": place,
            "after": rate(np.count_nonzero(after[:, column] == labels), n),
            "success": rate(np.count_nonzero(hit[:, column]), n),
            "turned": rate(np.count_nonzero(hit[right, column]), np.count_nonzero(right)) if right.any() else None,
        }
        if control is not None:
            one["control_after"] = rate(np.count_nonzero(control[:, column] == labels), n)
            one["control_success"] = rate(np.count_nonzero(control[:, column] == written), n)
        found["conditions"].append(one)
    for name, index in (("by_size", 0), ("by_place", 1)):
        found[name] = {}
        for value in dict.fromkeys(way[index] for way in ways):
            some = hit[:, [way[index] == value for way in ways]]
            found[name][str(value)] = {"mean": float(some.mean()), "any": rate(np.count_nonzero(some.any(axis=1)), n)}
    return found


def by_written(written: np.ndarray, after: np.ndarray, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """By class whose name was written: pictures, and the mean success over ways; the most successful first."""
    hit = (after == written[:, None]).mean(axis=1)
    rows = [
        {"class": class_names[label], "images": int(np.count_nonzero(written == label)), "success": float(hit[written == label].mean())}
        for label in np.unique(written).tolist()
    ]
    return sorted(rows, key=lambda row: (-row["success"], -row["images"], row["class"]))
