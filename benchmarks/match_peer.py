"""The peer's side of `benchmarks/match.py`, run by its own interpreter: MetaCLIP's automaton over space-padded texts."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time

import ahocorasick
import numpy as np

from wit_builder.text import normal_form


def main() -> None:
    job = json.loads(sys.stdin.readline())
    start = time.process_time()
    automaton = ahocorasick.Automaton()
    for number, query in enumerate(job["queries"]):
        automaton.add_word(f" {normal_form(query)} ", number)
    automaton.make_automaton()
    print(json.dumps({"seconds": time.process_time() - start}), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            texts = job["texts"][json.loads(line)["run"]]
            start = time.process_time()
            found = [{query for _, query in automaton.iter(f" {normal_form(text)} ")} for text in texts]
            seconds = time.process_time() - start
            path = os.path.join(folder, "matches.npz")
            pairs = [(text, query) for text, queries in enumerate(found) for query in sorted(queries)]
            columns = np.array(pairs, np.int64).reshape(-1, 2)
            np.savez(path, texts=columns[:, 0], queries=columns[:, 1])
            print(json.dumps({"seconds": seconds, "matches": path}), flush=True)


if __name__ == "__main__":
    main()
