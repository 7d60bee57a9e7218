"""The query list from Wikipedia, page views and WordNet: `python -m pipelines.build_queries --help`."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence

from pipelines.running import Running, parser, run
from queries import parts, wikipedia, wordnet
from queries.assemble import Cuts
from queries.finish import Finishing, tell
from queries.transforms import BuildQueries, Thresholds, partitions_for
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.flags import POSITIVE, Bounded
from wit_builder.outputs import MANIFEST, Output, describe_inputs
from wit_builder.text import TEXT_VERSION

DEFAULT_SIZE = 500_000
_PART_BYTES = 16 << 20  # of decompressed XML, about


def flags() -> argparse.ArgumentParser:
    """The command line."""
    made = parser(
        "build_queries",
        "Make the list of search queries: frequent words and bigrams of Wikipedia, titles of much-read articles, WordNet's synsets.",
        "python -m pipelines.build_queries --wikipedia enwiki-latest-pages-articles-multistream.xml.bz2 \\\n"
        "    --pageviews 'pageviews-202604*-user.bz2' --wordnet /usr/share/wordnet --size 500000 --output queries\n"
        "  a small dump: … --size 300 --min-count 5 --min-bigram-count 3 --output queries",
    )
    inputs = made.add_argument_group("inputs (at least one)")
    inputs.add_argument("--wikipedia", nargs="+", default=[], metavar="PATTERN", help="pages-articles dumps, .xml or .xml.bz2")
    inputs.add_argument(
        "--wikipedia-index", nargs="+", default=[], metavar="PATTERN",
        help="index files of multistream dumps; not needed: without them a dump is cut at its bz2 blocks",
    )  # fmt: skip
    inputs.add_argument(
        "--pageviews", nargs="+", default=[], metavar="PATTERN", help="page views: hourly pageviews-*.gz, or pageview_complete *.bz2"
    )
    inputs.add_argument("--wiki-project", default="en.wikipedia", help="whose page views count (default: %(default)s)")
    inputs.add_argument(
        "--wordnet", metavar="DIR",
        help="WordNet's database folder, with data.noun in it; else WNSEARCHDIR, WNHOME, NLTK's corpus and the usual places are tried; "
        "'none' leaves WordNet out",
    )  # fmt: skip
    inputs.add_argument(
        "--wordnet-lemmas", choices=("first", "all"), default="first", help="names of a synset: its first lemma, or each (default: first)"
    )
    made.add_argument(
        "--size", type=POSITIVE, metavar="N",
        help=f"queries wanted, for which the cut-offs of PMI and page views are solved (default: {DEFAULT_SIZE}, unless both "
        "--min-pmi and --min-views are given)",
    )  # fmt: skip
    made.add_argument("--min-count", type=POSITIVE, default=100, metavar="N", help="a word's occurrences, at least (default: %(default)s)")
    made.add_argument("--min-bigram-count", type=POSITIVE, default=20, metavar="N", help="a bigram's, at least (default: %(default)s)")
    made.add_argument("--min-pmi", type=Bounded(float), metavar="BITS", help="a bigram's PMI, at least (default: solved for --size)")
    made.add_argument("--min-views", type=POSITIVE, metavar="N", help="a title's page views, at least (default: solved for --size)")
    made.add_argument("--output", required=True, metavar="DIR", help="folder for queries.parquet and the rest")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit code; raises `UserError` for what the user can mend."""
    running = Running(flags(), arguments)
    given = running.flags
    dumps = files.match_all(given.wikipedia, what="dump") if given.wikipedia else []
    for path in dumps:
        wikipedia.check_dump(path)
    views = files.match_all(given.pageviews, what="page views") if given.pageviews else []
    for path in views:
        parts.check_whole(path)
    names = []
    if given.wordnet != "none":
        _, synsets = wordnet.find(given.wordnet, os.environ)
        names = wordnet.names(synsets, given.wordnet_lemmas == "all")
    if not dumps and not views and not names:
        raise UserError("nothing to make queries from", fix="give --wikipedia, --pageviews or --wordnet")
    size = given.size
    if size is None and (given.min_pmi is None or given.min_views is None):
        size = DEFAULT_SIZE

    output = Output(given.output, "build_queries", _parameters(given, size), _inputs(dumps, views, names))
    if not output.begin(running.record()):
        print(f"{output.path} is whole already: nothing to do", file=sys.stderr)
        tell(files.read_json(output.file(MANIFEST)))
        return 0
    streams = _streams(given.wikipedia_index, dumps)
    dump_parts = [part for path in dumps for part in parts.plan(path, _PART_BYTES, streams.get(path, ()))]
    view_parts = [part for path in views for part in parts.plan(path, _PART_BYTES)]
    partitions = partitions_for(dump_parts + view_parts)
    finishing = Finishing(
        output,
        Cuts(size, given.min_pmi, given.min_views),
        {"word": partitions if dumps else 0, "bigram": partitions if dumps else 0, "title": partitions if views else 0},
        names,
        ", ".join(given.pageviews),
    )
    thresholds = Thresholds(given.min_count, given.min_bigram_count, given.min_pmi, given.min_views or 1)
    with running.pipeline() as pipeline:
        _ = pipeline | "Build queries" >> BuildQueries(
            finishing, dump_parts, view_parts, given.wiki_project, thresholds, partitions, running.processes
        )
    tell(files.read_json(output.file(MANIFEST)))
    return 0


def _streams(patterns: list[str], dumps: list[str]) -> dict[str, list[int]]:
    """Starts of streams by dump, for the index files given. An index bears its dump's name, with `-index` in it."""
    found = {}
    for path in files.match_all(patterns, what="index of a dump") if patterns else []:
        stem = os.path.basename(path).removesuffix(".bz2").removesuffix(".txt").replace("-index", "")
        dump = [dump for dump in dumps if os.path.basename(dump).removesuffix(".bz2").removesuffix(".xml") == stem]
        if not dump:
            raise UserError("no dump given has this index's name", where=path, fix="an index of X.xml.bz2 is called X-index.txt.bz2")
        found[dump[0]] = wikipedia.read_index(path)
    return found


def _parameters(given: argparse.Namespace, size: int | None) -> dict:
    names = ("wiki_project", "wordnet_lemmas", "min_count", "min_bigram_count", "min_pmi", "min_views")
    return {"size": size, "text_version": TEXT_VERSION, **{name: getattr(given, name) for name in names}}


def _inputs(dumps: list[str], views: list[str], names: list[tuple[str, str, int]]) -> dict:
    digest = hashlib.sha256("\n".join(f"{name}\t{number}" for name, _, number in names).encode()).hexdigest()
    return {
        "wikipedia": describe_inputs(dumps),
        "pageviews": describe_inputs(views),
        "wordnet": {"names": len(names), "sha256": digest} if names else None,
    }


if __name__ == "__main__":
    run(main)
