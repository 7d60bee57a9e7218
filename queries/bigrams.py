"""Bigrams: pairs of frequent words that follow each other, and how much more often than by chance.

Pointwise mutual information in bits: PMI = log2(c12 · N / (c1 · c2)), N all tokens (Church and Hanks, 1990; the second
source of the query list in Radford et al., 2021). A pair needs a minimum count: without one a threshold on PMI keeps
only what occurs once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from queries import spill
from queries.words import read_tokens, read_vocabulary
from wit_builder import files
from wit_builder.hashing import file_of

_SPILLED = pa.schema([("pair", pa.int64()), ("count", pa.int32())])
BIGRAMS = pa.schema([("first", pa.string()), ("second", pa.string()), ("count", pa.int64()), ("pmi", pa.float64())])
CANDIDATES = pa.schema([("query", pa.string()), ("count", pa.int64()), ("score", pa.float64())])

PMI_BINS = 4  # a bit


def pmi(pair_counts: np.ndarray, first_counts: np.ndarray, second_counts: np.ndarray, total: int) -> np.ndarray:
    """Pointwise mutual information in bits, float64, of arrays of equal shape; `total` counts all tokens."""
    pair, first, second = (np.asarray(counts, np.float64) for counts in (pair_counts, first_counts, second_counts))
    return np.log2(pair) + np.log2(float(total)) - np.log2(first) - np.log2(second)


def pairs(numbers: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct neighbours and how often each occurs, in a row of word numbers where negative ones take part in none.

    Args:
      numbers: shape [tokens].
      size: of the vocabulary; a pair's number is first · size + second.

    Returns:
      pair numbers int64, rising, and their counts int64, both of shape [distinct pairs].
    """
    first, second = numbers[:-1].astype(np.int64), numbers[1:].astype(np.int64)
    whole = (first >= 0) & (second >= 0)
    return np.unique(first[whole] * size + second[whole], return_counts=True)


def _partition(pair: np.ndarray, partitions: int) -> np.ndarray:
    """Partition of each pair: its bits stirred, so that a frequent first word does not fill one partition."""
    with np.errstate(over="ignore"):
        stirred = pair.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return ((stirred >> np.uint64(32)) % np.uint64(partitions)).astype(np.int64)


@dataclass(frozen=True)
class CountBigrams:
    """Work: one part's token stream to a spill file of its pairs of frequent words."""

    folder: str
    partitions: int

    def load(self) -> None:
        return None

    def __call__(self, _: None, index: int) -> dict[str, int]:
        vocabulary = read_vocabulary(self.folder)["word"]
        words, tokens = read_tokens(self.folder, index)
        frequent = pc.fill_null(pc.index_in(words, vocabulary.combine_chunks()), -1).to_numpy()
        pair, count = pairs(np.append(frequent, -1)[tokens], len(vocabulary))  # a page break, -1, picks the last entry
        table = pa.table([pair, count.astype(np.int32)], _SPILLED)
        spill.write(files.join(self.folder, spill.name("pairs", index)), table, _partition(pair, self.partitions), self.partitions)
        return {}


@dataclass(frozen=True)
class MergeBigrams:
    """Work: one partition of all parts' pairs to bigrams with counts and PMI, and candidates by falling PMI.

    A task is (partition, number of all tokens).
    """

    folder: str
    parts: int
    min_count: int
    min_pmi: float | None
    count_files: int

    def load(self) -> None:
        return None

    def __call__(self, _: None, task: tuple[int, int]) -> dict[str, int]:
        partition, tokens = task
        gathered = spill.gather([files.join(self.folder, spill.name("pairs", index)) for index in range(self.parts)], partition)
        pair, place = np.unique(gathered["pair"].to_numpy(), return_inverse=True)
        count = np.bincount(place, gathered["count"].to_numpy(), minlength=len(pair)).astype(np.int64)
        distinct = len(pair)
        pair, count = pair[count >= self.min_count], count[count >= self.min_count]
        table = self._table(pair, count, tokens)
        file = np.array([file_of(f"{row['first']} {row['second']}", self.count_files) for row in table.to_pylist()], np.int64)
        spill.write(files.join(self.folder, spill.name("all-bigrams", partition)), table, file, self.count_files)
        self._write_candidates(partition, table)
        result = {"distinct bigrams of frequent words": distinct, "bigrams": table.num_rows}
        bins = np.floor(PMI_BINS * table["pmi"].to_numpy()).astype(int)
        for step, number in zip(*np.unique(bins, return_counts=True)):
            result[f"histogram: pmi {step}"] = int(number)
        return result

    def _table(self, pair: np.ndarray, count: np.ndarray, tokens: int) -> pa.Table:
        vocabulary = read_vocabulary(self.folder)
        word, word_count = vocabulary["word"], vocabulary["count"].to_numpy()
        first, second = pair // max(len(word), 1), pair % max(len(word), 1)
        score = pmi(count, word_count[first], word_count[second], tokens)
        return pa.table([word.take(pa.array(first)), word.take(pa.array(second)), count, score], BIGRAMS)

    def _write_candidates(self, partition: int, table: pa.Table) -> None:
        if self.min_pmi is not None:
            table = table.filter(pc.greater_equal(table["pmi"], self.min_pmi))
        query = pc.binary_join_element_wise(table["first"], table["second"], " ")
        candidates = pa.table([query, table["count"], table["pmi"]], CANDIDATES)
        candidates = candidates.sort_by([("score", "descending"), ("query", "ascending")])
        spill.write_batches(files.join(self.folder, spill.name("bigram-candidates", partition)), CANDIDATES, iter([candidates]))
