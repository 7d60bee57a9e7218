"""Which pairs go into which shard: by rank of uid, a fixed number to a shard, unseen pairs of a grown pool into new shards.

`plan.json` in the output folder lists the generations: the first run, and one more for every pool that was larger than
the one before. What a generation holds follows from its pairs and from the shards before it, so a run that was killed
finds the same plan again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wit_builder import files, tables
from wit_builder.download.planned import Folders, Planned
from wit_builder.download.pool import PLANNED, PairColumns, count_rows, planned_schema, read_pairs
from wit_builder.download.retry import move_into_place
from wit_builder.errors import UserError
from wit_builder.shards import ShardPaths, is_whole, shard_paths

PLAN = "plan.json"

_PARTITION_ROWS = 1_000_000
_MOST_PARTITIONS = 256


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
      shards: all of the folder: those of earlier generations, which are whole, and those of the latest, whole or not.
      counts: of the pairs that were looked at.
    """

    shards: list[Planned]
    counts: dict[str, int]

    @property
    def pairs(self) -> int:
        """Pairs of all shards."""
        return self.counts["pairs_planned"] + self.counts["pairs_in_shards"]


def _partition(uids: Sequence[str], partitions: int) -> list[int]:
    """Partition of each uid; partitions are ranges, in order."""
    return [int(uid[:6], 16) * partitions >> 24 for uid in uids]


class _Spill:
    """Rows spread over files by range of uid."""

    def __init__(self, folder: str, name: str, schema: pa.Schema, partitions: int) -> None:
        self.paths = [files.join(folder, f"{name}-{index:03d}.parquet") for index in range(partitions)]
        self.schema, self.rows = schema, 0

    def fill(self, batches: Iterator[pa.Table]) -> None:
        """Write every batch's rows where they belong."""
        with ExitStack() as stack:
            streams = [stack.enter_context(files.atomic_writer(path)) for path in self.paths]
            writers = [stack.enter_context(pq.ParquetWriter(stream, self.schema)) for stream in streams]
            for batch in batches:
                self.rows += len(batch)
                where = pa.array(_partition(batch["uid"].to_pylist(), len(writers)), pa.int32())
                for index in pc.unique(where).to_pylist():
                    writers[index].write_table(batch.filter(pc.equal(where, index)))


def _shards_before(folder: str, first: int | None) -> list[ShardPaths]:
    """Whole shards numbered below `first` (all where None). What is left of others is removed: it is in no plan."""
    whole = []
    for number in _numbers(folder):
        shard = shard_paths(folder, number)
        if first is not None and number >= first:
            continue
        if is_whole(shard, check_hashes=False):
            whole.append(shard)
        else:
            for path in (shard.stats, shard.parquet, shard.tar):
                files.remove(path)
    return whole


def _numbers(folder: str) -> list[int]:
    """Numbers of all shards of which some file is there."""
    found = set()
    for pattern, suffix in (("*.tar", ".tar"), ("*.parquet", ".parquet"), ("*_stats.json", "_stats.json")):
        for path in files.match(files.join(folder, pattern)):
            stem = path.rsplit("/", 1)[-1].removesuffix(suffix)
            if stem.isdigit() and len(stem) == 5:
                found.add(int(stem))
    return sorted(found)


def make_plan(
    pairs: Sequence[str], inputs: Any, folders: Folders, pairs_per_shard: int, columns: PairColumns = PairColumns()
) -> Plan:
    """Spread the pairs over shards, write each shard's list into the work folder, and note the generation in `plan.json`.

    Args:
      pairs: files of `pool.find_pairs`.
      inputs: what tells this pool from others; a JSON value.
      folders: of the output.
      pairs_per_shard: at most.
      columns: which hold URL and text.

    Raises:
      UserError: where the files lack columns, or the folder holds shards of another pool altogether.
    """
    folder, work = folders.output, folders.work
    move_into_place(work, folder)
    note = files.join(folder, PLAN)
    generations = files.read_json(note)["generations"] if files.exists(note) else []
    if generations and generations[-1]["inputs"] == inputs:
        latest = generations[-1]
        before = _shards_before(folder, latest["first_shard"])
        plan = _spread(pairs, columns, before, latest["first_shard"], work, pairs_per_shard)
        if all(latest[name] == number for name, number in plan.counts.items()):
            return plan
        # A shard of an earlier generation is gone: what it held is unseen again, and goes into new shards.
    before = _shards_before(folder, None)
    ends = [generation["first_shard"] + generation["shards"] for generation in generations]
    first = max([*ends, *(number + 1 for number in _numbers(folder))], default=0)
    plan = _spread(pairs, columns, before, first, work, pairs_per_shard)
    generations.append({"first_shard": first, "shards": len(plan.shards) - len(before), "inputs": inputs, **plan.counts})
    files.write_json(note, {"generations": generations})
    return plan


def is_damaged(folder: str, shards: int) -> bool:
    """Whether a folder that was finished with so many shards has lost some, or holds some that were cut."""
    numbers = _numbers(folder)
    return len(numbers) != shards or not all(is_whole(shard_paths(folder, number), check_hashes=False) for number in numbers)


def _spread(
    pairs: Sequence[str], columns: PairColumns, before: Sequence[ShardPaths], first: int, work: str, pairs_per_shard: int
) -> Plan:
    names = ("pairs_read", "pairs_without_url", "pairs_repeated", "pairs_seen_before", "pairs_planned", "pairs_in_shards")
    counts = dict.fromkeys(names, 0)
    schema = planned_schema(pairs, columns)
    partitions = min(_MOST_PARTITIONS, max(1, math.ceil(sum(map(count_rows, pairs)) / _PARTITION_ROWS)))

    def rows() -> Iterator[pa.Table]:
        for path in pairs:
            for table, without in read_pairs(path, columns, schema):
                counts["pairs_read"] += len(table) + without
                counts["pairs_without_url"] += without
                yield table

    spilled = _Spill(work, "pairs", schema, partitions)
    spilled.fill(rows())
    seen = _Spill(work, "seen", pa.schema([PLANNED.field("uid")]), partitions)
    seen.fill(tables.read_table(shard.parquet, ["uid"]) for shard in before)

    counts["pairs_in_shards"] = seen.rows

    shards: list[Planned] = []
    carried = schema.empty_table()

    def cut(table: pa.Table) -> None:
        shard = Planned(first + len(shards), files.join(work, f"{first + len(shards):05d}.parquet"))
        tables.write_table(shard.pairs, table)
        shards.append(shard)
        counts["pairs_planned"] += len(table)

    for pairs_path, seen_path in zip(spilled.paths, seen.paths):
        table = tables.read_table(pairs_path).sort_by([("uid", "ascending"), ("url", "ascending"), ("text", "ascending")])
        uids = table["uid"].combine_chunks()
        repeated = pc.equal(uids[1:], uids[:-1])
        fresh = table.filter(pa.concat_arrays([pa.array([True] * min(1, len(uids)), pa.bool_()), pc.invert(repeated)]))
        counts["pairs_repeated"] += len(table) - len(fresh)
        known = tables.read_table(seen_path)["uid"]
        unseen = fresh.filter(pc.invert(pc.is_in(fresh["uid"], value_set=known.combine_chunks())))
        counts["pairs_seen_before"] += len(fresh) - len(unseen)
        carried = pa.concat_tables([carried, unseen])
        while len(carried) >= pairs_per_shard:
            cut(carried.slice(0, pairs_per_shard))
            carried = carried.slice(pairs_per_shard)
        files.remove(pairs_path)
        files.remove(seen_path)
    if len(carried):
        cut(carried)
    if seen.rows and not counts["pairs_seen_before"]:
        files.remove(work)
        raise UserError(
            f"the shards of this folder hold {seen.rows:,} pairs, none of which is in the pool given",
            where=before[0].tar.rsplit("/", 1)[0],
            fix="a folder can grow with its pool; give another --output for another pool",
        )
    earlier = [Planned(int(shard.name)) for shard in before]
    return Plan(earlier + shards, counts)
