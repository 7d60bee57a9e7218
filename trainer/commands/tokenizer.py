"""`trainer tokenizer`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from trainer.data import texts
from trainer.index import build_index
from trainer.tokenizer import FEWEST_IDS, load_tokenizer, train_tokenizer
from wit_builder.errors import UserError
from wit_builder.flags import POSITIVE, SEED, Bounded
from wit_builder.parallel import available_cores


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="trainer tokenizer",
        description="Learn a lower-cased byte-level BPE tokenizer from the texts of shards, or convert OpenAI's merges.",
        epilog="example:\n  trainer tokenizer --shards shards/ --output tokenizer.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--shards", nargs="+", metavar="PATTERN", help="folders or patterns of tar shards")
    parser.add_argument("--merges", metavar="FILE", help="in place of shards: a merges file, such as OpenAI's, or a tokenizer.json")
    parser.add_argument("--output", required=True, metavar="FILE", help="tokenizer.json to write")
    parser.add_argument("--vocabulary", type=Bounded(int, FEWEST_IDS, 1 << 20), default=49_408, help="number of ids (default: 49,408)")
    parser.add_argument("--texts", type=POSITIVE, default=1_000_000, help="texts to learn from (default: 1,000,000)")
    parser.add_argument("--seed", type=SEED, default=0, help="chooses the texts where there are more")
    flags = parser.parse_args(arguments)
    if bool(flags.shards) == bool(flags.merges):
        raise UserError("give either --shards or --merges")
    if flags.merges:
        tokenizer = load_tokenizer(flags.merges)
    else:
        index = build_index(flags.shards, processes=available_cores())
        tokenizer = train_tokenizer(texts(index, flags.texts, flags.seed), flags.vocabulary)
    tokenizer.save(flags.output)
    fewer = not flags.merges and tokenizer.vocabulary < flags.vocabulary
    why = f" (no more pairs of symbols occur twice in these texts; {flags.vocabulary:,} asked for)" if fewer else ""
    print(f"{tokenizer.vocabulary:,} ids{why}: {flags.output}", file=sys.stderr)
