"""`trainer train`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from trainer.config import add_flags, from_flags
from trainer.train import train


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="trainer train",
        description="Train CLIP, or one of the paper's other objectives, on tar shards of images with texts.",
        epilog="example:\n  trainer train --shards shards/ --model ViT-B/32 --batch-size 4096 --output runs/vit\n"
        "  torchrun --nproc-per-node 8 -m trainer train --shards shards/ --output runs/rn50",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_flags(parser)
    parser.add_argument("--resume", default="", choices=["auto"], help="go on from the newest checkpoint in --output, if there is one")
    parser.add_argument("--dry-run", action="store_true", help="print parameters, FLOPs, memory and steps, and stop")
    flags = parser.parse_args(arguments)
    train(from_flags(flags), resume=flags.resume, dry_run=flags.dry_run)
