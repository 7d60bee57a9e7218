"""Near-duplicates inside an evaluation set: its images against the other images of its own splits.

A test image with a near-duplicate in its own set's training split is answered from memory by any probe or fine-tuned model, however
clean the pairs were that the model was pretrained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dedup.neighbours import EvaluationIndex, Hits, cap_each_image, no_hits
from dedup.search import open_index
from dedup.tasks import Search, vectors_of
from dedup.views import view_names
from wit_builder import files, tables
from wit_builder.hashing import file_of
from wit_builder.records import WITHIN

IMAGES = 4096  # of other splits, searched at a time
_HITS = pa.schema([*WITHIN, ("image", pa.int64())])


@dataclass(frozen=True)
class SearchWithin:
    """Hits of a part of a set's split in the set's own indexed images. Result: path of a table of them (WITHIN and `image`), and counts."""

    search: Search
    folder: str  # of `dedup.search.build`'s files

    def load(self) -> EvaluationIndex:
        return open_index(self.folder)

    def __call__(self, index: EvaluationIndex, task: tuple[dict[str, Any], str]) -> dict[str, Any]:
        """`task`: a result of EmbedEvaluation, and the name that `build` returned."""
        part, index_name = task
        place = [part["dataset"], part["split"], part["vectors"].rsplit("/", 1)[-1], index_name.rsplit("/", 1)[-1]]
        path = self.search.kept("within", *place, self.search.loose, self.search.max_hits)
        if not files.exists(path):
            tables.write_table(path, self._search(index, part))
        return {"hits": path, "counts": {}, "drops": {}}

    def _search(self, index: EvaluationIndex, part: dict[str, Any]) -> pa.Table:
        images = tables.read_table(files.join(self.folder, "images.parquet"), ["dataset", "eval_key", "label"])
        mine = images["dataset"].to_numpy(zero_copy_only=False).astype(str) == part["dataset"]
        numbers = {key: number for number, key in enumerate(images["eval_key"].to_pylist()) if mine[number]}
        embedded = tables.read_table(part["vectors"])
        vectors, keys = vectors_of(embedded["embedding"]), embedded["key"].to_pylist()
        others = tables.read_table(part["images"], ["eval_key", "label"])
        labels = dict(zip(others["eval_key"].to_pylist(), others["label"].to_pylist()))
        itself = np.array([numbers.get(key, -1) for key in keys], np.int64)
        names = np.array(keys, str)
        kept = no_hits()
        for start in range(0, len(keys), IMAGES):
            hits = index.search(vectors[start : start + IMAGES], self.search.loose)
            at = hits.query + start
            keep = mine[hits.image] & (itself[at] != hits.image)
            found = Hits(hits.image, hits.view, at, hits.region, hits.similarity).take(keep)
            kept = Hits.concatenate([kept, found])
            kept = kept.take(cap_each_image(kept.image, kept.similarity, names[kept.query], self.search.max_hits))
        chosen, views = images.take(pa.array(kept.image)), view_names(self.search.views)
        other = [keys[query] for query in kept.query.tolist()]
        return pa.table({
            "dataset": chosen["dataset"],
            "eval_key": chosen["eval_key"],
            "label": chosen["label"],
            "view": pa.array([views[view] for view in kept.view.tolist()], pa.string()),
            "split": pa.array([part["split"]] * len(kept), pa.string()),
            "other_key": pa.array(other, pa.string()),
            "other_label": pa.array([labels[key] for key in other], pa.int32()),
            "similarity": kept.similarity,
            "image": kept.image,
        }).cast(_HITS)  # fmt: skip


@dataclass(frozen=True)
class GatherWithin:
    """Hits within the sets of one output file's evaluation images, the most similar of each split. Writes within tables."""

    search: Search
    output: str
    count: int  # of output files

    def load(self) -> None:
        return None

    def __call__(self, loaded: None, task: tuple[int, list[str]]) -> dict[str, Any]:
        """`task`: number of the output file, and paths of the parts' hits."""
        number, paths = task
        kept: dict[str, pa.Table] = {}
        for path in paths:
            table = tables.read_table(path)
            names = zip(table["dataset"].to_pylist(), table["eval_key"].to_pylist())
            table = table.filter(pa.array([file_of(f"{dataset}\0{key}", self.count) == number for dataset, key in names], pa.bool_()))
            if not table.num_rows:
                continue
            split = table["split"][0].as_py()  # a part is of one split
            table = pa.concat_tables([kept[split], table]) if split in kept else table
            others = table["other_key"].to_numpy(zero_copy_only=False).astype(str)
            order = cap_each_image(table["image"].to_numpy(), table["similarity"].to_numpy(), others, self.search.max_hits)
            kept[split] = table.take(pa.array(order)).combine_chunks()
        whole = pa.concat_tables([_HITS.empty_table(), *kept.values()]).select(WITHIN.names)
        path = files.join(self.output, tables.numbered("within", number, self.count))
        tables.write_table(path, whole, sort_by=("dataset", "eval_key", "split", "other_key"))
        return {"counts": {"hits within the sets kept": whole.num_rows}, "drops": {}}
