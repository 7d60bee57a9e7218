"""What a data set of so many pairs costs, before anything is run: `python -m pipelines.estimate --help`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict

from pipelines.costs import ASSUMPTIONS, Prices, StageCost, estimate, total
from wit_builder.errors import exit_with
from wit_builder.flags import ABOVE_ZERO, AMOUNT, POSITIVE, SHARE, Bounded

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or JSON."""
    flags = _parser().parse_args(arguments)
    given = {assumption.name: getattr(flags, assumption.name) for assumption in ASSUMPTIONS}
    prices = Prices(flags.price_core_hour, flags.price_gb_month, flags.price_gb_shuffle, flags.price_gb_egress, flags.months)
    stages = estimate(flags.pairs, given)
    if flags.json:
        rows = [{**asdict(stage), "money": stage.money(prices) if prices.any else None} for stage in stages]
        print(json.dumps({"pairs": flags.pairs, "assumptions": given, "prices": asdict(prices), "stages": rows}, indent=2))
    else:
        print(table(flags.pairs, stages, prices, flags.cores))
    return 0


def table(pairs: float, stages: Sequence[StageCost], prices: Prices, cores: int | None) -> str:
    """The estimate as aligned text."""
    head = ["stage", "work", "core-hours", "reads", "shuffle", "stores", "egress"]
    head += [f"hours on {cores:,} cores"] if cores is not None else []
    head += ["money"] if prices.any else []
    rows = [head]
    for stage in [*stages, total(stages)]:
        row = [stage.stage, f"{_number(stage.units).removesuffix('.0')} {stage.unit}".strip(" -"), _number(stage.core_hours)]
        row += [_bytes(amount) for amount in (stage.reads, stage.shuffle, stage.stores, stage.egress)]
        row += [_number(stage.core_hours / cores)] if cores is not None else []
        row += [_number(stage.money(prices))] if prices.any else []
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [f"{pairs:,.0f} pairs"]
    for row in rows:
        cells = [cell.ljust(width) if place < 2 else cell.rjust(width) for place, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _number(value: float) -> str:
    """Two significant digits, whole from ten on: an estimate is no better than that."""
    if value == 0:
        return "-"
    digits = 1 - math.floor(math.log10(value))
    rounded = round(value, digits)
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.{max(0, 1 - math.floor(math.log10(rounded)))}f}"


def _bytes(value: float) -> str:
    if value == 0:
        return "-"
    power = min(len(_UNITS) - 1, max(0, math.floor(math.log10(value) / 3)))
    if round(value / 1000**power) == 1000:  # 999.9 MB is 1 GB
        power += 1
    return f"{_number(value / 1000**power)} {_UNITS[power]}"


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m pipelines.estimate",
        description="What a data set of so many pairs costs, stage by stage: core-hours, bytes read, shuffled, stored and sent out, and "
        "money for the prices given. An estimate: it multiplies the assumptions below, and each can be set.",
        epilog="example:\n  python -m pipelines.estimate --pairs 400000000 --cores 1000 --price-core-hour 0.04 --price-gb-month 0.02",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    count = Bounded(float, 1)
    made.add_argument("--pairs", type=count, default=400e6, metavar="N", help="in the finished data set (default: 400000000, the paper's)")
    made.add_argument("--cores", type=POSITIVE, metavar="N", help="also say how long each stage takes on so many")
    made.add_argument("--json", action="store_true", help="print JSON, with all assumptions, in bytes and hours")
    add = made.add_argument_group("prices, in any currency (none by default: they differ by place and contract)").add_argument
    add("--price-core-hour", type=AMOUNT, default=0, metavar="X", help="one core for an hour")
    add("--price-gb-month", type=AMOUNT, default=0, metavar="X", help="a GB stored for a month")
    add("--price-gb-shuffle", type=AMOUNT, default=0, metavar="X", help="a GB spilled, kept while the stage runs")
    add("--price-gb-egress", type=AMOUNT, default=0, metavar="X", help="a GB that leaves the cloud")
    add("--months", type=AMOUNT, default=1, metavar="X", help="for which outputs are kept (default: 1)")
    add = made.add_argument_group("assumptions").add_argument
    for one in ASSUMPTIONS:
        source = one.source.replace("%", "%%")
        kind = SHARE if one.is_share else AMOUNT if one.name == "copies_out" else ABOVE_ZERO
        add(one.flag, type=kind, default=one.value, metavar="X", help=f"{one.unit} (default: {one.value:.10g}; {source})")
    return made


if __name__ == "__main__":
    exit_with(lambda: main(None))
