"""Planted copies among distractors: the detector beside perceptual hashes, in one run. `python -m dedup evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import imagehash
import numpy as np
import pdqhash
from PIL import Image

from dedup import views
from dedup.battery import BATTERY, SHOWS_OTHERS, plant
from dedup.embedding import Embedder
from dedup.images import UNIFORM, contrast, find_images
from dedup.metrics import average_precision, precision_recall, recall_at_precision
from learning.images import ImageError, decode
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.hashing import hash64
from wit_builder.progress import progress
from wit_builder.report import Section, render

PRECISION = 0.99
# Pixels: pictures are brought between these before anything is planted, so that a line of text leaves something to be seen.
SHORTEST, LONGEST = 96, 512


@dataclass(frozen=True)
class Pictures:
    """Originals, their copies by every change of the battery, and distractors."""

    keys: list[str]
    originals: list[Image.Image]
    distractors: list[Image.Image]

    @property
    def references(self) -> list[Image.Image]:
        """What copies are looked for among: originals, then distractors."""
        return self.originals + self.distractors

    def beside(self, index: int) -> list[int]:
        """References that stand beside original `index` in its collage."""
        return [len(self.originals) + (index + shift) % len(self.distractors) for shift in range(1, 5)]

    def copies(self, change: str) -> list[Image.Image]:
        return [
            plant(change, key, image, [self.references[other] for other in self.beside(index)])
            for index, (key, image) in enumerate(zip(self.keys, self.originals))
        ]


def read_pictures(folder: str, distractors: str | None, originals: int, others: int) -> Pictures:
    """Pictures chosen by the hash of their paths; distractors come from the same folder where no other is given.

    Nearly uniform pictures, which nothing can tell apart, are passed over.

    Raises:
      UserError: where there are too few.
    """
    paths = sorted(find_images(folder), key=lambda path: hash64("evaluate", files.relative_name(path, folder)))
    kept, names = _open(paths, originals)
    rest = paths[len(names) :] if distractors is None else find_images(distractors)
    rest = rest if distractors is None else sorted(rest, key=lambda path: hash64("evaluate", files.relative_name(path, distractors)))
    taken = set(names)
    more, _ = _open([path for path in rest if path not in taken], others)
    if len(kept) < 8 or len(more) < 8:
        raise UserError("fewer than 8 originals or 8 distractors", where=folder, fix="give more images, or lower --originals")
    return Pictures([files.relative_name(name, folder) for name in names], kept, more)


def _open(paths: Sequence[str], limit: int) -> tuple[list[Image.Image], list[str]]:
    images, names = [], []
    for path in paths:
        if len(images) >= limit:
            break
        try:
            image = decode(files.read_bytes(path), LONGEST)
        except ImageError:
            continue
        scale = min(max(1.0, SHORTEST / min(image.size)), LONGEST / max(image.size))
        if scale != 1:
            image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
        if contrast(np.asarray(image)) < UNIFORM:
            continue
        images.append(image)
        names.append(path)
    return images, names


def evaluate(embedder: Embedder, pictures: Pictures, output: str, called: str = "detector") -> dict[str, Any]:
    """Scores of every copy against every original and distractor, by each method; writes evaluation.json and report.html.

    Methods: the embedder, by the name `called`, on whole pictures; with views of originals and distractors; with regions of the
    copies too; pHash; PDQ.
    """
    references = pictures.references
    size = embedder.resolution
    indexed = _embed(embedder, [views.evaluation_views(image, size, views.VIEW_KINDS) for image in references], indexed=True)
    of_parts = [number for number, view in enumerate(views.view_names(views.VIEW_KINDS)) if view in views.PART_VIEWS]
    hashes = {"pHash": _phash, "PDQ": _pdq}
    coded = {name: np.stack([code(image) for image in references]) for name, code in hashes.items()}  # [references, bits] of ±1

    methods = [f"{called}, whole pictures", f"{called}, views", f"{called}, views and regions", *hashes]
    scores: dict[str, list[np.ndarray]] = {name: [] for name in methods}  # each [copies, references]
    with progress("battery", len(BATTERY), "change") as line:
        for change in BATTERY:
            copies = pictures.copies(change)
            parts = [[square for _, square in views.training_regions(image, size, True)] for image in copies]
            regions = _embed(embedder, parts, indexed=False)
            scores[methods[0]].append(regions[:, 0] @ indexed[:, 0].T)
            scores[methods[1]].append(_best(regions[:, :1], indexed))
            parts_alone = _best(regions[:, 1:], indexed[:, of_parts]) - views.PART_HANDICAP
            scores[methods[2]].append(np.maximum(scores[methods[1]][-1], parts_alone))
            for name, code in hashes.items():
                bits = np.stack([code(image) for image in copies])
                scores[name].append((bits @ coded[name].T / bits.shape[1]).astype(np.float32))
            if change in SHOWS_OTHERS:  # those are copies too: no method is to be blamed for finding them
                for name in methods:
                    for index in range(len(copies)):
                        scores[name][-1][index, pictures.beside(index)] = -1
            line.update()
    found = {name: _measure(np.stack(values)) for name, values in scores.items()}
    result = {
        "originals": len(pictures.originals),
        "distractors": len(pictures.distractors),
        "copies": len(pictures.originals) * len(BATTERY),
        "checkpoint": embedder.sha256,
        "methods": {name: {key: value for key, value in one.items() if key != "curve"} for name, one in found.items()},
    }
    files.make_folder(output)
    files.write_json(files.join(output, "evaluation.json"), result)
    files.write_bytes(files.join(output, "report.html"), _page(result, found))
    return result


def _embed(embedder: Embedder, parts: list[list[np.ndarray]], *, indexed: bool) -> np.ndarray:
    """Vectors float32 [pictures, parts, D] of each picture's parts, the whole first; zero for parts that a search leaves out."""
    vectors = embedder.embed([square for squares in parts for square in squares], indexed=indexed).astype(np.float32)
    vectors = vectors.reshape(len(parts), len(parts[0]), -1)
    vectors[~np.stack([views.telling(squares) for squares in parts])] = 0
    return vectors


def _best(copies: np.ndarray, indexed: np.ndarray) -> np.ndarray:
    """Highest cosine over views and regions: [copies, regions, D], [references, views, D] -> [copies, references]."""
    flat = indexed.reshape(-1, indexed.shape[2]).T
    return np.stack([(copy @ flat).max(0).reshape(indexed.shape[:2]).max(1) for copy in copies])


def _measure(scores: np.ndarray) -> dict[str, Any]:
    """Figures from scores [changes, originals, references]; original i is reference i."""
    changes, originals, references = scores.shape
    copies = np.broadcast_to(np.arange(references)[None, :] == np.arange(originals)[:, None], scores.shape)
    recall, threshold = recall_at_precision(scores.ravel(), copies.ravel(), PRECISION)
    own = scores[:, np.arange(originals), np.arange(originals)]  # [changes, originals]
    _, precision, recalls = precision_recall(scores.ravel(), copies.ravel())
    # Evenly along the recall: nearly all ranks are those of pairs that are no copies.
    some = np.unique(np.searchsorted(recalls, np.linspace(0, recalls[-1], 400)))
    return {
        "average precision": round(average_precision(scores.ravel(), copies.ravel()), 4),
        "recall at 99% precision": round(recall, 4),
        "threshold": None if np.isinf(threshold) else round(threshold, 4),
        "recall by change": {name: round(float((own[index] >= threshold).mean()), 4) for index, name in enumerate(BATTERY)},
        "average precision by change": {
            name: round(average_precision(scores[index].ravel(), copies[index].ravel()), 4) for index, name in enumerate(BATTERY)
        },
        "curve": (recalls[some], precision[some]),
    }


def _phash(image: Image.Image) -> np.ndarray:
    return np.where(imagehash.phash(image).hash.ravel(), 1.0, -1.0).astype(np.float32)  # [64]


def _pdq(image: Image.Image) -> np.ndarray:
    bits, _ = pdqhash.compute(np.asarray(image.convert("RGB")))
    return np.where(np.asarray(bits).ravel() > 0, 1.0, -1.0).astype(np.float32)  # [256]


def _page(result: dict[str, Any], found: dict[str, dict[str, Any]]) -> bytes:
    overall = Section("Overall", "All pairs of a copy and a reference are ranked together.")
    overall.table(
        ["method", "average precision", "recall at 99% precision", "threshold"],
        [[name, one["average precision"], one["recall at 99% precision"], one["threshold"]] for name, one in result["methods"].items()],
    )

    def curves(figure) -> None:
        axes = figure.subplots()
        for name, one in found.items():
            axes.plot(*one["curve"], label=name)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        axes.legend(fontsize=8)

    overall.plot(curves, alt="Precision against recall")
    each = Section("Each change", "Recall at the threshold of 99% precision over all changes.")

    def bars(figure) -> None:
        axes = figure.subplots()
        height = 0.8 / len(found)
        for index, (name, one) in enumerate(found.items()):
            places = np.arange(len(BATTERY)) + (index - (len(found) - 1) / 2) * height
            axes.barh(places, [one["recall by change"][change] for change in BATTERY], height, label=name)
        axes.set_yticks(range(len(BATTERY)), BATTERY)
        axes.invert_yaxis()
        axes.set_xlabel("recall")
        figure.legend(loc="outside upper center", ncols=3, fontsize=8)

    each.plot(bars, alt="Recall of each change by each method", height=6.5)
    each.table(["change", *found], [[change, *(one["recall by change"][change] for one in found.values())] for change in BATTERY])
    lead = f"{result['originals']} originals, {len(BATTERY)} changes, {result['distractors']} distractors."
    return render("Planted copies among distractors", [overall, each], lead)
