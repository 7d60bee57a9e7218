"""The query list as one Beam transform: small tasks in, spill files between them, one mapping of totals out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from queries.bigrams import CountBigrams, MergeBigrams
from queries.finish import Finishing
from queries.parts import Part
from queries.titles import MergeTitles, ReadViews
from queries.words import MergeWords, ReadArticles, WriteCounts, write_vocabulary
from wit_builder.transforms import Finish, RunTasks, SumUp, flatten

COUNT_FILES = 16  # numbered files of unigram and of bigram counts
_BYTES_A_PARTITION = 64 << 20  # of XML and page views; a partition of it is merged in some tens of megabytes


@dataclass(frozen=True)
class Thresholds:
    """What decides, while counting, which words, bigrams and titles are candidates."""

    min_count: int
    min_bigram_count: int
    min_pmi: float | None
    min_views: int


def partitions_for(parts: Iterable[Part]) -> int:
    """Partitions of the spill files: from the input's size alone."""
    return max(1, math.ceil(sum(part.content_bytes for part in parts) / _BYTES_A_PARTITION))


class BuildQueries(beam.PTransform):
    """From a pipeline to one element, the manifest.

    Args:
      parts: of the dumps; may be empty.
      view_parts: of the page-view files; may be empty.
      partitions: of the spill files, see `partitions_for`.
      processes: local processes, see `RunTasks`.
    """

    def __init__(
        self,
        finishing: Finishing,
        parts: Sequence[Part],
        view_parts: Sequence[Part],
        project: str,
        thresholds: Thresholds,
        partitions: int,
        processes: int,
    ) -> None:
        super().__init__()
        self.finishing, self.parts, self.view_parts, self.project = finishing, parts, view_parts, project
        self.thresholds, self.partitions, self.processes = thresholds, partitions, processes
        self.work = finishing.output.work

    def expand(self, pipeline):
        counts = []
        read = None
        if self.parts:
            read = self._read(pipeline, "articles", self.parts, ReadArticles(self.work, self.partitions), show="articles")
            counts += [read, *self._words_and_bigrams(read)]
        if self.view_parts:
            views = self._read(pipeline, "page views", self.view_parts, ReadViews(self.work, self.partitions, self.project))
            before = [views] if read is None else [views, read]
            merge = MergeTitles(self.work, len(self.parts), len(self.view_parts), self.thresholds.min_views)
            counts += [views, self._run(_after(before, "titles", range(self.partitions)), "Merge titles", merge)]
        if not counts:
            counts = [pipeline | "Nothing counted" >> beam.Create([{}])]
        return flatten(counts) | "Totals" >> SumUp() | "Write the list" >> Finish(self.finishing)

    def _words_and_bigrams(self, read):
        partitions, limits, work = range(self.partitions), self.thresholds, self.work
        merge_words = MergeWords(work, len(self.parts), limits.min_count, COUNT_FILES)
        words = self._run(_after([read], "words", partitions), "Merge words", merge_words)
        write_words = WriteCounts(work, self.finishing.output.path, "all-words", "unigrams", ("word",), self.partitions, COUNT_FILES)
        unigrams = self._run(_after([words], "unigram files", range(COUNT_FILES)), "Write unigrams", write_words)
        vocabulary = _after([words], "vocabulary", [0]) | "Vocabulary" >> beam.Map(_vocabulary, work, self.partitions)
        pairs = self._run(_after([vocabulary], "pairs", range(len(self.parts))), "Count bigrams", CountBigrams(work, self.partitions))
        total = beam.pvalue.AsSingleton(read | "Totals read" >> SumUp())
        merges = _after([pairs], "bigrams", partitions) | "With all tokens" >> beam.Map(lambda task, all_: (task, all_["tokens"]), total)
        merge_bigrams = MergeBigrams(work, len(self.parts), limits.min_bigram_count, limits.min_pmi, COUNT_FILES)
        bigrams = self._run(merges, "Merge bigrams", merge_bigrams)
        write_bigrams = WriteCounts(
            work, self.finishing.output.path, "all-bigrams", "bigrams", ("first", "second"), self.partitions, COUNT_FILES
        )
        written = self._run(_after([bigrams], "bigram files", range(COUNT_FILES)), "Write bigrams", write_bigrams)
        return words, unigrams, pairs, bigrams, written

    def _read(self, pipeline, what: str, parts: Sequence[Part], work, **progress: Any):
        tasks = pipeline | f"Parts of {what}" >> beam.Create(list(enumerate(parts)))
        return tasks | f"Read {what}" >> RunTasks(
            work, processes=self.processes, label=f"read {what}", size=_content_bytes, unit="B", **progress
        )

    def _run(self, tasks, label: str, work):
        # A pool of processes takes seconds to start: little input is merged sooner without one.
        processes = min(self.processes, 1) if self.partitions <= 2 else self.processes
        return tasks | label >> RunTasks(work, processes=processes, label=label.lower())


def _content_bytes(task: tuple[int, Part]) -> int:
    return task[1].content_bytes


def _vocabulary(_: int, work: str, partitions: int) -> dict[str, int]:
    write_vocabulary(work, partitions)
    return {}


def _after(results: Sequence[beam.PCollection], name: str, tasks: Iterable[Any]):
    """The tasks, once all results are there."""
    waited = [beam.pvalue.AsIter(result) for result in results]
    start = results[0].pipeline | f"Before {name}" >> beam.Impulse()
    return start | f"Then {name}" >> beam.FlatMap(lambda _, *results, tasks=tuple(tasks): tasks, *waited)
