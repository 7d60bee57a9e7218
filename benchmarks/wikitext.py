"""Wikitext to text: `queries.wikitext` beside mwparserfromhell's `parse(text).strip_code()`, in one run.

    python -m benchmarks.wikitext --wikipedia enwiki-sample.xml.bz2

The peer runs in a virtual environment of its own, made on the first run under --environments. Both sides get the same
articles, alternating; CPU time of the one busy process counts, and the ratio is of medians. Then the words of both
texts are counted in the project's normal form: agreement is the share of all token occurrences that the two counts
have in common.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from queries import parts, wikipedia
from queries.wikitext import to_text
from wit_builder.text import tokens

PEER = "mwparserfromhell==0.7.2"
PEER_CODE = """
import json, sys, time
import mwparserfromhell
pages = json.load(open(sys.argv[1]))
start = time.process_time()
texts = [mwparserfromhell.parse(page).strip_code() for page in pages]
json.dump({"seconds": time.process_time() - start, "texts": texts}, open(sys.argv[2], "w"))
"""


def peer_python(folder: Path) -> str:
    """Python of an environment that holds the peer."""
    python = folder / "wikitext" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "wikitext")], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", PEER], check=True)
    return str(python)


def agreement(ours: Counter, theirs: Counter) -> tuple[float, list[str]]:
    """Share of token occurrences in common, and words with 100 or more occurrences in one and none in the other."""
    missing = [word for a, b in ((ours, theirs), (theirs, ours)) for word, count in a.items() if count >= 100 and word not in b]
    return (ours & theirs).total() / max(ours.total(), theirs.total()), missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wikipedia", required=True, metavar="FILE", help="a pages-articles dump, not too large")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--environments", default=os.path.join(tempfile.gettempdir(), "peers"), help="where the peer's environment is")
    given = parser.parse_args()
    dump: Counter = Counter()
    pages = [text for part in parts.plan(given.wikipedia, 1 << 40) for _, text in wikipedia.articles(part, dump)]
    megabytes = sum(len(page.encode()) for page in pages) / 1e6
    python = peer_python(Path(given.environments))
    ours_seconds, peer_seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = os.path.join(folder, "pages.json"), os.path.join(folder, "texts.json")
        Path(asked).write_text(json.dumps(pages))
        for _ in range(given.rounds):
            start = time.process_time()
            ours = [to_text(page) for page in pages]
            ours_seconds.append(time.process_time() - start)
            subprocess.run([python, "-c", PEER_CODE, asked, answered], check=True)
            answer = json.loads(Path(answered).read_text())
            peer_seconds.append(answer["seconds"])
    ours_speed, peer_speed = (megabytes / statistics.median(seconds) for seconds in (ours_seconds, peer_seconds))
    print(f"{len(pages)} articles, {megabytes:.1f} MB of wikitext, {given.rounds} rounds")
    print(f"queries.wikitext {ours_speed:.2f} MB a CPU second, mwparserfromhell {peer_speed:.2f}: {ours_speed / peer_speed:.1f} times")
    counts = [Counter(token for text in texts for token in tokens(text)) for texts in (ours, answer["texts"])]
    share, missing = agreement(*counts)
    print(f"tokens {counts[0].total():,} and {counts[1].total():,}; in common {share:.2%}; frequent words missing on a side: {missing}")


if __name__ == "__main__":
    main()
