"""Balancing as one transform: passes over the parts of the pool, with small files between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa

from wit_builder import files, tables
from wit_builder.balance import merge, passes, report
from wit_builder.balance.parts import scattered_parts, whole_parts
from wit_builder.outputs import MANIFEST, Output
from wit_builder.pairs.table_pairs import TableRules
from wit_builder.pairs.table_rows import TableTask
from wit_builder.records import QUERY_COUNTS
from wit_builder.transforms import Finish, RunTasks, SumUp, flatten


class BalancePairs(beam.PTransform):
    """Writes balanced pairs, query counts, report and manifest; the manifest is the one element of the result.

    Args:
      sources: Parquet files of pairs.
      tables: other tables, whose rows become pairs.
      rules: how they do.
      queries: path of the query list.
      output: the claimed output folder, with `cap`, `seed` and `method` among its parameters.
      parts: number of parts, and so of files.
      processes: local processes; 0 leaves the spreading to the runner.
    """

    def __init__(
        self,
        sources: Sequence[str],
        queries: str,
        output: Output,
        parts: int,
        *,
        tables: Sequence[TableTask] = (),
        rules: TableRules | None = None,
        processes: int = 0,
    ) -> None:
        super().__init__()
        self.sources, self.queries, self.output, self.parts, self.processes = list(sources), queries, output, parts, processes
        self.tables, self.rules = list(tables), rules

    def expand(self, pipeline):
        folder, parts, queries = self.output.work, self.parts, self.queries
        cap, seed, method = (self.output.parameters[name] for name in ("cap", "seed", "method"))

        listed, read = self._list_parts(pipeline)  # [Part]; {count or drop: number} of each table
        matched = (  # {count or drop: number} of each part
            listed
            | "Prepare the matcher" >> beam.Map(_after(lambda: merge.prepare(queries, folder, seed)))
            | "Parts to match" >> beam.FlatMap(list)
            | "Match" >> self._run(passes.MatchPart(folder), "match")
        )
        limited = (
            matched
            | "All matched" >> beam.combiners.Count.Globally()
            | "Merge counts" >> beam.Map(_after(lambda: merge.merge_counts(folder, parts, method, cap)))
        )
        if method == "cap":
            limited = (
                limited
                | "Parts to search" >> beam.FlatMap(_second, beam.pvalue.AsSingleton(listed))
                | "Search near the cap" >> self._run(passes.FindWindow(folder), "search")
                | "All searched" >> beam.combiners.Count.Globally()
                | "Merge windows" >> beam.Map(_after(lambda: merge.merge_windows(folder, parts, cap)))
            )
        selected = (  # {count or drop: number} of each part
            limited
            | "Parts to select" >> beam.FlatMap(_second, beam.pvalue.AsSingleton(listed))
            | "Select" >> self._run(passes.SelectPart(folder, self.output.path), "select")
        )
        return flatten([matched, selected, *read]) | SumUp() | Finish(finish, queries, self.output, parts)

    def _list_parts(self, pipeline):
        """One element: the list of parts, after pairs that do not lie by part were scattered; and counts of tables, where there are any."""
        folder, parts = self.output.work, self.parts
        whole = None if self.tables else whole_parts(self.sources, parts)
        if whole is not None:
            return pipeline | "Parts" >> beam.Create([whole]), []
        scattered, read = [], []
        if self.sources or not self.tables:
            sources = pipeline | "Files" >> beam.Create(list(enumerate(self.sources)))
            scattered.append(sources | "Scatter" >> self._run(passes.Scatter(folder, parts), "scatter"))
        if self.tables:
            tasks = pipeline | "Tables" >> beam.Create(self.tables)
            work = passes.ScatterTable(folder, parts, self.rules, first=len(self.sources))
            scattered.append(tasks | "Read tables" >> self._run(work, "read tables"))
            read.append(scattered[-1] | "Counts of tables" >> beam.Map(lambda found: found["counts"]))
        listed = (
            tuple(scattered)
            | "All scattered" >> beam.Flatten()
            | "Gather runs" >> beam.combiners.ToList()
            | "Scattered parts" >> beam.Map(lambda found: scattered_parts(sorted(run for each in found for run in each["runs"]), parts))
        )
        return listed, read

    def _run(self, work: Any, label: str) -> RunTasks:
        return RunTasks(work, processes=self.processes, label=label, unit="part")


def _after(action):
    """A function that does something once its input is there, and passes the input on."""

    def act(element):
        action()
        return element

    return act


def _second(_, element):
    return element


def finish(totals: dict[str, int], queries: str, output: Output, parts: int) -> dict[str, Any]:
    """Write query counts and report, then the manifest; returns the manifest."""
    if files.exists(output.file(MANIFEST)):  # a runner that calls again: the spill files are gone
        return files.read_json(output.file(MANIFEST))
    matched, selected, examples = merge.merge_selected(output.work, parts)
    table = tables.read_table(queries, ["query_id", "query", "source"])
    counts = {name: number for name, number in totals.items() if not name.startswith(_DROP)}
    drops = {name.removeprefix(_DROP): number for name, number in totals.items() if name.startswith(_DROP)}
    counts |= report.query_numbers(matched, output.parameters["cap"])
    rows = pa.table([table["query_id"], pa.array(matched), pa.array(selected)], schema=QUERY_COUNTS)
    tables.write_table(output.file("query-counts.parquet"), rows)
    page = report.page(
        table["query"].to_pylist(), table["source"].to_pylist(), matched, selected, output.parameters, counts, drops, examples
    )
    files.write_bytes(output.file("report.html"), page)
    return output.finish(counts, drops)


_DROP = "drop: "
