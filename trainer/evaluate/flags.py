"""Flags that the evaluation commands share, and what is made of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from trainer.evaluate.encoder import TYPES, Encoder, choose_device, load_encoder
from trainer.evaluate.given_features import GivenFeatures
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet, parse_set_flags
from wit_builder.flags import BATCH, WORKERS
from wit_builder.outputs import Output


def command_parser(name: str, description: str, example: str, *, output: bool = True) -> argparse.ArgumentParser:
    """Parser of `trainer NAME` with `--output`, which some commands can do without."""
    made = argparse.ArgumentParser(
        prog=f"trainer {name}",
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = "folder for the results; must be new, empty, or of the same run"
    made.add_argument("--output", required=output, default="", metavar="DIR", help=what)
    return made


def add_model_flags(
    made: argparse.ArgumentParser, *, many: bool = False, given: bool = False, optional: bool = False, embeds: bool = True
) -> None:
    """Flags that say which model embeds, or which of `many`, and how; with `given`, features from elsewhere may stand in its place.

    Without `embeds` there are no pictures to read and no features to keep.
    """
    what = "what trainer train wrote, or weights with --model"
    if many:
        made.add_argument("--checkpoints", required=True, nargs="+", metavar="FILE", help=what)
    elif given:
        one_of = made.add_mutually_exclusive_group(required=True)
        one_of.add_argument("--checkpoint", default="", metavar="FILE", help=what)
        one_of.add_argument("--features", default="", metavar="PATH", help="in its place: folder with SET.parquet (key, embedding)")
    else:
        made.add_argument("--checkpoint", required=not optional, default="", metavar="FILE", help=what)
    made.add_argument("--model", default="", metavar="NAME", help="sizes, for weights of OpenAI, open_clip or Hugging Face: RN50 …")
    made.add_argument("--tokenizer", default="", metavar="FILE", help="for those: OpenAI's merges, or a tokenizer.json")
    made.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 … (default: a GPU where there is one)")
    made.add_argument("--precision", default="auto", choices=["auto", *TYPES], help="default: bfloat16 on a GPU, float32 on a CPU")
    if not embeds:
        made.add_argument("--batch-size", type=BATCH, default=16, metavar="N", help="pictures made at a time (default: 16)")
        return
    made.add_argument("--batch-size", type=BATCH, default=64, metavar="N", help="images embedded at a time (default: 64)")
    made.add_argument("--threads", type=WORKERS, default=0, metavar="N", help="threads that decode pictures (default: all cores)")
    made.add_argument("--cache", default=default_cache(), metavar="DIR", help="where features and classifiers are kept (%(default)s)")


def add_set_flag(made: argparse.ArgumentParser) -> None:
    """`--eval NAME=DIR …`."""
    made.add_argument("--eval", required=True, nargs="+", action="extend", metavar="NAME=DIR", help="evaluation sets (docs/evaluation.md)")


def add_split_flag(made: argparse.ArgumentParser) -> None:
    """`--split`, by default the test images."""
    made.add_argument("--split", default="test", choices=["train", "validation", "test"], help="default: test")


def default_cache() -> str:
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "webimagetext")


def encoder_of(flags: argparse.Namespace, path: str = "") -> Encoder:
    """The model that the flags name, or another under the same flags. Raises UserError where it cannot be used."""
    return load_encoder(
        path or flags.checkpoint, flags.device, flags.precision, flags.batch_size, model=flags.model, tokenizer=flags.tokenizer
    )


def source_of(flags: argparse.Namespace, sets: list[EvaluationSet]) -> Encoder | GivenFeatures:
    """The model that the flags name, or the features in its place. Raises UserError where they cannot be used."""
    if not flags.features:
        return encoder_of(flags)
    return GivenFeatures.find(flags.features, sets, choose_device(flags.device))


def sets_of(flags: argparse.Namespace) -> list[EvaluationSet]:
    """The evaluation sets that the flags name. Raises UserError where one cannot be opened."""
    return parse_set_flags(flags.eval)


def by_set(values: Sequence[str], flag: str, sets: Sequence[EvaluationSet]) -> dict[str, str]:
    """Values of a repeatable `FLAG NAME=VALUE` by set.

    Raises:
      UserError: where a value is not NAME=VALUE, or names no set.
    """
    names = [opened.name for opened in sets]
    found = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not value or name not in names:
            raise UserError(f"{text!r} is not SET=VALUE with one of the sets {', '.join(names)}", where=flag)
        found[name] = value
    return found


def open_output(
    flags: argparse.Namespace, stage: str, parameters: dict, inputs: dict, encoder: Encoder | GivenFeatures | None = None
) -> Output | None:
    """The output folder, claimed; None where it is whole already, which is said. Raises UserError where it holds something else."""
    if isinstance(encoder, GivenFeatures):
        inputs = {**inputs, "features": encoder.digests}
        parameters = {**parameters, "device": encoder.device.type}
    elif encoder:
        inputs = {**inputs, "checkpoint": encoder.digest}
        parameters = {**parameters, "precision": encoder.precision, "device": encoder.device.type}
    output = Output(flags.output, stage, parameters, inputs)
    if output.begin():
        return output
    print(f"{flags.output} is whole already, made from the same: nothing to do")
    return None
