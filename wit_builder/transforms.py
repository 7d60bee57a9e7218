"""Transforms that every stage uses: tasks on local processes or on the runner's workers, and the end of an output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
from apache_beam.utils.shared import Shared

from wit_builder.counting import SumCounts, Watch
from wit_builder.parallel import NumberedWork, Work, run_tasks
from wit_builder.progress import progress


class RunTasks(beam.PTransform):
    """Calls a piece of work on every task: on a pool of local processes, or where the runner puts it.

    Tasks and results are small: paths, ranges, counts. What is heavy is loaded by `work.load`, once a process.

    Args:
      work: see `wit_builder.parallel.Work`.
      processes: local processes; 0 leaves the spreading to the runner, as a cluster does.
      label: what the progress line says; no line where empty.
      size: the task's share of the progress line's total, for example its bytes; 1 each where not given.
      unit: what `size` counts.
      show: a count in the results whose sum and rate the progress line shows as well.
    """

    def __init__(
        self,
        work: Work,
        *,
        processes: int = 0,
        label: str = "",
        size: Callable[[Any], float] | None = None,
        unit: str = "task",
        show: str = "",
    ) -> None:
        super().__init__()
        self.work, self.processes = work, processes
        self.progress = label, size, unit, show

    def expand(self, tasks):
        if self.processes < 1:
            return tasks | "Spread" >> beam.Reshuffle() | "Run" >> beam.ParDo(_RunHere(self.work))
        # One element that holds all tasks: the pool, not the runner, decides what runs when.
        return (
            tasks
            | "Gather" >> beam.combiners.ToList()
            | "Run on local processes" >> beam.ParDo(_RunOnPool(self.work, self.processes, *self.progress))
        )


class _RunHere(beam.DoFn):
    """One task an element, the loaded part shared by all threads of the worker."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.shared = Shared()

    def setup(self) -> None:
        self.loaded = self.shared.acquire(lambda: _Box(self.work.load()))

    def process(self, task):
        yield self.work(self.loaded.value, task)


class _Box:
    """`Shared` keeps weak references, which plain lists and None do not allow."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _RunOnPool(beam.DoFn):
    def __init__(self, work, processes, label, size, unit, show) -> None:
        self.work, self.processes, self.label, self.size, self.unit, self.show = work, processes, label, size, unit, show

    def process(self, tasks: list[Any]):
        sizes = {index: self.size(task) if self.size else 1 for index, task in enumerate(tasks)}
        if not tasks:
            return
        with progress(self.label, sum(sizes.values()), self.unit) as line:
            line.disable = line.disable or not self.label
            numbered = NumberedWork(self.work)
            shown = 0
            for index, result in run_tasks(numbered, enumerate(tasks), self.processes if len(tasks) > 1 else 1):
                if self.show and not line.disable:
                    shown += result.get(self.show, 0)
                    seconds = max(line.format_dict["elapsed"], 1e-9)
                    line.set_postfix_str(f"{shown:,} {self.show}, {shown / seconds:,.0f}/s", refresh=False)
                line.update(sizes[index])
                yield result


class SumUp(beam.PTransform):
    """Count mappings in, one mapping of totals out (also where there was none)."""

    def expand(self, counts):
        return counts | "Watch" >> beam.ParDo(Watch()) | "Sum" >> beam.CombineGlobally(SumCounts())


class Finish(beam.PTransform):
    """Calls `finish(totals)` on the one element of totals: reports, manifest, the end of the output folder.

    It runs after everything that its input depends on, on whatever runner, so a job that nobody waits for also ends
    with its manifest. `finish` must be idempotent.
    """

    def __init__(self, finish: Callable[..., Any], *sides: beam.pvalue.AsSideInput) -> None:
        super().__init__()
        self.finish, self.sides = finish, sides

    def expand(self, totals):
        return totals | "Finish" >> beam.Map(self.finish, *self.sides)


def flatten(collections: Iterable[beam.PCollection], pipeline: beam.Pipeline | None = None) -> beam.PCollection:
    """One collection of several, for counts that come from many steps."""
    return tuple(collections) | "Flatten" >> beam.Flatten(pipeline=pipeline)
