"""Choose at most a cap of pairs for every query: `python -m pipelines.balance_pairs --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pipelines.running import Running, parser, run
from wit_builder import tables
from wit_builder.balance import cap
from wit_builder.balance.merge import check_queries
from wit_builder.balance.parts import number_of_parts
from wit_builder.balance.transforms import BalancePairs
from wit_builder.errors import UserError
from wit_builder.outputs import Output, describe_inputs, sha256_of
from wit_builder.text import TEXT_VERSION


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser(
        "balance_pairs",
        "Match pairs against the query list, and keep those that some query selects: at most a cap for each query.",
        "python -m pipelines.balance_pairs --pairs pairs --queries queries/queries.parquet --cap 20000 --output balanced",
    )
    made.add_argument("--pairs", required=True, nargs="+", metavar="DIR", help="outputs of extract_pairs; one pair in several is one pair")
    made.add_argument("--queries", required=True, metavar="FILE", help="queries.parquet of build_queries")
    made.add_argument("--cap", type=int, default=20_000, metavar="N", help="pairs that a query selects at most (default: 20000)")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="another seed makes another choice (default: 0)")
    made.add_argument("--method", choices=cap.METHODS, default="cap", help="exact cap, or MetaCLIP's sampling (default: cap)")
    made.add_argument("--output", required=True, metavar="DIR", help="folder for balanced-pairs-*.parquet, query counts and report")
    running = Running(made, arguments)
    flags = running.flags
    if flags.cap < 1:
        raise UserError("the cap must be at least 1", where=f"--cap {flags.cap}")

    sources = [(folder, path) for folder in sorted(set(flags.pairs)) for path in tables.find(folder, "pairs")]
    paths = [path for _, path in sources]
    check_queries(flags.queries)
    output = Output(
        flags.output,
        "balance_pairs",
        {"cap": flags.cap, "seed": flags.seed, "method": flags.method, "text_version": TEXT_VERSION},
        {
            "pairs": [entry for folder, path in sources for entry in describe_inputs([path], folder)],
            "queries_sha256": sha256_of(flags.queries),
        },
    )
    parts = number_of_parts(sum(tables.count_rows(path) for path in paths))
    if not output.begin(running.record()):
        print(f"{output.path} is whole already", file=sys.stderr)
        return 0
    with running.pipeline() as pipeline:
        _ = pipeline | BalancePairs(paths, flags.queries, output, parts, processes=running.processes)
    return 0


if __name__ == "__main__":
    run(main)
