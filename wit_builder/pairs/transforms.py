"""Extraction on Beam: archives and pages to unique pairs, through sorted runs on disk."""

from __future__ import annotations

from collections import Counter
from typing import Any

import apache_beam as beam
import pyarrow as pa

from wit_builder import files
from wit_builder.outputs import Output
from wit_builder.pairs.extract import Extract
from wit_builder.pairs.inputs import Task
from wit_builder.pairs.spill import SPILLED, merge
from wit_builder.records import PAIRS
from wit_builder.tables import numbered, write_batches
from wit_builder.transforms import Finish, RunTasks, SumUp


class Merge:
    """A `Work`: one partition's runs to one Parquet file of unique pairs, sorted by uid."""

    def __init__(self, output: Output, partitions: int, with_sources: bool) -> None:
        self.output, self.partitions = output, partitions
        self.columns = PAIRS.names + (["text_source"] if with_sources else [])

    def load(self) -> list[str]:
        return files.read_json(files.join(self.output.work, "runs.json"))

    def __call__(self, runs: list[str], partition: int) -> dict[str, int]:
        path = self.output.file(numbered("pairs", partition, self.partitions))
        schema = pa.schema([SPILLED.field(name) for name in self.columns])
        rows = write_batches(path, schema, (table.select(self.columns) for table in merge(runs, partition)))
        return {"pairs": rows}


class ExtractPairs(beam.PTransform):
    """Tasks in; pairs files, report and manifest out."""

    def __init__(self, output: Output, extract: Extract, processes: int) -> None:
        super().__init__()
        self.output, self.extract, self.processes = output, extract, processes

    def expand(self, tasks):
        extracted = (  # {"counts", "drops", "runs", "faults"} of each task
            tasks
            | "Extract" >> RunTasks(self.extract, processes=self.processes, label="extract", size=_bytes, unit="B")
            | "Gather" >> beam.CombineGlobally(_gather)
        )
        written = (
            extracted
            | "List runs" >> beam.FlatMap(_list_runs, self.output, self.extract.partitions)
            | "Merge" >> RunTasks(
                Merge(self.output, self.extract.partitions, self.extract.text_sources != ("alt",)),
                processes=self.processes, label="merge",
            )
            | "Count" >> SumUp()
        )
        return written | Finish(_finish, beam.pvalue.AsSingleton(extracted), self.output)


def _bytes(task: Task) -> int:
    return task.bytes


def _gather(results) -> dict[str, Any]:
    counts, drops, runs, faults = Counter(), Counter(), [], []
    for result in results:
        counts.update(result["counts"])
        drops.update(result["drops"])
        runs += result["runs"]
        faults += [tuple(fault) for fault in result["faults"]]
    return {"counts": dict(counts), "drops": dict(drops), "runs": sorted(runs), "faults": sorted(faults)}


def _list_runs(extracted, output: Output, partitions: int):
    files.write_json(files.join(output.work, "runs.json"), extracted["runs"])
    return range(partitions)


def _finish(written, extracted, output: Output):
    counts = {**extracted["counts"], **written}
    drops = {**extracted["drops"], "duplicate": counts.get("pairs_found", 0) - counts["pairs"]}
    return output.finish(counts, dict(sorted(drops.items())), faults=[list(fault) for fault in extracted["faults"]])
