"""Matching, side by side with the Aho-Corasick automaton of MetaCLIP, in one run and with the same matches.

    python -m benchmarks.match --wikipedia enwiki-sample.xml.bz2 --warc archive-org.warc.gz --wordnet /usr/share/wordnet

The peer (pyahocorasick over space-padded normal forms) runs in a virtual environment of its own, made on the first
run under --environments. Both sides read the same strings, normalise them, and find every query of 500,000; each round
runs one after the other, and the CPU time of the one busy process is what counts, so that a shared machine does
not favour either. `--wordnet` is WordNet's database folder (Debian: wordnet-base).
"""

from __future__ import annotations

import argparse
import bz2
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa

from wit_builder.match import QueryMatcher
from wit_builder.text import tokens

ROOT = Path(__file__).resolve().parent.parent
PEER_PACKAGES = ("pyahocorasick==2.3.1", "numpy", "pyarrow", "unicodedata2==18.0.0")


def sentences_of_wikipedia(path: str) -> list[list[str]]:
    """Tokens of each line of the dump's wikitext: words and their neighbours as they come."""
    with bz2.open(path) as stream:
        texts = [element.text or "" for _, element in ElementTree.iterparse(stream) if element.tag.endswith("}text")]
    return [tokens(line) for text in texts for line in text.splitlines()]


def names_of_wordnet(folder: str) -> list[list[str]]:
    """Tokens of each lemma of WordNet's four index files."""
    names = []
    for part in ("noun", "verb", "adj", "adv"):
        with open(os.path.join(folder, f"index.{part}"), encoding="ascii") as stream:
            names += [tokens(line.split(" ", 1)[0].replace("_", " ")) for line in stream if not line.startswith("  ")]
    return names


def alt_texts_of_warc(path: str) -> list[str]:
    """Every alt text of an archive's pages."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    from resiliparse.parse.html import HTMLTree

    found = []
    with open(path, "rb") as stream:
        for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
            if "html" in (record.http_content_type or ""):
                tree = HTMLTree.parse(record.reader.read().decode("utf-8", "replace"))
                found += [image.getattr("alt") for image in tree.document.get_elements_by_tag_name("img") if image.getattr("alt")]
    return found


def make_queries(sentences: list[list[str]], names: list[list[str]], size: int) -> list[str]:
    """Words, WordNet's names, then word pairs and triples by frequency, until there are enough."""
    words = Counter(itertools.chain.from_iterable(sentences))
    pairs = Counter(pair for line in sentences for pair in zip(line, line[1:]))
    triples = Counter(triple for line in sentences for triple in zip(line, line[1:], line[2:]))
    found = dict.fromkeys(words)
    found.update(dict.fromkeys(" ".join(name) for name in names if name))
    for several in (pairs, triples):
        found.update(dict.fromkeys(" ".join(several_words) for several_words, _ in several.most_common()))
    return list(found)[:size]


def make_texts(sentences: list[list[str]], names: list[list[str]], number: int) -> list[str]:
    """Texts of 5 to 20 words, drawn by frequency from the words of both."""
    words = Counter(itertools.chain.from_iterable(sentences))
    words.update(itertools.chain.from_iterable(names))
    chance = np.random.default_rng(0)
    frequencies = np.array(list(words.values()), np.float64)
    lengths = chance.integers(5, 21, number)
    drawn = iter(np.array(list(words), object)[chance.choice(len(words), lengths.sum(), p=frequencies / frequencies.sum())])
    return [" ".join(itertools.islice(drawn, int(length))) for length in lengths]


def ours(queries: list[str]) -> QueryMatcher:
    """Our matcher, with what it costs to build, save and load it."""
    start = time.process_time()
    matcher = QueryMatcher(queries)
    matcher.match(["compile"])
    print(f"ours: built in {time.process_time() - start:.1f} s, {matcher.nbytes / 1e6:.0f} MB")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "matcher.npz")
        matcher.save(path)
        start = time.perf_counter()
        loaded = QueryMatcher.load(path)
        print(f"ours: {os.path.getsize(path) / 1e6:.0f} MB on disk, loaded in {time.perf_counter() - start:.2f} s")
    return loaded


class Peer:
    """The peer's process: this file run by the peer's own interpreter, a line of JSON in and one out."""

    def __init__(self, environments: str, queries: list[str], texts: dict[str, list[str]]) -> None:
        python = os.path.join(environments, "match", "bin", "python")
        if not os.path.exists(python):
            subprocess.run([sys.executable, "-m", "venv", os.path.join(environments, "match")], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *PEER_PACKAGES], check=True)
        self.process = subprocess.Popen(
            [python, os.path.join(os.path.dirname(__file__), "match_peer.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        built = self.ask({"queries": queries, "texts": texts})
        print(f"pyahocorasick: built in {built['seconds']:.1f} s")

    def ask(self, message: dict) -> dict:
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--wikipedia", required=True)
    made.add_argument("--warc", required=True)
    made.add_argument("--wordnet", default="/usr/share/wordnet")
    made.add_argument("--queries", type=int, default=500_000)
    made.add_argument("--texts", type=int, default=200_000)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--environments", default=".benchmarks", help="where the peer's virtual environment goes")
    flags = made.parse_args()

    sentences, names = sentences_of_wikipedia(flags.wikipedia), names_of_wordnet(flags.wordnet)
    queries = make_queries(sentences, names, flags.queries)
    alts = alt_texts_of_warc(flags.warc)
    texts = {
        "drawn words": make_texts(sentences, names, flags.texts),
        "web-archive alt texts": list(itertools.islice(itertools.cycle(alts), flags.texts)),
    }
    print(f"{len(queries):,} queries, {sum(' ' in query for query in queries):,} of several words")
    matcher = ours(queries)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"ours: process of {megabytes:.0f} MB at most, the benchmark's own lists included")
    peer = Peer(flags.environments, queries, texts)
    for name, batch in texts.items():
        size = sum(len(text.encode()) for text in batch) / len(batch)
        beyond = sum(not text.isascii() for text in batch) / len(batch)
        print(f"{name}: {len(batch):,} texts, {size:.0f} bytes on average, {beyond:.1%} beyond ASCII")
        column = pa.array(batch)
        seconds: dict[str, list[float]] = {"ours, from Arrow": [], "ours, from strings": [], "pyahocorasick": []}
        for _ in range(flags.rounds):
            for label, source in (("ours, from Arrow", column), ("ours, from strings", batch)):
                start = time.process_time()
                found = matcher.match(source)
                seconds[label].append(time.process_time() - start)
            answer = peer.ask({"run": name})
            seconds["pyahocorasick"].append(answer["seconds"])
        theirs = np.load(answer["matches"])
        same = np.array_equal(theirs["texts"], found[0]) and np.array_equal(theirs["queries"], found[1])
        print(f"  {len(found[0]):,} matches, {'the same' if same else 'NOT the same'} on both sides")
        rates = {label: len(batch) / float(np.median(times)) for label, times in seconds.items()}
        for label, rate in rates.items():
            print(f"  {label}: {rate:,.0f} texts/s a core, {rate / rates['pyahocorasick']:.1f} times")
        if not same:
            sys.exit(1)
    peer.process.stdin.close()
    peer.process.wait()


if __name__ == "__main__":
    main()
