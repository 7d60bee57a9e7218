"""Words: tokens of the normal form, counted over all articles.

A task reads a part of a dump and leaves three spill files: its words with their counts, its token stream as numbers of
those words (for the bigrams, which are counted once it is known which words are frequent), and its articles' titles.
"""

from __future__ import annotations

import os
import re
from array import array
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from queries import spill
from queries.parts import Part
from queries.titles import title_key
from queries.wikipedia import articles
from queries.wikitext import to_text
from wit_builder import files
from wit_builder.hashing import file_of
from wit_builder.text import tokens

WORDS = pa.schema([("word", pa.string()), ("count", pa.int64())])
_TOKENS = pa.schema([("token", pa.int32())])
TITLES = pa.schema([("title", pa.string())])

PAGE_BREAK = -1  # between the tokens of two articles: no bigram spans it

# Maximal runs that no ASCII separator cuts: the normal form of a text is that of its runs, one after the other, as no
# code point composes with an ASCII separator into a letter. So each distinct run is normalised once.
_RUN = re.compile("[0-9A-Za-z\x80-\U0010ffff]+")


class TokenStream:
    """Texts as one row of token numbers, with the vocabulary that numbers them.

    Every distinct run of characters is brought into normal form once, however often it occurs.
    """

    def __init__(self) -> None:
        self._runs: dict[str, int] = {}
        self._stream = array("i")

    def add(self, text: str) -> None:
        """Append a text's tokens, then a page break."""
        runs = self._runs
        for run in (found := _RUN.findall(text)):
            if run not in runs:
                runs[run] = len(runs)
        self._stream.extend(map(runs.__getitem__, found))
        self._stream.append(PAGE_BREAK)

    def finish(self) -> tuple[list[str], np.ndarray]:
        """Distinct words in code point order, and the stream of their numbers, int32, `PAGE_BREAK` after each text."""
        of_run = [tokens(run) for run in self._runs]
        words = sorted({token for found in of_run for token in found})
        number = {word: index for index, word in enumerate(words)}
        lengths = np.array([len(found) for found in of_run] + [1], np.int64)
        flat = np.array([number[token] for found in of_run for token in found] + [PAGE_BREAK], np.int32)
        starts = np.cumsum(lengths) - lengths
        stream = np.frombuffer(self._stream, np.int32) if self._stream else np.empty(0, np.int32)
        repeats = lengths[stream]  # a page break, -1, picks the last entry
        within = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        return words, flat[np.repeat(starts[stream], repeats) + within]


@dataclass(frozen=True)
class ReadArticles:
    """Work: a part of a dump to spill files of words, tokens and titles. Result: counts."""

    folder: str
    partitions: int

    def load(self) -> None:
        return None

    def __call__(self, _: None, task: tuple[int, Part]) -> dict[str, int]:
        index, part = task
        done = files.join(self.folder, f"part-{index:06d}.json")
        if files.exists(done):  # written last: an interrupted run goes on behind it
            return files.read_json(done)
        counts: Counter = Counter()
        stream, titles = TokenStream(), []
        for title, wikitext in articles(part, counts):
            counts["wikitext characters"] += len(wikitext)
            stream.add(to_text(wikitext))
            titles.append(title)
        words, numbers = stream.finish()
        self._write_words(index, words, numbers)
        keys = [spill.partition_of(title_key(title), self.partitions) for title in titles]
        spill.write(self._path("titles", index), pa.table([titles], TITLES), np.array(keys, np.int64), self.partitions)
        counts["tokens"] = int(np.count_nonzero(numbers != PAGE_BREAK))
        files.write_json(done, dict(counts))
        return dict(counts)

    def _path(self, kind: str, index: int) -> str:
        return files.join(self.folder, spill.name(kind, index))

    def _write_words(self, index: int, words: list[str], numbers: np.ndarray) -> None:
        partition = np.array([spill.partition_of(word, self.partitions) for word in words], np.int64)
        counted = np.bincount(numbers[numbers != PAGE_BREAK], minlength=len(words))
        spill.write(self._path("words", index), pa.table([words, counted], WORDS), partition, self.partitions)
        place = np.empty(len(words) + 1, np.int32)  # of each word in the file just written; the last is the page break
        place[np.argsort(partition, kind="stable")] = np.arange(len(words), dtype=np.int32)
        place[-1] = PAGE_BREAK
        spill.write_batches(self._path("tokens", index), _TOKENS, iter([pa.table([place[numbers]], _TOKENS)]))


def read_tokens(folder: str, index: int) -> tuple[pa.ChunkedArray, np.ndarray]:
    """A part's words, and its tokens as places among them, int32."""
    words = spill.read_all(files.join(folder, spill.name("words", index)))["word"]
    return words, spill.read(files.join(folder, spill.name("tokens", index)), 0)["token"].to_numpy()


def sum_by(table: pa.Table, key: str, number: str) -> pa.Table:
    """Rows of equal `key` made one, `number` added up; sorted by key."""
    summed = table.group_by(key).aggregate([(number, "sum")])
    summed = summed.select([key, f"{number}_sum"]).rename_columns([key, number])
    return summed.cast(pa.schema([table.schema.field(key), table.schema.field(number)])).sort_by(key)


@dataclass(frozen=True)
class MergeWords:
    """Work: one partition of all parts' words to summed counts, and those frequent enough."""

    folder: str
    parts: int
    min_count: int
    count_files: int

    def load(self) -> None:
        return None

    def __call__(self, _: None, partition: int) -> dict[str, int]:
        paths = [files.join(self.folder, spill.name("words", index)) for index in range(self.parts)]
        table = sum_by(spill.gather(paths, partition), "word", "count")
        file = np.array([file_of(word, self.count_files) for word in table["word"].to_pylist()], np.int64)
        spill.write(files.join(self.folder, spill.name("all-words", partition)), table, file, self.count_files)
        frequent = table.filter(pc.greater_equal(table["count"], self.min_count))
        spill.write_batches(files.join(self.folder, spill.name("frequent-words", partition)), WORDS, iter([frequent]))
        result: dict[str, int] = {"distinct words": table.num_rows, "frequent words": frequent.num_rows}
        for octave, number in spill.count_histogram(table["count"].to_numpy()).items():
            result[f"histogram: words {octave}"] = number
        return result


def vocabulary_path(folder: str) -> str:
    return files.join(folder, "vocabulary.arrow")


def write_vocabulary(folder: str, partitions: int) -> None:
    """Gather the frequent words of all partitions in one file, in code point order: their numbers in bigrams."""
    paths = [files.join(folder, spill.name("frequent-words", partition)) for partition in range(partitions)]
    table = spill.gather(paths, 0).sort_by("word")
    spill.write_batches(vocabulary_path(folder), WORDS, iter([table]))


_vocabulary: tuple[Any, pa.Table] | None = None


def read_vocabulary(folder: str) -> pa.Table:
    """Frequent words and their counts, by word; kept in the process, as every task there needs it."""
    global _vocabulary
    path = vocabulary_path(folder)
    key: Any = (path, os.stat(path).st_mtime_ns) if not files.is_remote(path) else path
    if _vocabulary is None or _vocabulary[0] != key:
        _vocabulary = key, spill.read_all(path)
    return _vocabulary[1]


@dataclass(frozen=True)
class WriteCounts:
    """Work: one numbered Parquet file of counts, from every partition's rows for it, sorted by `key`."""

    folder: str
    output: str
    spilled: str  # kind of the spill files
    name: str  # of the numbered files
    key: tuple[str, ...]
    partitions: int
    count_files: int

    def load(self) -> None:
        return None

    def __call__(self, _: None, file: int) -> dict[str, int]:
        from wit_builder import tables

        paths = [files.join(self.folder, spill.name(self.spilled, partition)) for partition in range(self.partitions)]
        table = spill.gather(paths, file)
        tables.write_table(files.join(self.output, tables.numbered(self.name, file, self.count_files)), table, sort_by=self.key)
        return {f"{self.name} rows": table.num_rows}
