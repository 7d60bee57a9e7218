"""Extraction as one transform: tasks to sorted runs on disk, runs to files of unique pairs, with small counts between."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from wit_builder import files
from wit_builder.outputs import Output
from wit_builder.pairs import report
from wit_builder.pairs.extract import Extract
from wit_builder.pairs.inputs import Task
from wit_builder.pairs.merge import Merge
from wit_builder.transforms import Finish, RunTasks

MAX_FAULTS = 1000  # places that the manifest lists; the rest is only counted
_TOLD = 10  # places that the user is told of at once


class ExtractPairs(beam.PTransform):
    """Tasks in; writes pairs, report and manifest; the manifest is the result.

    Args:
      output: the claimed output folder.
      extract: what to do with a task.
      processes: local processes; 0 leaves the spreading to the runner.
    """

    def __init__(self, output: Output, extract: Extract, *, processes: int = 0) -> None:
        super().__init__()
        self.output, self.extract, self.processes = output, extract, processes

    def expand(self, tasks):
        output, partitions = self.output, self.extract.partitions
        runs_file = files.join(output.work, "runs.json")
        merge = Merge(output.path, runs_file, partitions, with_sources=self.extract.text_sources != ("alt",))

        extracted = (  # one {"counts", "drops", "runs", "faults"}
            tasks
            | "Extract" >> RunTasks(self.extract, processes=self.processes, label="extract", size=_bytes_of, unit="B")
            | "Gather" >> beam.CombineGlobally(gather)
        )
        merged = (  # one {"counts", "hosts"}
            extracted
            | "List runs" >> beam.FlatMap(_list_runs, runs_file, partitions)
            | "Merge" >> RunTasks(merge, processes=self.processes, label="merge", unit="file")
            | "Sum up" >> beam.CombineGlobally(add)
        )
        return merged | Finish(finish, beam.pvalue.AsSingleton(extracted), output)


def _bytes_of(task: Task) -> int:
    return task.bytes


def gather(results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Results of tasks as one, whatever their order; associative, as a combiner must be."""
    total: dict[str, Any] = {"counts": Counter(), "drops": Counter(), "runs": [], "faults": []}
    for result in results:
        total["counts"].update(result["counts"])
        total["drops"].update(result["drops"])
        total["runs"] += result["runs"]
        total["faults"] = sorted([*total["faults"], *map(tuple, result["faults"])])[:MAX_FAULTS]
    return total


def add(results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Results of merges as one."""
    total: dict[str, Any] = {"counts": Counter(), "hosts": Counter()}
    for result in results:
        total["counts"].update(result["counts"])
        total["hosts"].update(result["hosts"])
    return total


def _list_runs(extracted: dict[str, Any], runs_file: str, partitions: int) -> Iterator[int]:
    files.write_json(runs_file, sorted(extracted["runs"]))
    yield from range(partitions)


def finish(merged: dict[str, Any], extracted: dict[str, Any], output: Output) -> dict[str, Any]:
    """Write the report, then the manifest; tell the user what was broken. Returns the manifest."""
    counts = {**extracted["counts"], "pairs": merged["counts"]["pairs"]}
    counts = {name: counts[name] for name in sorted(counts) if counts[name] or name in ("pages", "images", "pairs_found", "pairs")}
    drops = {**extracted["drops"], "duplicate": counts["pairs_found"] - counts["pairs"]}
    drops = {name: drops[name] for name in sorted(drops) if drops[name]}
    faults = extracted["faults"]
    files.write_bytes(output.file("report.html"), report.page(counts, drops, merged["hosts"], faults))
    for name, offset, what in faults[:_TOLD]:
        print(f"warning: {name}: {what} at byte {offset}; the rest of the file was kept", file=sys.stderr)
    if len(faults) > _TOLD:
        print(f"warning: more such places are listed in {output.file('manifest.json')}", file=sys.stderr)
    told = [{"file": name, "offset": offset, "what": what} for name, offset, what in faults]
    return output.finish(counts, drops, faults=told)
