"""Balances a made pool with a realistic skew, in bounded memory, and says what the published pool would take.

    python -m benchmarks.balance --pairs 10000000 --folder /tmp/pool

Words follow a Zipf-Mandelbrot law under which, as in MetaCLIP's pool of 1.6 billion pairs, a pair matches some 3.7 queries,
the most frequent query matches some 10% of all pairs, and the few queries over the cap hold nine tenths of all matches
(there 3.5, and 16,000 queries that hold 94%). Words of 3 in 4 ranks are queries; with pairs of words that are neither
frequent nor rare, since queries of two words are chosen by mutual information, there are 500,000. The pool lies as extract_pairs leaves
it (or by no rule with --scattered), but its uids are drawn, not hashed. The command runs as its user runs it; memory is the
sum over its processes, sampled; the rate is given by the clock and by CPU time, which a shared machine changes less.
For `--method probabilistic` the number of pairs kept is compared with its expectation, the sum of 1 - prod(1 - p).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wit_builder import tables
from wit_builder.match import QueryMatcher
from wit_builder.records import PAIRS, QUERIES
from wit_builder.text import tokens

WORDS, SHIFT, EXPONENT = 300_000, 12.0, 1.25
BIGRAM_RANK = 300  # the most frequent word that stands in a query of two words
PUBLISHED_PAIRS, PUBLISHED_MATCHES = 1_600_000_000, 5_670_000_000  # MetaCLIP (Xu et al., 2023)
QUERY_COUNT = 500_000
FILES = 64


def made_words() -> list[str]:
    """Distinct made words, frequent ones short."""
    syllables = [onset + vowel for onset in "bcdfghjklmnprstvwz" for vowel in "aeiou"]
    words = []
    for number in range(WORDS):
        word, rest = syllables[number % len(syllables)], number // len(syllables)
        while rest:
            word, rest = word + syllables[rest % len(syllables)], rest // len(syllables)
        words.append(word)
    return words


def frequencies() -> np.ndarray:
    weights = 1 / (np.arange(1, WORDS + 1) + SHIFT) ** EXPONENT
    return weights / weights.sum()


def write_queries(path: str, words: list[str]) -> None:
    """Three words in four, then pairs of fairly frequent words."""
    single = [word for rank, word in enumerate(words) if rank % 4 != 3]
    side = int(np.sqrt(QUERY_COUNT - len(single))) + 1
    fair = words[BIGRAM_RANK : BIGRAM_RANK + side]
    several = [f"{first} {second}" for first in fair for second in fair][: QUERY_COUNT - len(single)]
    queries = single + several
    sources = ["unigram"] * len(single) + ["bigram"] * len(several)
    counts, scores = np.zeros(len(queries), np.int64), np.zeros(len(queries))
    columns = [range(len(queries)), queries, [tokens(query) for query in queries], sources, counts, scores]
    tables.write_table(path, pa.table([pa.array(column) for column in columns], schema=QUERIES))


def write_file(path: str, number: int, rows: int, words: pa.Array, cumulative: np.ndarray, placed: bool) -> None:
    """One file of pairs with texts of 1 to 9 words."""
    chance = np.random.default_rng([1, number])
    lengths = chance.integers(1, 10, rows)
    drawn = words.take(pa.array(np.searchsorted(cumulative, chance.random(lengths.sum()))))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    texts = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), drawn), " ")
    halves = chance.integers(0, 1 << 64, (rows, 2), np.uint64, endpoint=False)
    if placed:
        halves[:, 0] -= halves[:, 0] % np.uint64(FILES)
        halves[:, 0] += np.uint64(number)
    halves = halves[np.lexsort((halves[:, 1], halves[:, 0]))]
    digits = halves.byteswap().tobytes().hex()
    uids = pa.array([digits[place : place + 32] for place in range(0, rows * 32, 32)])
    urls = pc.binary_join_element_wise("https://images.example/", uids, ".jpg", "")
    pages = pc.binary_join_element_wise("https://pages.example/a/", pc.utf8_slice_codeunits(uids, 0, 12), "")
    table = pa.table([uids, urls, texts, pages, pa.array(["made.warc.gz"] * rows)], schema=PAIRS)
    tables.write_table(path, table)


def make_pool(folder: str, pairs: int, placed: bool) -> None:
    """The pool and its queries, unless they stand there already."""
    done = os.path.join(folder, "pairs", "manifest.json")
    wanted = {"stage": "extract_pairs", "made": {"pairs": pairs, "placed": placed, "law": [WORDS, SHIFT, EXPONENT, BIGRAM_RANK]}}
    if os.path.exists(done):
        with open(done) as stream:
            if json.load(stream) != wanted:
                sys.exit(f"{folder} holds another pool: give another --folder")
        return
    os.makedirs(os.path.join(folder, "pairs"), exist_ok=True)
    words, cumulative = made_words(), np.cumsum(frequencies())
    write_queries(os.path.join(folder, "queries.parquet"), words)
    cumulative[-1] = 1.0
    for number in range(FILES):
        rows = pairs // FILES + (number < pairs % FILES)
        path = os.path.join(folder, "pairs", tables.numbered("pairs", number, FILES))
        write_file(path, number, rows, pa.array(words), cumulative, placed)
    with open(done, "w") as stream:
        json.dump(wanted, stream)


class Watch(threading.Thread):
    """Samples the memory of a process and all below it, and the bytes of a folder of spill files."""

    def __init__(self, process: int, folder: str) -> None:
        super().__init__(daemon=True)
        self.process, self.folder, self.memory, self.one, self.spilled = process, folder, 0, 0, 0

    def run(self) -> None:
        while os.path.exists(f"/proc/{self.process}"):
            parents, sizes = {}, {}
            for name in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{name}/status") as stream:
                        fields = dict(line.split(":", 1) for line in stream)
                    parents[int(name)], sizes[int(name)] = int(fields["PPid"]), int(fields.get("VmRSS", "0 kB").split()[0])
                except OSError:
                    continue
            ours = [self.process]
            for each in ours:
                ours += [child for child, parent in parents.items() if parent == each]
            self.memory = max(self.memory, sum(sizes.get(each, 0) for each in ours))
            self.one = max(self.one, *(sizes.get(each, 0) for each in ours))
            if os.path.isdir(self.folder):
                self.spilled = max(self.spilled, sum(entry.stat().st_size for entry in os.scandir(self.folder) if entry.is_file()))
            time.sleep(1)


def expected_kept(folder: str, matched: np.ndarray, cap: int) -> tuple[float, float]:
    """Mean and standard deviation of the number of pairs that sampling keeps."""
    matcher = QueryMatcher.from_tokens(tables.read_table(os.path.join(folder, "queries.parquet"), ["tokens"])["tokens"].to_pylist())
    passed_over = np.log1p(-np.minimum(1 - 1e-15, cap / np.maximum(matched, cap)))
    mean = variance = 0.0
    for path in tables.find(os.path.join(folder, "pairs"), "pairs"):
        texts, queries = matcher.match(tables.read_table(path, ["text"])["text"])
        kept = 1 - np.exp(np.bincount(texts, weights=passed_over[queries]))
        mean, variance = mean + kept.sum(), variance + (kept * (1 - kept)).sum()
    return mean, variance**0.5


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--pairs", type=int, default=10_000_000)
    made.add_argument("--folder", required=True)
    made.add_argument("--cap", type=int, help="default: 20,000 scaled down as the pool is, so that as many queries are over it")
    made.add_argument("--method", choices=("cap", "probabilistic"), default="cap")
    made.add_argument("--workers", type=int, default=2)
    made.add_argument("--scattered", action="store_true", help="pairs lie by no rule, and are scattered into parts first")
    flags = made.parse_args()
    flags.cap = flags.cap or max(1, 20_000 * flags.pairs // PUBLISHED_PAIRS)

    make_pool(flags.folder, flags.pairs, not flags.scattered)
    output = os.path.join(flags.folder, f"balanced-{flags.method}-{flags.cap}-{flags.workers}")
    if os.path.exists(output):
        sys.exit(f"{output} is there already: delete it to measure again")
    folders = {"--pairs": os.path.join(flags.folder, "pairs"), "--queries": os.path.join(flags.folder, "queries.parquet")}
    options = {**folders, "--output": output, "--cap": flags.cap, "--method": flags.method, "--workers": flags.workers}
    command = [sys.executable, "-m", "pipelines.balance_pairs", *(str(word) for pair in options.items() for word in pair)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(command)
    watch = Watch(process.pid, os.path.join(output, ".work"))
    watch.start()
    if process.wait():
        sys.exit(process.returncode)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    with open(os.path.join(output, "manifest.json")) as stream:
        counts = json.load(stream)["counts"]
    table = tables.read_table(os.path.join(output, "query-counts.parquet"))
    matched, selected = table["matched"].to_numpy(), table["selected"].to_numpy()
    over = matched > flags.cap
    print(f"{counts['pairs']:,} pairs, {counts['matches']:,} matches of {counts['queries']:,} queries")
    print(f"most frequent query: {matched.max() / counts['pairs']:.1%} of all pairs")
    print(f"{over.sum():,} queries over the cap of {flags.cap:,} hold {matched[over].sum() / matched.sum():.1%} of all matches")
    print(f"kept {counts['balanced pairs']:,} pairs, {counts['selections']:,} selections")
    print(f"{seconds:,.0f} s, {counts['pairs'] / seconds:,.0f} pairs/s on {flags.workers} workers; {busy:,.0f} s of CPU time")
    print(f"memory at most {watch.memory / 1024:,.0f} MB in all processes, {watch.one / 1024:,.0f} MB in one")
    print(f"spill files at most {watch.spilled / 1e6:,.0f} MB")
    for name, ratio in (("pairs", PUBLISHED_PAIRS / counts["pairs"]), ("matches", PUBLISHED_MATCHES / counts["matches"])):
        print(f"the published pool, by {name}: {busy * ratio / 3600:,.0f} core hours, {watch.spilled * ratio / 1e9:,.0f} GB of spill files")
    if flags.method == "cap":
        exact = np.array_equal(selected, np.minimum(matched, flags.cap))
        print(f"every query selected min(matches, cap): {'yes' if exact else 'NO'}")
        sys.exit(not exact)
    mean, deviation = expected_kept(flags.folder, matched, flags.cap)
    off = (counts["balanced pairs"] - mean) / deviation
    print(f"expected to keep {mean:,.0f} pairs, deviation {deviation:,.0f}: {off:+.2f} deviations off")
    sys.exit(bool(abs(off) > 5))


if __name__ == "__main__":
    main()
