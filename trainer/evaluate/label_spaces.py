"""One label space for a reference set and a shifted one: which classes stand for which, and accuracy there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.evaluate.metrics import Rate, rate
from trainer.evaluate.scoring import Linear, Vectors, score_chunks
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet
from wit_builder.text import clean


def class_map(reference: EvaluationSet, shifted: EvaluationSet, path: str = "") -> list[list[int]]:
    """For each class of the shifted set, the reference's classes that it stands for.

    By default those of the same name; or from a file of lines `SHIFTED CLASS<tab>REFERENCE CLASS`, several lines for a superclass.

    Raises:
      UserError: where a class of the shifted set stands for none, a name in the file is unknown, or one of the reference's
        classes would stand in two.
    """
    ours: dict[str, list[int]] = {}
    for label, name in enumerate(reference.class_names):
        ours.setdefault(name, []).append(label)
    found: list[list[int]] = [[] for _ in shifted.class_names]
    if path:
        theirs = {name: label for label, name in enumerate(shifted.class_names)}
        for number, line in enumerate(files.read_bytes(path).decode("utf-8", "replace").splitlines(), 1):
            if not line.strip():
                continue
            name, target = clean(line.partition("\t")[0]), clean(line.partition("\t")[2])
            for known, value, opened in ((theirs, name, shifted), (ours, target, reference)):
                if value not in known:
                    raise UserError(
                        f"no class {value!r} in {opened.name}",
                        where=f"{path}, line {number}",
                        fix=f"lines are {shifted.name.upper()} CLASS<tab>{reference.name.upper()} CLASS",
                    )
            found[theirs[name]] += ours[target]
    else:
        found = [list(ours.get(name, ())) for name in shifted.class_names]
    missing = [repr(name) for name, labels in zip(shifted.class_names, found) if not labels]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise UserError(
            f"classes of {shifted.name} are none of {reference.name}'s: {shown}",
            where=shifted.path,
            fix=f"give --map {shifted.name}=FILE with lines SHIFTED CLASS<tab>REFERENCE CLASS",
        )
    together = [label for labels in found for label in labels]
    if len(set(together)) < len(together):
        twice = reference.class_names[max(set(together), key=together.count)]
        raise UserError(f"class {twice!r} of {reference.name} stands in two classes of {shifted.name}", where=path or shifted.path)
    return found


def pooled(scores: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """Scores of superclasses, the largest of their classes': float [n, k] of float [n, c] and k lists of classes."""
    return np.stack([scores[:, list(group)].max(axis=1) for group in groups], axis=1)


def accuracy(vectors: Vectors, linear: Linear, groups: Sequence[Sequence[int]], labels: np.ndarray) -> Rate:
    """Rate of right answers in the label space of `groups`.

    Args:
      vectors: float32 [n, w].
      linear: a classifier of c classes, of prompts or fitted.
      groups: the classes of the classifier that each of k classes stands for.
      labels: int [n] among the k; -1 leaves an example out.
    """
    predicted = np.concatenate([pooled(scores, groups).argmax(axis=1) for scores in score_chunks(vectors, linear)])
    kept = labels >= 0
    return rate(np.count_nonzero(predicted[kept] == labels[kept]), np.count_nonzero(kept))


def stands_in(groups: Sequence[Sequence[int]], classes: int) -> np.ndarray:
    """The group that each of the reference's classes is in, int [classes]; -1 for none."""
    found = np.full(classes, -1)
    for label, group in enumerate(groups):
        found[list(group)] = label
    return found
