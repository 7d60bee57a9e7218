"""The download stage on Beam: a plan, tasks of a few shards each, a summary. No image goes through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apache_beam as beam

from wit_builder.download.plan import Plan
from wit_builder.download.planned import Planned
from wit_builder.download.summary import Summary, add_up
from wit_builder.download.work import DownloadShards
from wit_builder.transforms import RunTasks

_TASKS_PER_PROCESS = 4
_MOST_SHARDS = 8


class AddUp(beam.CombineFn):
    """Sum of summaries, of bounded size."""

    def create_accumulator(self) -> Summary:
        return add_up([])

    def add_input(self, accumulator: Summary, element: Summary) -> Summary:
        return add_up([accumulator, element])

    def merge_accumulators(self, accumulators) -> Summary:
        return add_up(accumulators)

    def extract_output(self, accumulator: Summary) -> Summary:
        return accumulator


def tasks_of(plan: Plan, processes: int) -> list[list[Planned]]:
    """Shards in tasks of a few neighbours, so that a process has the next shard to go on with while one waits for its last hosts."""
    size = max(1, min(_MOST_SHARDS, len(plan.shards) // (_TASKS_PER_PROCESS * processes) if processes else 2))
    return [plan.shards[start : start + size] for start in range(0, len(plan.shards), size)]


class DownloadImages(beam.PTransform):
    """One element in, to start from; one summary of all shards out.

    Args:
      plan: makes the plan; called once, on a worker.
      work: makes the shards of a task.
      processes: local worker processes; 0 leaves the spreading to the runner.
    """

    def __init__(self, plan: Callable[[Any], Plan], work: DownloadShards, processes: int) -> None:
        super().__init__()
        self.plan, self.work, self.processes = plan, work, processes

    def expand(self, start):
        return (
            start
            | "Plan shards" >> beam.Map(self.plan)
            | "Tasks" >> beam.FlatMap(tasks_of, self.processes)  # [Planned, …]
            | "Download" >> RunTasks(self.work, processes=self.processes)  # summary
            | "Add up" >> beam.CombineGlobally(AddUp())
        )
