import numpy as np
import pyarrow as pa
import pytest

from dedup.search import VECTORS, SearchShard
from dedup.tasks import Search
from dedup.views import PART_HANDICAP, view_names
from wit_builder import tables
from wit_builder.records import embeddings
from wit_builder.shards import shard_paths

VIEWS = ("crop50",)
NAMES = view_names(VIEWS)  # whole, and five crops


def rows_of(vectors: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).reshape(-1), pa.float16()), vectors.shape[1])


@pytest.mark.parametrize("regions", [False, True])
def test_parts_of_training_images_meet_whole_evaluation_images_only_and_count_less(tmp_path, regions):
    axes = np.eye(16, dtype=np.float16)
    indexed = axes[: 2 * len(NAMES)]  # two evaluation images, all views unlike each other
    np.save(tmp_path / VECTORS, indexed)
    number = np.arange(len(indexed))
    views = pa.table({"image": number // len(NAMES), "view": (number % len(NAMES)).astype(np.int16)})
    tables.write_table(str(tmp_path / "views.parquet"), views)
    tables.write_table(str(tmp_path / "images.parquet"), pa.table({"dataset": ["set", "set"], "eval_key": ["first", "second"]}))
    # One training image is like a crop of the first as a whole; its left part is like the whole of the second, its right like a crop of it.
    trained = [("a", "whole", axes[1]), ("a", "left", axes[len(NAMES)]), ("a", "right", axes[len(NAMES) + 2])]
    trained = trained if regions else trained[:1]
    table = pa.table([[row[0] for row in trained], [row[1] for row in trained], rows_of(np.stack([row[2] for row in trained]))],
                     schema=embeddings(16))  # fmt: skip
    tables.write_table(str(tmp_path / "trained.parquet"), table)
    shard = shard_paths(str(tmp_path), 0)
    tables.write_table(shard.parquet, pa.table({"url": ["http://x/a"], "key": ["000000000"], "uid": ["a"]}))
    search = Search("", "", str(tmp_path / "cache"), VIEWS, regions, 0.8, 10, "flat", 1)
    work = SearchShard(search, str(tmp_path))
    result = work(work.load(), ({"shard": shard, "vectors": str(tmp_path / "trained.parquet")}, "index"))
    found = {row["eval_key"]: (row["view"], row["region"], row["similarity"]) for row in tables.read_table(result["hits"]).to_pylist()}
    assert found["first"] == (NAMES[1], "whole", 1.0)
    if regions:
        assert found.pop("second") == ("whole", "left", pytest.approx(1 - PART_HANDICAP))
    assert set(found) == {"first"}
