"""What a data set of so many pairs costs, before anything is run: `python -m pipelines.estimate --help`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict

from pipelines.costs import ASSUMPTIONS, Prices, StageCost, estimate, total
from wit_builder.errors import UserError, exit_with

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or JSON. Raises `UserError` where a number makes no sense."""
    flags = _parser().parse_args(arguments)
    if not flags.pairs >= 1 or math.isinf(flags.pairs):
        raise UserError(f"--pairs must be at least 1, not {flags.pairs:g}")
    if flags.cores is not None and flags.cores < 1:
        raise UserError(f"--cores must be at least 1, not {flags.cores}")
    given = {assumption.name: getattr(flags, assumption.name) for assumption in ASSUMPTIONS}
    for assumption in ASSUMPTIONS:
        _check(assumption.flag, given[assumption.name], share=assumption.is_share, zero=assumption.name == "copies_out")
    prices = Prices(flags.price_core_hour, flags.price_gb_month, flags.price_gb_shuffle, flags.price_gb_egress, flags.months)
    for name, value in asdict(prices).items():
        _check("--months" if name == "months" else f"--price-{name.replace('_', '-')}", value, zero=True)
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


def _check(flag: str, value: float, *, share: bool = False, zero: bool = False) -> None:
    if not (value > 0 or zero and value == 0) or math.isinf(value) or share and value > 1:
        wanted = "above 0 and at most 1" if share else "at least 0" if zero else "above 0"
        raise UserError(f"{flag} must be {wanted}, not {value:g}")


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m pipelines.estimate",
        description="What a data set of so many pairs costs, stage by stage: core-hours, bytes read, shuffled, stored and sent out, and "
        "money for the prices given. An estimate: it multiplies the assumptions below, and each can be set.",
        epilog="example:\n  python -m pipelines.estimate --pairs 400000000 --cores 1000 --price-core-hour 0.04 --price-gb-month 0.02",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--pairs", type=float, default=400e6, metavar="N", help="in the finished data set (default: 400000000, the paper's)")
    made.add_argument("--cores", type=int, metavar="N", help="also say how long each stage takes on so many")
    made.add_argument("--json", action="store_true", help="print JSON, with all assumptions, in bytes and hours")
    add = made.add_argument_group("prices, in any currency (none by default: they differ by place and contract)").add_argument
    add("--price-core-hour", type=float, default=0, metavar="X", help="one core for an hour")
    add("--price-gb-month", type=float, default=0, metavar="X", help="a GB stored for a month")
    add("--price-gb-shuffle", type=float, default=0, metavar="X", help="a GB spilled, kept while the stage runs")
    add("--price-gb-egress", type=float, default=0, metavar="X", help="a GB that leaves the cloud")
    add("--months", type=float, default=1, metavar="X", help="for which outputs are kept (default: 1)")
    add = made.add_argument_group("assumptions").add_argument
    for one in ASSUMPTIONS:
        source = one.source.replace("%", "%%")
        add(one.flag, type=float, default=one.value, metavar="X", help=f"{one.unit} (default: {one.value:.10g}; {source})")
    return made


if __name__ == "__main__":
    exit_with(lambda: main(None))
