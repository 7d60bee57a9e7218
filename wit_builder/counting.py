"""Counts that are data of a pipeline: drop reasons and totals travel to the manifest like any other element.

Runner metrics are inflated by retries and recomputation (docs/running-at-scale.md), so they are only for watching.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import apache_beam as beam

NAMESPACE = "webimagetext"


class SumCounts(beam.CombineFn):
    """Adds up mappings from a short fixed name to a number."""

    def create_accumulator(self) -> Counter:
        return Counter()

    def add_input(self, accumulator: Counter, element: Mapping[str, int]) -> Counter:
        accumulator.update(element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Counter]) -> Counter:
        total: Counter = Counter()
        for accumulator in accumulators:
            total.update(accumulator)
        return total

    def extract_output(self, accumulator: Counter) -> dict[str, int]:
        return dict(sorted(accumulator.items()))


class Watch(beam.DoFn):
    """Passes counts on, and shows them as the runner's metrics."""

    def process(self, element: Mapping[str, int]):
        for name, number in element.items():
            beam.metrics.Metrics.counter(NAMESPACE, name).inc(number)
        yield element
