"""Choose at most a cap of pairs for every query: `python -m pipelines.balance_pairs --help`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence

from pipelines.running import Running, parser, run
from wit_builder import files, tables
from wit_builder.balance import cap
from wit_builder.balance.merge import check_queries
from wit_builder.balance.parts import number_of_parts
from wit_builder.balance.transforms import BalancePairs
from wit_builder.errors import UserError
from wit_builder.flags import POSITIVE, SEED, Bounded
from wit_builder.outputs import MANIFEST, Output, describe_inputs, sha256_of
from wit_builder.pairs.natural import ENGLISH
from wit_builder.pairs.table_pairs import EACH, JOINED, TableRules
from wit_builder.pairs.table_rows import Columns, plan
from wit_builder.text import TEXT_VERSION


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser(
        "balance_pairs",
        "Match pairs against the query list, and keep those that some query selects: at most a cap for each query.",
        "python -m pipelines.balance_pairs --pairs pairs --queries queries/queries.parquet --cap 20000 --output balanced",
    )
    made.add_argument("--pairs", nargs="+", default=[], metavar="DIR", help="outputs of extract_pairs; one pair in several is one pair")
    add_table_flags(made)
    made.add_argument("--queries", required=True, metavar="FILE", help="queries.parquet of build_queries")
    made.add_argument("--cap", type=POSITIVE, default=20_000, metavar="N", help="pairs that a query selects at most (default: 20000)")
    made.add_argument("--seed", type=SEED, default=0, metavar="N", help="another seed makes another choice (default: 0)")
    made.add_argument("--method", choices=cap.METHODS, default="cap", help="exact cap, or MetaCLIP's sampling (default: cap)")
    made.add_argument("--output", required=True, metavar="DIR", help="folder for balanced-pairs-*.parquet, query counts and report")
    running = Running(made, arguments)
    flags = running.flags
    if not flags.pairs and not flags.tables:
        raise UserError("there are no pairs", where="--pairs, --tables", fix="give one of them, or both")
    rules, listed = rules_of(flags), list_tables(flags.tables)
    tasks, table_rows = plan(listed, rules.columns) if rules else ([], 0)
    sources = [(folder, path) for folder in sorted(set(flags.pairs)) for path in tables.find(folder, "pairs")]
    paths = [path for _, path in sources]
    check_queries(flags.queries)
    output = Output(
        flags.output,
        "balance_pairs",
        {"cap": flags.cap, "seed": flags.seed, "method": flags.method, "text_version": TEXT_VERSION}
        | ({"tables": json.loads(json.dumps(dataclasses.asdict(rules)))} if rules else {}),
        {
            "pairs": [entry for folder, path in sources for entry in describe_inputs([path], folder)],
            "queries_sha256": sha256_of(flags.queries),
        }
        | ({"tables": [{"name": name, "bytes": files.size(path)} for path, name in listed]} if rules else {}),
    )
    per_row = len(rules.columns.texts) if rules and rules.texts == EACH else 1
    parts = number_of_parts(sum(tables.count_rows(path) for path in paths) + per_row * table_rows)
    if not output.begin(running.record()):
        print(f"{output.path} is whole already", file=sys.stderr)
        return 0
    with running.pipeline() as pipeline:
        _ = pipeline | BalancePairs(paths, flags.queries, output, parts, tables=tasks, rules=rules, processes=running.processes)
    _tell(output)
    return 0


def _tell(output: Output) -> None:
    counts = files.read_json(output.file(MANIFEST))["counts"]
    kept = f"{counts['balanced pairs']:,} of {counts['pairs']:,} pairs"
    queries = f"{counts['queries that match']:,} of {counts['queries']:,} queries match, {counts['queries over the cap']:,} over the cap"
    print(f"{kept}; {queries}: {output.path}", file=sys.stderr)


def add_table_flags(made: argparse.ArgumentParser) -> None:
    """Flags of pairs that come from other tables."""
    some = made.add_argument_group("pairs from other tables")
    some.add_argument("--tables", nargs="+", default=[], metavar="PATTERN", help="Parquet, CSV or TSV files, also .gz, .bz2, .xz")
    some.add_argument("--url-column", default="url", metavar="NAME", help="default: url")
    some.add_argument("--text-columns", nargs="+", default=["text"], metavar="NAME", help="one or more, such as title description")
    some.add_argument("--page-column", default="", metavar="NAME", help="URL of the page, kept as page_url")
    some.add_argument("--column-names", nargs="+", default=[], metavar="NAME", help="of all columns, for files without a line of names")
    some.add_argument("--texts", default=JOINED, choices=[JOINED, EACH], help="one pair of a row's texts, or one each (default: joined)")
    some.add_argument("--url-encoded", action="store_true", help="texts are percent-encoded, as YFCC100M's")
    some.add_argument("--drop-file-names", action="store_true", help="drop texts like IMG_0123.JPG, and camera settings")
    some.add_argument(
        "--english", type=Bounded(float, 0, 1), nargs="?", const=ENGLISH, default=0.0, metavar="X",
        help=f"drop texts whose English score is below this share of the best language's (without X: {ENGLISH})",
    )  # fmt: skip


def rules_of(flags: argparse.Namespace) -> TableRules | None:
    """What the flags say of tables; None where there are none. Raises UserError where they make no sense."""
    columns = Columns(flags.url_column, tuple(flags.text_columns), flags.page_column, tuple(flags.column_names))
    rules = TableRules(columns, flags.texts, flags.url_encoded, flags.drop_file_names, flags.english)
    if not flags.tables:
        if rules != TableRules(Columns("url", ("text",))):
            raise UserError("flags of tables without a table", where="--tables", fix="give it, or leave the others out")
        return None
    if len(set(columns.texts)) < len(columns.texts):
        raise UserError("a column is there twice", where="--text-columns")
    for name in columns.wanted if columns.names else []:
        if columns.names.count(name) != 1:
            raise UserError(f"{name} is not one of them", where="--column-names", fix="--url-column and --text-columns must be among them")
    return rules


def list_tables(patterns: Sequence[str]) -> list[tuple[str, str]]:
    """Path, and name below its pattern's root, of every table, each once. Raises UserError where a pattern names nothing."""
    names: dict[str, str] = {}
    for pattern in sorted(set(patterns)):
        for path in files.match_all([pattern], what="table"):
            names.setdefault(path, files.relative_name(path, files.input_root(pattern)))
    return sorted(names.items(), key=lambda item: (item[1], item[0]))


if __name__ == "__main__":
    run(main)
