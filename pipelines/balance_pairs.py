"""Choose at most a cap of pairs for every query: `python -m pipelines.balance_pairs --help`."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.running import Running, parser, run
from wit_builder import tables
from wit_builder.balance import cap
from wit_builder.balance.parts import number_of_parts, whole_parts
from wit_builder.balance.transforms import BalancePairs
from wit_builder.errors import UserError
from wit_builder.outputs import Output, describe_inputs, sha256_of
from wit_builder.text import TEXT_VERSION


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser(
        "balance_pairs",
        "Match pairs against the query list and keep those that some query selects.",
        "python -m pipelines.balance_pairs --pairs pairs --queries queries/queries.parquet --cap 20000 --output balanced",
    )
    made.add_argument("--pairs", required=True, metavar="DIR", help="output of extract_pairs")
    made.add_argument("--queries", required=True, metavar="FILE", help="queries.parquet of build_queries")
    made.add_argument("--cap", type=int, default=20_000, metavar="N", help="pairs that a query selects at most (default: 20000)")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="another seed makes another choice (default: 0)")
    made.add_argument("--method", choices=cap.METHODS, default="cap", help="exact cap, or MetaCLIP's sampling (default: cap)")
    made.add_argument("--output", required=True, metavar="DIR", help="folder to write")
    running = Running(made, arguments)
    flags = running.flags
    if flags.cap < 1:
        raise UserError("the cap must be at least 1", where=f"--cap {flags.cap}")

    sources = tables.find(flags.pairs, "pairs")
    parts = whole_parts(sources, number_of_parts(sum(tables.count_rows(source) for source in sources)))
    output = Output(
        flags.output,
        "balance_pairs",
        {"cap": flags.cap, "seed": flags.seed, "method": flags.method, "text_version": TEXT_VERSION},
        {"pairs": describe_inputs(sources, flags.pairs), "queries_sha256": sha256_of(flags.queries)},
    )
    if not output.begin(running.record()):
        return 0
    with running.pipeline() as pipeline:
        _ = pipeline | BalancePairs(flags.queries, output, parts, processes=running.processes)
    return 0


if __name__ == "__main__":
    run(main)
