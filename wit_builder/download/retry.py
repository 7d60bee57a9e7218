"""Trying again what failed for a transient reason: the shard is made anew beside itself, then moved into place.

A shard made again must not be lost when the run is killed. So the new one is finished in the work folder first, and a
run that finds a finished one there moves what is left of it into place before anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wit_builder import files
from wit_builder.download.reasons import is_transient
from wit_builder.records import SHARD_ROWS
from wit_builder.shards import SUCCESS, ShardPaths, ShardRow, read_samples, shard_paths
from wit_builder.tables import read_table

_STAGING = "retry"


def staging(work: str) -> str:
    """Folder under the work folder where shards are made again."""
    return files.join(work, _STAGING)


def worth_retrying(stats: Mapping[str, Any]) -> bool:
    """Whether a shard holds a pair that failed for a transient reason."""
    return any(is_transient(reason) for reason in stats.get("status_dict", {}))


def stored_rows(shard: ShardPaths) -> Iterator[ShardRow]:
    """Rows of a whole shard in order, each with its image where it was saved."""
    samples = read_samples(shard)
    for row in read_table(shard.parquet).to_pylist():
        for name in ("key", "tar_offset", "tar_size"):
            del row[name]
        more = {name: row.pop(name) for name in list(row) if name not in SHARD_ROWS.names}
        stored = ShardRow(text=row.pop("caption"), more=more, **row)
        if stored.status == SUCCESS:
            sample = next(samples)
            stored.image, stored.exif = sample.image, sample.metadata.get("exif")
        yield stored


def move_into_place(work: str, folder: str) -> None:
    """Move every shard that was finished in the staging folder into place, and drop what was not finished."""
    for path in files.match(files.join(staging(work), "*_stats.json")):
        number = int(path.replace("\\", "/").rsplit("/", 1)[-1].removesuffix("_stats.json"))
        move_shard(work, folder, number)
    files.remove(staging(work))


def move_shard(work: str, folder: str, number: int) -> None:
    """Move one finished shard's files into place, the statistics last; some may have gone before."""
    made, final = shard_paths(staging(work), number), shard_paths(folder, number)
    for source, target in ((made.tar, final.tar), (made.parquet, final.parquet), (made.stats, final.stats)):
        if files.exists(source):
            files.replace(source, target)
