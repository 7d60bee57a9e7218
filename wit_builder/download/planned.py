"""What a plan hands to workers. Apart from the plan, whose tables bring what no worker needs into memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Folders:
    """Where shards go.

    Attributes:
      output: of the shards.
      work: for what must be finished before it replaces a whole shard.
      retry_failed: make whole shards again that hold transient failures.
    """

    output: str
    work: str
    retry_failed: bool = False


@dataclass(frozen=True)
class Planned:
    """One shard: its number, and the file that lists its pairs in order; None for one of an earlier generation."""

    number: int
    pairs: str | None = None
