"""`trainer export`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from trainer.export import FORMATS, check_exportable, export
from trainer.load import load
from trainer.model import build
from trainer.sizes import model_config
from wit_builder.errors import UserError
from wit_builder.flags import SEED


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="trainer export",
        description="Write a trained model, or one with fresh weights, in the form that other code loads.",
        epilog="example:\n  trainer export --checkpoint runs/vit/model.safetensors --format huggingface --output vit-hf",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--checkpoint", metavar="FILE", help="of trainer train")
    parser.add_argument("--model", help="in place of a checkpoint: fresh weights of this model")
    parser.add_argument("--seed", type=SEED, default=0, help="of fresh weights")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--output", required=True, metavar="PATH", help="a folder for huggingface, else a file *.pt or *.safetensors")
    flags = parser.parse_args(arguments)
    if bool(flags.checkpoint) == bool(flags.model):
        raise UserError("give either --checkpoint or --model")
    if not flags.output:
        raise UserError("an empty path", where="--output")
    if flags.checkpoint:
        loaded = load(flags.checkpoint)
        model, tokenizer = loaded.model, loaded.tokenizer
    else:
        check_exportable(model_config(flags.model), flags.format)  # before the weights are drawn
        model, tokenizer = build(model_config(flags.model), flags.seed), None
    export(model, tokenizer, flags.format, flags.output)
    print(f"exported: {flags.output}", file=sys.stderr)
