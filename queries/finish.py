"""The end of a run: choose the list from what was counted, and write it with its report and manifest."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from queries import report, spill
from queries.assemble import Chosen, Cuts, Query, candidates, choose, to_table
from queries.words import read_vocabulary
from wit_builder import files, tables
from wit_builder.errors import UserError
from wit_builder.outputs import Output
from wit_builder.parallel import close_pool


@dataclass(frozen=True)
class Finishing:
    """Writes the outputs from the totals of all steps. Idempotent: the same totals give the same files.

    Attributes:
      partitions: of the spill files of words, bigrams and titles; 0 where the source is absent.
      wordnet: (name, normal form, synsets) of `queries.wordnet.names`.
      views: what --pageviews named, for an error.
    """

    output: Output
    cuts: Cuts
    partitions: Mapping[str, int]
    wordnet: Sequence[tuple[str, str, int]]
    views: str = ""

    def __call__(self, totals: Mapping[str, int]) -> dict:
        if files.exists(self.output.file("manifest.json")):
            return files.read_json(self.output.file("manifest.json"))  # a runner may do this step again
        if self.partitions["title"] and not totals.get("page-view lines"):
            raise UserError("no page views of the project", where=self.views, fix="check --wiki-project and the files' format")
        close_pool()  # the list is made in this process: the workers' memory is of no more use
        words = self._words()
        needed = (self.cuts.size or sum(totals.values())) + len(words)
        bigrams = self._candidates("bigram", report.histogram(totals, "pmi"), lambda step: step / report.PMI_BINS, needed)
        titles = self._candidates("title", report.histogram(totals, "views"), lambda step: 2 ** (step / 4), 2 * needed)
        chosen = choose(
            words,
            candidates(bigrams, keys=True),
            candidates(titles, keys=False),
            [Query(name, key, number, float(number)) for name, key, number in self.wordnet],
            self.cuts,
            have_bigrams=bool(self.partitions["bigram"]),
            have_titles=bool(self.partitions["title"]),
        )
        table = to_table(chosen)
        tables.write_table(self.output.file("queries.parquet"), table)
        shown = table["query"].to_pylist()
        files.write_bytes(self.output.file("queries.txt"), "".join(f"{query}\n" for query in shown).encode())
        # The plain list of strings that MetaCLIP's tools read.
        files.write_bytes(self.output.file("metadata.json"), (json.dumps(shown, ensure_ascii=False) + "\n").encode())
        counts = {name: number for name, number in totals.items() if not name.startswith(("drop: ", "histogram: "))}
        counts |= {f"queries from {source}": len(found) for source, found in chosen.queries.items()} | {"queries": len(shown)}
        drops = {name.removeprefix("drop: "): number for name, number in totals.items() if name.startswith("drop: ")}
        chosen_how = self._how(chosen)
        files.write_bytes(self.output.file("report.html"), report.page(chosen, chosen_how, totals, counts, drops))
        return self.output.finish(counts, drops, chosen=chosen_how)

    def _words(self) -> list[Query]:
        if not self.partitions["word"]:
            return []
        vocabulary = read_vocabulary(self.output.work)
        return [
            Query(word, word, count, float(count)) for word, count in zip(vocabulary["word"].to_pylist(), vocabulary["count"].to_pylist())
        ]

    def _candidates(self, source: str, histogram: Mapping[int, int], edge, needed: int) -> list[pa.Table]:
        """Each partition's candidates, without those that cannot be needed because enough others score higher."""
        floor, found = None, 0
        for step in sorted(histogram, reverse=True):
            floor, found = edge(step), found + histogram[step]
            if found >= needed:
                break
        read = []
        for partition in range(self.partitions[source]):
            table = spill.read_all(files.join(self.output.work, spill.name(f"{source}-candidates", partition)))
            read.append(table if floor is None else table.filter(pc.greater_equal(table["score"], floor)))
        return read

    def _how(self, chosen: Chosen) -> dict:
        """What the manifest says of the cut-offs."""
        size = chosen.size()
        how = {
            "size asked": self.cuts.size,
            "size": size,
            "cut-offs": {
                source: {
                    "score of the last one in": chosen.cuts[source],
                    "queries": len(chosen.queries[source]),
                    "asked for by its share": chosen.asked.get(source),
                    "how": "solved for --size" if source in chosen.asked else "threshold given" if self.partitions[source] else "no input",
                }
                for source in ("bigram", "title")
            },
            "short": chosen.short,
        }
        if self.cuts.size is not None and size < self.cuts.size:
            how["short by"] = self.cuts.size - size
        return how


def summary(manifest: Mapping) -> list[str]:
    """What the user is told at the end, a line each."""
    counts, how = manifest["counts"], manifest["chosen"]
    lines = [
        f"{counts['queries']:,} queries: "
        + ", ".join(f"{counts[f'queries from {source}']:,} {source}" for source in ("unigram", "bigram", "title", "wordnet"))
    ]
    for source, unit in (("bigram", "PMI of at least {:.3f} bits"), ("title", "at least {:,.0f} page views")):
        cut = how["cut-offs"][source]
        if cut["score of the last one in"] is not None:
            lines.append(f"{source}s: {unit.format(cut['score of the last one in'])} ({cut['how']})")
    if "short by" in how:
        lacking = [f"{source}s: {number:,} fewer than their share" for source, number in how["short"].items()]
        lacking += [f"no input for {source}s" for source in ("bigram", "title") if how["cut-offs"][source]["how"] == "no input"]
        reason = "; ".join(lacking) or "the thresholds given leave no more"
        lines.append(f"the list is {how['short by']:,} short of --size {how['size asked']:,}: {reason}")
    return lines


def tell(manifest: Mapping) -> None:
    """Print the summary to standard error."""
    for line in summary(manifest):
        print(line, file=sys.stderr)
