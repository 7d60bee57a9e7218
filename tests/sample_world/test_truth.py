"""Recall of planted copies, counted by hand on a few."""

import json

import pyarrow as pa

from sample_world.truth import recall, saved_uids
from wit_builder import records, tables

PLANTS = [
    {"dataset": "a", "eval_key": "test/0.tar/s0", "transform": "recompressed", "url": "http://x/0.jpg"},
    {"dataset": "a", "eval_key": "test/0.tar/s0", "transform": "flipped", "url": "http://x/1.jpg"},
    {"dataset": "a", "eval_key": "test/0.tar/s1", "transform": "resized", "url": "http://x/2.jpg"},
    {"dataset": "b", "eval_key": "test/0.tar/s0", "transform": "flipped", "url": "http://x/lost.jpg"},
]


def hit(dataset, eval_key, uid, similarity):
    return {"dataset": dataset, "eval_key": eval_key, "uid": uid, "similarity": similarity}


def test_recall_counts_saved_copies_that_their_own_image_was_found_by(tmp_path):
    truth = {"transforms": ["recompressed", "resized", "flipped"], "easy": ["recompressed", "resized"], "plants": PLANTS}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    saved = {"u0": "http://x/0.jpg", "u1": "http://x/1.jpg", "u2": "http://x/2.jpg", "u2again": "http://x/2.jpg", "other": "http://x/9.jpg"}
    hits = [
        hit("a", "test/0.tar/s0", "u0", 0.9),
        hit("a", "test/0.tar/s0", "u2", 0.9),  # a copy, but of another image
        hit("a", "test/0.tar/s0", "u1", 0.7),  # below the threshold
        hit("a", "test/0.tar/s1", "u2", 0.8),
        hit("b", "test/0.tar/s0", "other", 0.99),  # no copy of it was saved
    ]
    found = recall(str(tmp_path), saved, hits, {"a": 0.8, "b": 0.5})
    assert found["transforms"] == {"recompressed": [1, 1], "resized": [1, 2], "flipped": [0, 1]}
    assert found["easy"] == [2, 3] and found["all"] == [2, 4]
    assert found["false"] == 1


def test_only_images_that_were_saved_count(tmp_path):
    rows = [{name: None for name in records.SHARD_ROWS.names} | row for row in (
        {"uid": "u0", "url": "http://x/0.jpg", "status": "success"}, {"uid": "u1", "url": "http://x/1.jpg", "status": "failed_to_download"},
    )]  # fmt: skip
    path = str(tmp_path / "00000.parquet")
    tables.write_table(path, pa.Table.from_pylist(rows, schema=records.SHARD_ROWS), sort_by=["uid"])
    assert saved_uids([path]) == {"u0": "http://x/0.jpg"}
