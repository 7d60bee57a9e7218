"""`python -m sample_world --output DIR`: makes a world to try the stages on by hand."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from sample_world.world import SCALES, make_world
from wit_builder.errors import exit_with
from wit_builder.flags import SEED, WORKERS
from wit_builder.parallel import available_cores


def main(arguments: Sequence[str] | None = None) -> None:
    """Make a world and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m sample_world", description="Makes a world to try the stages on by hand.")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the world")
    parser.add_argument("--seed", type=SEED, default=0, metavar="N", help="another seed makes another world (default: 0)")
    parser.add_argument("--scale", choices=SCALES, default="demo", help="how large (default: demo)")
    parser.add_argument("--workers", type=WORKERS, metavar="N", help="local processes (default: all cores)")
    flags = parser.parse_args(arguments)
    made = make_world(flags.output, flags.seed, flags.scale, flags.workers or available_cores())
    print(f"{flags.output}: " + ", ".join(f"{number:,} {name}" for name, number in made["counts"].items()))
    print(f"its web, for downloads: python -m sample_world.server --site {os.path.join(flags.output, 'site')}")


if __name__ == "__main__":
    exit_with(main)
