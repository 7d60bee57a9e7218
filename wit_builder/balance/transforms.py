"""Balancing as one transform: three passes over the parts of the pool, with small files between them."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from wit_builder import tables
from wit_builder.balance import passes, report
from wit_builder.balance.parts import Part
from wit_builder.outputs import Output
from wit_builder.records import QUERY_COUNTS
from wit_builder.transforms import Finish, RunTasks, SumUp, flatten


class BalancePairs(beam.PTransform):
    """Parts of the pool in; writes balanced pairs, query counts, report and manifest; the manifest is the result.

    Args:
      queries: path of the query list.
      output: the claimed output folder, with `cap`, `seed` and `method` among its parameters.
      processes: local processes; 0 leaves the spreading to the runner.
    """

    def __init__(self, queries: str, output: Output, parts: list[Part], *, processes: int = 0) -> None:
        super().__init__()
        self.queries, self.output, self.parts, self.processes = queries, output, parts, processes

    def expand(self, pipeline):
        folder, number, parts = self.output.work, len(self.parts), self.parts
        cap, method = self.output.parameters["cap"], self.output.parameters["method"]
        queries, seed = self.queries, self.output.parameters["seed"]

        ready = pipeline | "Start" >> beam.Create([None]) | "Prepare matcher" >> beam.Map(lambda _: passes.prepare(queries, folder, seed))
        matched = ready | "Parts to match" >> beam.FlatMap(lambda _: parts) | "Match" >> self._run(passes.MatchPart(folder), "match")
        counted = (
            matched
            | "All matched" >> beam.combiners.Count.Globally()
            | "Merge counts" >> beam.Map(lambda _: passes.merge_counts(folder, number, method, cap))
        )
        if method == "cap":
            near = counted | "Parts to search" >> beam.FlatMap(lambda _: parts) | "Windows" >> self._run(passes.FindWindows(folder), "hash")
            limited = (
                near
                | "All searched" >> beam.combiners.Count.Globally()
                | "Merge windows" >> beam.Map(lambda _: passes.merge_windows(folder, number, cap))
            )
        else:
            limited = counted
        selected = (
            limited
            | "Parts to select" >> beam.FlatMap(lambda _: parts)
            | "Select" >> self._run(passes.SelectPart(folder, self.output.path), "select")
        )
        return flatten([matched, selected]) | SumUp() | Finish(lambda totals: finish(totals, queries, self.output, number))

    def _run(self, work: Any, label: str) -> RunTasks:
        return RunTasks(work, processes=self.processes, label=label, unit="part")


def finish(totals: dict[str, int], queries: str, output: Output, number_of_parts: int) -> dict[str, Any]:
    """Write query counts and report, then the manifest; returns the manifest."""
    table = tables.read_table(queries, ["query_id", "query", "source"])
    cap = output.parameters["cap"]
    matched = passes.read_arrays(f"{output.work}/limits.npz")["matched"]
    selected, examples = passes.merge_selected(output.work, number_of_parts, len(matched))
    rows = pa.table([table["query_id"], pa.array(matched), pa.array(selected)], schema=QUERY_COUNTS)
    tables.write_table(output.file("query-counts.parquet"), rows)
    counts, drops = passes.totals_of([totals])
    counts |= {
        "queries": len(matched),
        "queries that match": int(np.count_nonzero(matched)),
        "queries over the cap": int(np.count_nonzero(matched > cap)),
    }
    page = report.page(
        table["query"].to_pylist(), table["source"].to_pylist(), matched, selected, cap, counts, drops, examples,
        passes.top_queries(matched),
    )
    from wit_builder import files

    files.write_bytes(output.file("report.html"), page)
    return output.finish(counts, drops)
