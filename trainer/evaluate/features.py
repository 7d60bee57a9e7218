"""Features of an evaluation set's images: extracted once, streamed to disk, mapped into memory.

A cached split is a folder `images-KEY/` with `rows.parquet`, and two raw little-endian float32 files: `features.f32` [n, w]
from before the projection, `embedding.f32` [n, e] of unit length. It is renamed into place when it is whole.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array

from learning.images import ImageError
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.rows import Rows, UnitMeans
from trainer.load import Preprocessing
from wit_builder import files, tables
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet, Example, Skipped
from wit_builder.hashing import hash64
from wit_builder.parallel import available_cores
from wit_builder.progress import progress

FORMAT = 1  # raise it when the same inputs give other files
ROWS_AT_A_TIME = 16_384

ROWS = pa.schema([
    ("eval_key", pa.string()),
    ("label", pa.int32()),
    ("labels", pa.list_(pa.int32())),
    ("captions", pa.list_(pa.string())),
    ("clip", pa.string()),
    ("columns", pa.string()),  # JSON
])


@dataclass(frozen=True)
class Features:
    """Features of one split, in the set's order.

    Attributes:
      rows: columns of ROWS, n rows.
      features: float32 [n, w], from before the projection, on disk.
      embedding: float32 [n, e], unit vectors, on disk.
      skipped: counts and names of what could not be used.
    """

    rows: pa.Table
    features: Rows
    embedding: Rows
    skipped: dict

    def __len__(self) -> int:
        return self.rows.num_rows

    @property
    def labels(self) -> np.ndarray:
        """Class numbers int64 [n]; -1 where an image has none or several."""
        return self.rows["label"].fill_null(-1).to_numpy().astype(np.int64)

    @property
    def several(self) -> bool:
        """Whether the set gives several labels to an image."""
        return self.rows["label"].null_count == len(self) and pc.any(pc.greater(self._label_counts, 0)).as_py()

    @property
    def _label_counts(self) -> pa.Array:
        return pc.list_value_length(self.rows["labels"])

    def multi_hot(self, classes: int) -> csr_array:
        """All labels, sparse bool [n, classes]."""
        columns = pc.list_flatten(self.rows["labels"]).to_numpy()
        starts = np.concatenate([[0], np.cumsum(self._label_counts.to_numpy())])
        return csr_array((np.ones(len(columns), bool), columns, starts), (len(self), classes))

    def select(self, kept: np.ndarray, reason: str) -> Features:
        """Only some of the images, bool [n]; the others are counted and named as skipped for `reason`."""
        counts = {**self.skipped["counts"], reason: int(np.count_nonzero(~kept))}
        names = self.rows["eval_key"].filter(pa.array(~kept))[: Skipped.NAMED].to_pylist()
        named = [*self.skipped["named"], *({"eval_key": name, "reason": reason} for name in names)]
        places = np.flatnonzero(kept)
        skipped = {"counts": counts, "named": named[: Skipped.NAMED]}
        return Features(self.rows.take(places), self.features.take(places), self.embedding.take(places), skipped)

    def middle_frames(self) -> Features:
        """One image for each unit: of a clip, the frame in the middle, as the paper's probes take it."""
        units = self.clips()
        order = np.argsort(units, kind="stable")
        counts = np.bincount(units)
        if len(counts) == len(units):
            return self
        places = order[np.cumsum(counts) - counts + counts // 2]
        return Features(self.rows.take(places), self.features.take(places), self.embedding.take(places), self.skipped)

    def unit_embedding(self) -> tuple[Rows | UnitMeans, np.ndarray, np.ndarray]:
        """One vector for each unit, the mean of a clip's frames: float32 [u, e]; an image of each, int [u]; and `clips`, int [n]."""
        units = self.clips()
        first = np.unique(units, return_index=True)[1]
        return self.embedding if len(first) == len(units) else UnitMeans(self.embedding, units), first, units

    def clips(self) -> np.ndarray:
        """The unit that each image belongs to, int64 [n]: frames of one clip share one; numbered by first appearance."""
        names = self.rows["clip"]
        numbers = np.concatenate([chunk.indices.to_numpy() for chunk in names.dictionary_encode().chunks]).astype(np.int64)
        alone = pc.equal(names, "").to_numpy()
        numbers[alone] = -1 - np.flatnonzero(alone)
        _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
        order = np.empty(len(first), np.int64)
        order[np.argsort(first)] = np.arange(len(first))
        return order[inverse]


def pictures(
    examples: Iterator[Example], preprocessing: Preprocessing, skipped: Skipped, threads: int
) -> Iterator[tuple[Example, np.ndarray]]:
    """Examples with their pictures as uint8 [size, size, 3], in order, decoded in threads a bounded way ahead."""
    return prepared(examples, lambda example: preprocessing(example.image), skipped, threads)


def prepared(
    examples: Iterator[Example], prepare: Callable[[Example], np.ndarray], skipped: Skipped, threads: int
) -> Iterator[tuple[Example, np.ndarray]]:
    """Examples, without their bytes, with what `prepare` makes of them, in order, made in threads a bounded way ahead.

    One for which it raises ImageError is counted as skipped.
    """

    def picture(example: Example) -> np.ndarray | str:
        try:
            return prepare(example)
        except ImageError as error:
            return str(error)

    waiting: deque[tuple[Example, Future]] = deque()
    with ThreadPoolExecutor(threads) as pool:

        def finished() -> tuple[Example, np.ndarray] | None:
            example, future = waiting.popleft()
            result = future.result()
            if isinstance(result, str):
                skipped.add(result, example.eval_key)
                return None
            return example, result

        for example in examples:
            waiting.append((replace(example, image=b""), pool.submit(picture, example)))
            if len(waiting) >= 8 * threads and (found := finished()):
                yield found
        while waiting:
            if found := finished():
                yield found


def extract(encoder: Encoder, evaluation_set: EvaluationSet, split: str, cache: str, threads: int = 0) -> Features:
    """Features of a split: from the cache where they are there, else extracted and cached.

    Args:
      encoder: the model.
      evaluation_set: the images.
      split: train, validation or test.
      cache: a local folder.
      threads: that decode; 0 takes all cores.

    Raises:
      UserError: where the split is not there or has no image that can be used.
    """
    stamp = (FORMAT, encoder.identity, evaluation_set.fingerprint(split, times=True), evaluation_set.name, split)
    folder = os.path.join(cache, f"images-{hash64(*map(str, stamp)):016x}")
    return cached(folder, lambda made: _extract_to(made, encoder, evaluation_set, split, threads or available_cores()))


def cached(folder: str, make: Callable[[str], None]) -> Features:
    """Features that stand in a folder of the cache.

    Args:
      folder: where they are, or come to be.
      make: writes them into the folder it is given, which is renamed when it is whole.
    """
    if not os.path.isdir(folder):
        _remove_abandoned(folder)
        temporary = f"{folder}.tmp-{uuid.uuid4().hex[:12]}"
        os.makedirs(temporary)
        try:
            make(temporary)
            if os.path.isdir(folder):  # another process was faster
                return load(folder)
            os.rename(temporary, folder)
        finally:
            files.remove(temporary)
    return load(folder)


def _remove_abandoned(folder: str) -> None:
    """Remove what killed runs left of this split: temporary folders that nobody has written to for an hour."""
    for left in glob.glob(f"{glob.escape(folder)}.tmp-*"):
        changed = max((os.path.getmtime(path) for path in [left, *glob.glob(f"{glob.escape(left)}/*")]), default=0)
        if time.time() - changed > 3600:
            files.remove(left)


def _extract_to(folder: str, encoder: Encoder, evaluation_set: EvaluationSet, split: str, threads: int) -> None:
    skipped = Skipped()
    label = f"{evaluation_set.name}: {split} images"
    widths: tuple[int, int] = (0, 0)

    def batches(features_file, embedding_file) -> Iterator[pa.RecordBatch]:
        nonlocal widths
        found = pictures(evaluation_set.examples(split, skipped), encoder.loaded.preprocessing, skipped, threads)
        rows: list[dict] = []  # few large Arrow batches: many small ones between large tensors leave the heap in pieces
        with progress(label, None, "image") as line:
            while batch := list(itertools.islice(found, encoder.batch_size)):
                features, embedding = encoder.embed_images(np.stack([pixels for _, pixels in batch]))
                widths = features.shape[1], embedding.shape[1]
                features_file.write(features.astype("<f4").tobytes())
                embedding_file.write(embedding.astype("<f4").tobytes())
                line.update(len(batch))
                rows += [example_row(example) for example, _ in batch]
                if len(rows) >= ROWS_AT_A_TIME:
                    yield pa.RecordBatch.from_pylist(rows, ROWS)
                    rows = []
        if rows:
            yield pa.RecordBatch.from_pylist(rows, ROWS)

    rows = os.path.join(folder, "rows.parquet")
    with open(os.path.join(folder, "features.f32"), "wb") as one, open(os.path.join(folder, "embedding.f32"), "wb") as other:
        count = tables.write_batches(rows, ROWS, batches(one, other))
    if not count:
        reasons = ", ".join(f"{reason}: {number}" for reason, number in sorted(skipped.counts.items())) or "it is empty"
        raise UserError(f"no usable image in the {split} split of {evaluation_set.name} ({reasons})", where=evaluation_set.path)
    described = {"count": count, "features": widths[0], "embedding": widths[1], "skipped": _described(skipped)}
    files.write_json(os.path.join(folder, "features.json"), described)


def _described(skipped: Skipped) -> dict:
    return {"counts": dict(skipped.counts), "named": skipped.named}


def example_row(example: Example) -> dict:
    """A row of ROWS."""
    return {
        "eval_key": example.eval_key,
        "label": example.label,
        "labels": example.labels,
        "captions": example.captions,
        "clip": example.clip,
        "columns": json.dumps(dict(example.columns), sort_keys=True),
    }


def load(folder: str) -> Features:
    """What `extract` cached in a folder. Raises UserError where it is broken."""
    described = files.read_json(os.path.join(folder, "features.json"))

    def mapped(name: str) -> Rows:
        if not described[name]:  # nothing to map
            return Rows.of(np.empty((described["count"], 0), np.float32))
        return Rows.of(np.memmap(os.path.join(folder, f"{name}.f32"), "<f4", mode="r", shape=(described["count"], described[name])))

    with files.reading_kept(folder):
        rows = tables.read_table(os.path.join(folder, "rows.parquet"))
        return Features(rows, mapped("features"), mapped("embedding"), described["skipped"])


def labelled(opened: EvaluationSet, features: Features, split: str, *, allow_empty: bool = False) -> Features:
    """Features of the images that have a label; the others join what was skipped.

    Raises:
      UserError: where no image has one, or a class has no image and `allow_empty` is false.
    """
    has_label = pc.greater(pc.list_value_length(features.rows["labels"]), 0).to_numpy()
    if not has_label.any():
        raise UserError(f"no image of {opened.name} has a label", where=opened.path, fix="add KEY.cls with the class number to the tars")
    kept = features if has_label.all() or features.several else features.select(has_label, "no label")
    seen = np.zeros(len(opened.class_names), bool)
    seen[pc.unique(pc.list_flatten(kept.rows["labels"])).to_numpy()] = True
    if not allow_empty and not seen.all():
        missing = [repr(opened.class_names[label]) for label in np.flatnonzero(~seen)]
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise UserError(
            f"no usable image of {shown} in the {split} split of {opened.name}",
            where=opened.path,
            fix="give --allow-empty-classes to go on without",
        )
    return kept
