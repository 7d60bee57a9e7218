"""What `pipelines.find_overlaps` wrote, joined with predictions and thresholds: the overlap report's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedup.calibrate import threshold_for
from dedup.statistics import SetStatistics, correct_for_many, set_statistics
from wit_builder import files, tables
from wit_builder.errors import UserError
from wit_builder.records import PREDICTIONS


@dataclass(frozen=True)
class Overlaps:
    """A finished overlap search.

    Attributes:
      path: its folder.
      manifest, run: as JSON.
      images: a row for each evaluation image (`dedup.search.EVALUATION`), sorted by dataset and key.
      hits: OVERLAPS' rows, falling similarity for each image.
      within: WITHIN's rows, so sorted too; None where images were not compared inside their sets.
    """

    path: str
    manifest: Mapping[str, Any]
    run: Mapping[str, Any]
    images: pa.Table
    hits: pa.Table
    within: pa.Table | None = None

    @property
    def datasets(self) -> list[str]:
        return sorted(entry["dataset"] for entry in self.manifest["inputs"]["evaluation sets"])

    @property
    def compared(self) -> list[str]:
        """Names under which thresholds are set: of the sets, and of the sets' comparisons with themselves."""
        return self.datasets + ([within_name(name) for name in self.datasets] if self.within is not None else [])

    def default_threshold(self, counted: str = "training vectors") -> float:
        """What the detector's calibration gives for so many of what was searched for, at least the loose one of the search."""
        loose, law = self.manifest["parameters"]["loose"], self.manifest.get("calibration")
        return max(threshold_for(law, self.manifest["counts"].get(counted, 0)), loose) if law else loose


def within_name(dataset: str) -> str:
    """What a set's comparison with itself is called where thresholds are set."""
    return f"{dataset} within"


def read_overlaps(path: str) -> Overlaps:
    """An output folder of find_overlaps.

    Raises:
      UserError: where it is not there, not whole, or another stage's.
    """
    images = [tables.read_table(found) for found in tables.find(path, "evaluation")]
    hits = [tables.read_table(found) for found in tables.find(path, "overlaps")]
    order = [("dataset", "ascending"), ("eval_key", "ascending")]
    manifest = _read_manifest(files.join(path, "manifest.json"))
    within = None
    if manifest["parameters"].get("within"):
        within = pa.concat_tables([tables.read_table(found) for found in tables.find(path, "within")])
        within = within.sort_by([*order, ("similarity", "descending"), ("split", "ascending"), ("other_key", "ascending")])
    return Overlaps(
        path,
        manifest,
        files.read_object(files.join(path, "run.json")),
        pa.concat_tables(images).sort_by(order),
        pa.concat_tables(hits).sort_by([*order, ("similarity", "descending"), ("uid", "ascending")]),
        within,
    )


def _read_manifest(path: str) -> dict[str, Any]:
    """A search's manifest, in which all is there that `Overlaps` asks of it. Raises UserError where it is not."""
    found = files.read_object(path)
    try:
        names = [entry["dataset"] for entry in found["inputs"]["evaluation sets"]]
        numbers = [found["parameters"]["loose"], *found["counts"].values()]
        if not all(isinstance(name, str) for name in names) or not all(isinstance(number, (int, float)) for number in numbers):
            raise TypeError("a name or a number is none")
        if found.get("calibration"):
            threshold_for(found["calibration"], 1)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"not what find_overlaps writes: {error!r}", where=path, fix="search again") from error
    return found


def read_predictions(paths: Sequence[str], dataset: str = "") -> pa.Table:
    """Per-example correctness: files or folders of `trainer zero-shot`'s predictions, or any Parquet with example and correct.

    Args:
      dataset: what the rows are of, where a file does not say.

    Raises:
      UserError: where the columns are not there.
    """
    found = []
    for path in files.match_all(list(paths), what="predictions"):
        if not path.endswith(".parquet"):
            continue
        table = tables.read_table(path)
        names = table.column_names
        if "example" in names and "eval_key" not in names:
            table = table.rename_columns(["eval_key" if name == "example" else name for name in names])
        if "dataset" not in table.column_names and dataset:
            table = table.append_column("dataset", pa.array([dataset] * table.num_rows))
        missing = [name for name in ("dataset", "eval_key", "correct") if name not in table.column_names]
        if missing:
            raise UserError(
                f"no column {', '.join(missing)} (it has {', '.join(names)})",
                where=path,
                fix="give predictions of trainer zero-shot, or columns dataset, eval_key and correct",
            )
        found.append(tables.cast(table, pa.schema([PREDICTIONS.field(name) for name in ("dataset", "eval_key", "correct")]), path))
    if not found:
        raise UserError("no Parquet file there", where=" ".join(paths), fix="give outputs of trainer zero-shot, or *.parquet")
    return pa.concat_tables(found)


def read_thresholds(path: str) -> dict[str, float]:
    """Thresholds of a review, by set.

    Raises:
      UserError: where the file holds something else.
    """
    found = files.read_json(path)
    if not isinstance(found, dict) or not all(isinstance(value, (int, float)) for value in found.values()):
        raise UserError("not a set's name with a number each", where=path, fix="give thresholds.json of python -m dedup review")
    return {name: float(value) for name, value in found.items()}


def parse_thresholds(values: Sequence[str], overlaps: Overlaps, from_file: Mapping[str, float] | None = None) -> dict[str, float]:
    """Threshold of each set: `NAME=X`, or X for all that have none of their own; else a file's, else the detector's.

    A set's comparison with itself has the set's threshold where none is given under its own name (`within_name`); the detector's is
    for as many images as were compared there.

    Raises:
      UserError: where a value is malformed, a set unknown, or a threshold below the search's loose one.
    """
    loose = overlaps.manifest["parameters"]["loose"]
    chosen: dict[str, float] = {}
    general: float | None = None
    for value in values:
        name, _, number = value.rpartition("=")
        try:
            threshold = float(number)
        except ValueError:
            raise UserError(f"{value!r} is not NAME=X or X", fix="for instance --threshold cifar10=0.8") from None
        if name and name not in overlaps.compared:
            raise UserError(f"no evaluation set {name!r} in this search (it has {', '.join(overlaps.compared)})", where=overlaps.path)
        if name:
            chosen[name] = threshold
        else:
            general = threshold
    settled = {}
    reviewed = from_file or {}
    own = {within_name(name): name for name in overlaps.datasets}
    for name in overlaps.compared:
        default = overlaps.default_threshold("other images" if name in own else "training vectors")
        whole = own.get(name, name)
        given = (chosen.get(name), chosen.get(whole), general, reviewed.get(name), reviewed.get(whole))
        settled[name] = next((value for value in given if value is not None), default)
        if not loose <= settled[name] <= 1:
            raise UserError(
                f"the threshold {settled[name]} of {name} is not between the search's loose one, {loose}, and 1",
                where=overlaps.path,
                fix="give another, or search again with a lower --loose",
            )
    return settled


def overlap_statistics(overlaps: Overlaps, thresholds: Mapping[str, float], predictions: pa.Table | None) -> list[SetStatistics]:
    """Statistics of every set, by name. Images without a prediction are left out where the set has any.

    Raises:
      UserError: where a set's predictions name none of its images.
    """
    found = []
    for dataset in overlaps.datasets:
        images = overlaps.images.filter(pc.equal(overlaps.images["dataset"], dataset))
        similarity = images["similarity"].to_numpy()
        flags = np.nan_to_num(similarity, nan=-2.0) >= np.float32(thresholds[dataset])
        correct = None
        if predictions is not None:
            mine = predictions.filter(pc.equal(predictions["dataset"], dataset))
            right = dict(zip(mine["eval_key"].to_pylist(), mine["correct"].to_pylist()))
            answers = [right.get(key) for key in images["eval_key"].to_pylist()]
            known = np.array([answer is not None for answer in answers], bool)
            if right and len(answers) and not known.any():
                raise UserError(f"no prediction for any image of {dataset}", where=overlaps.path, fix="give predictions on the same set")
            if known.any():
                flags, correct = flags[known], np.array([bool(answer) for answer in answers], bool)[known]
        found.append(set_statistics(dataset, thresholds[dataset], flags, correct))
    return correct_for_many(found)


def uids_to_remove(overlaps: Overlaps, thresholds: Mapping[str, float]) -> pa.Table:
    """Column `uid` of the training pairs at or above their set's threshold, sorted, each once."""
    limit = np.array([thresholds[name] for name in overlaps.hits["dataset"].to_pylist()], np.float32)
    chosen = overlaps.hits["similarity"].to_numpy() >= limit
    return pa.table({"uid": pa.array(sorted(set(overlaps.hits["uid"].filter(pa.array(chosen)).to_pylist())), pa.string())})
