"""Columns of the files that stages hand to each other (docs/data-formats.md), as Arrow schemas."""

from __future__ import annotations

import pyarrow as pa

QUERY_SOURCES = ("unigram", "bigram", "title", "wordnet")  # the paper's order

QUERIES = pa.schema([
    ("query_id", pa.int32()),
    ("query", pa.string()),
    ("tokens", pa.list_(pa.string())),
    ("source", pa.string()),
    ("count", pa.int64()),
    ("score", pa.float64()),  # PMI in bits for bigrams, page views for titles
])

PAIRS = pa.schema([
    ("uid", pa.string()),
    ("url", pa.string()),
    ("text", pa.string()),
    ("page_url", pa.string()),
    ("source_file", pa.string()),
])

BALANCED_PAIRS = pa.schema([
    *PAIRS,
    ("query_ids", pa.list_(pa.int32())),  # every query that matches the text
    ("selected_by", pa.list_(pa.int32())),  # those whose cap this pair passed
])

QUERY_COUNTS = pa.schema([
    ("query_id", pa.int32()),
    ("matched", pa.int64()),
    ("selected", pa.int64()),
])

SHARD_ROWS = pa.schema([
    ("url", pa.string()),
    ("caption", pa.string()),
    ("key", pa.string()),
    ("status", pa.string()),
    ("error_message", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("original_width", pa.int32()),
    ("original_height", pa.int32()),
    ("sha256", pa.string()),  # of the bytes as downloaded
    ("uid", pa.string()),
    ("query_ids", pa.list_(pa.int32())),
    ("tar_offset", pa.int64()),  # of the image's payload in the tar, in bytes
    ("tar_size", pa.int64()),
])

def embeddings(dimension: int) -> pa.Schema:
    """Columns of an embeddings file; `key` is a training uid, or an eval_key."""
    return pa.schema([
        ("key", pa.string()),
        ("region", pa.string()),
        ("embedding", pa.list_(pa.float16(), dimension)),
    ])


PREDICTIONS = pa.schema([
    ("dataset", pa.string()),
    ("eval_key", pa.string()),
    ("label", pa.int32()),
    ("predicted", pa.int32()),
    ("correct", pa.bool_()),
])

OVERLAPS = pa.schema([
    ("dataset", pa.string()),
    ("eval_key", pa.string()),
    ("view", pa.string()),
    ("uid", pa.string()),
    ("region", pa.string()),
    ("url", pa.string()),
    ("shard", pa.string()),
    ("key", pa.string()),
    ("similarity", pa.float32()),
])

WITHIN = pa.schema([
    ("dataset", pa.string()),
    ("eval_key", pa.string()),
    ("label", pa.int32()),
    ("view", pa.string()),  # of the evaluation image
    ("split", pa.string()),  # that the other image is of
    ("other_key", pa.string()),  # its eval_key; never the image itself
    ("other_label", pa.int32()),
    ("similarity", pa.float32()),
])
