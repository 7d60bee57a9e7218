"""`trainer compare-objectives`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from trainer.compare import compare
from trainer.config import OBJECTIVES, add_flags, from_flags
from wit_builder.errors import UserError
from wit_builder.evalsets import parse_set_flags
from wit_builder.flags import Bounded


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="trainer compare-objectives",
        description="Train several objectives on the same shards and image tower, and plot zero-shot accuracy against pairs seen.",
        epilog="example:\n  trainer compare-objectives --shards shards/ --model RN50 --eval cifar10=sets/cifar10 --output runs/efficiency",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_flags(parser, without=["eval"])
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=["captioning", "bow-prediction", "bow-contrastive", "clip"])
    parser.add_argument("--eval", required=True, dest="classified", metavar="NAME=DIR", help="the evaluation set to classify")
    parser.add_argument("--template", default="a photo of a {}.", help="the prompt (default: a photo of a {}.)")
    parser.add_argument("--points", type=Bounded(int, 1, 1000), default=8, help="evaluations of each run, evenly spaced (default: 8)")
    flags = parser.parse_args(arguments)
    (opened,) = parse_set_flags([flags.classified])
    if len(opened.class_names) < 2:
        raise UserError("it names fewer than two classes", where=opened.path, fix="give a classification set")
    if "{}" not in flags.template:
        raise UserError("a template has {} where the class goes", where="--template")
    config = from_flags(flags)
    if not config.output or not config.shards:
        raise UserError("trainer compare-objectives needs --shards and --output")
    compare(dataclasses.replace(config, objective="clip"), flags.objectives, opened, flags.template, points=flags.points)
