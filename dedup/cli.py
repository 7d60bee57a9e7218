"""The command line of the near-duplicate detector: `python -m dedup COMMAND --help`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wit_builder.flags import ABOVE_ZERO, AMOUNT, BATCH, NOT_NEGATIVE, PORT, POSITIVE, SEED
from wit_builder.parallel import available_cores

if TYPE_CHECKING:
    from dedup.embedding import Embedder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dedup",
        description="Near-duplicates between training images and evaluation sets: the detector, and the overlap report.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_embed(commands)
    _add_whiten(commands)
    _add_evaluate(commands)
    _add_review(commands)
    _add_report(commands)
    flags = parser.parse_args(arguments)
    return flags.run(flags) or 0


def _command(commands, name: str, help: str, example: str, run) -> argparse.ArgumentParser:
    made = commands.add_parser(
        name,
        help=help,
        description=help,
        epilog=f"example:\n  python -m dedup {name} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.set_defaults(run=run)
    return made


def _add_train(commands) -> None:
    made = _command(
        commands,
        "train",
        "Train a detector on the images of shards, or of any folder. The same command goes on where it was cut off.",
        "--shards shards --size small --recipe strong --minutes 40 --output detector",
        _train,
    )
    source = made.add_mutually_exclusive_group(required=True)
    source.add_argument("--shards", metavar="DIR", help="shards of download_images, or a pattern of tars")
    source.add_argument("--images", metavar="DIR", help="any folder of images")
    made.add_argument("--output", required=True, metavar="DIR", help="gets detector.safetensors, log.jsonl and manifest.json")
    made.add_argument("--size", default="small", help="resnet50 (the paper's), small or tiny (default: small)")
    made.add_argument("--recipe", default="paper", help="augmentations and loss: paper or strong (default: paper)")
    length = made.add_mutually_exclusive_group()
    length.add_argument("--steps", type=POSITIVE, metavar="N", help="optimiser steps; unlike minutes, they give the same detector again")
    length.add_argument("--minutes", type=ABOVE_ZERO, metavar="M", help="time to train for (default: 40)")
    made.add_argument("--batch-size", type=BATCH, default=128, metavar="N", help="images in a step (default: 128; the paper's: 1712)")
    made.add_argument("--learning-rate", type=ABOVE_ZERO, default=2e-3, metavar="X", help="AdamW's, at its peak (default: 0.002)")
    made.add_argument("--weight-decay", type=AMOUNT, default=0.01, metavar="X", help="of the filters' directions (default: 0.01)")
    made.add_argument("--seed", type=SEED, default=0, metavar="N")
    made.add_argument("--pool", type=POSITIVE, default=20_000, metavar="N", help="images held decoded in memory (default: 20000)")
    made.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    made.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="default: what the machine is fast at")
    made.add_argument("--compile", action="store_true", help="torch.compile the network")


def _train(flags: argparse.Namespace) -> None:
    from dedup.train import TrainSettings, train

    values = {name: value for name, value in vars(flags).items() if name not in ("command", "run")}
    if values["steps"] is None and values["minutes"] is None:
        values["minutes"] = 40.0
    manifest = train(TrainSettings(**values, threads=available_cores()))
    counts, calibration = manifest["counts"], manifest["calibration"]
    print(f"{counts['steps']} steps on {counts['images in memory']} images; {flags.output}/detector.safetensors")
    if calibration:
        print(
            f"on {counts['held out']} images kept from training: views find their own image {calibration['accuracy']:.1%}; "
            f"found at the threshold: recompressed {calibration['easy_found']:.1%}, views {calibration['views_found']:.1%}"
        )


def _add_whiten(commands) -> None:
    made = _command(
        commands,
        "whiten",
        "Whiten a detector's embeddings, as SSCD does: a new checkpoint, calibrated anew, that every command takes in the old one's place.",
        "--checkpoint detector/detector.safetensors --shards shards --output detector/whitened.safetensors",
        _whiten,
    )
    made.add_argument("--checkpoint", required=True, metavar="FILE", help="detector.safetensors")
    source = made.add_mutually_exclusive_group(required=True)
    source.add_argument("--shards", metavar="DIR", help="shards that it was trained on, or a pattern of tars")
    source.add_argument("--images", metavar="DIR", help="or the folder of images")
    made.add_argument("--output", required=True, metavar="FILE", help="gets the new checkpoint")
    made.add_argument("--normalise", action="store_true", help="also take from scores what an image has in common with training images")
    made.add_argument("--dimension", type=NOT_NEGATIVE, default=0, metavar="N", help="numbers of an embedding that are kept (default: all)")
    made.add_argument("--count", type=POSITIVE, default=10_000, metavar="N", help="images read, at most (default: 10000)")
    made.add_argument("--seed", type=SEED, default=0, metavar="N", help="that it was trained with: the same images are held out")


def _whiten(flags: argparse.Namespace) -> None:
    from dedup.whiten import whiten

    values = {name: value for name, value in vars(flags).items() if name not in ("command", "run")}
    calibration = whiten(**values, threads=available_cores())
    if calibration:
        print(
            f"images kept from training: views find their own image {calibration['accuracy']:.1%}; "
            f"found at the threshold {calibration['threshold']:.3f}: recompressed {calibration['easy_found']:.1%}, "
            f"views {calibration['views_found']:.1%}"
        )
    print(flags.output)


def _add_report(commands) -> None:
    made = _command(
        commands,
        "report",
        "What the overlap found does to a model's accuracy: one HTML page, CSV and JSON.",
        "--overlaps overlaps --predictions zero-shot --output overlap-report --remove remove.parquet",
        _report,
    )
    made.add_argument("--overlaps", required=True, metavar="DIR", help="output of pipelines.find_overlaps")
    made.add_argument(
        "--predictions", nargs="+", default=[], metavar="PATH", help="of trainer zero-shot, or Parquet of dataset, eval_key, correct"
    )
    made.add_argument("--dataset", default="", metavar="NAME", help="what predictions without a dataset column are of")
    made.add_argument(
        "--threshold", nargs="+", default=[], action="extend", metavar="NAME=X", help="similarity from which a set's hits count"
    )
    made.add_argument("--thresholds", metavar="FILE", help="thresholds.json of a review")
    made.add_argument("--output", required=True, metavar="DIR", help="gets report.html, overlap.csv and overlap.json")
    made.add_argument("--remove", metavar="FILE", help="gets the training uids to leave out, as Parquet")
    made.add_argument("--gallery", type=NOT_NEGATIVE, default=16, metavar="N", help="pairs shown of each set (default: 16)")


def _report(flags: argparse.Namespace) -> None:
    from dedup.overlap import parse_thresholds, read_overlaps, read_predictions, read_thresholds
    from dedup.report import write_report

    overlaps = read_overlaps(flags.overlaps)
    reviewed = read_thresholds(flags.thresholds) if flags.thresholds else None
    thresholds = parse_thresholds(flags.threshold, overlaps, reviewed)
    predictions = read_predictions(flags.predictions, flags.dataset) if flags.predictions else None
    found = write_report(
        overlaps,
        thresholds,
        predictions,
        flags.output,
        inspected=bool(flags.threshold or reviewed),
        remove=flags.remove,
        gallery=flags.gallery,
    )
    for one in found["sets"]:
        gain = "" if one["gain"] is None else f", accuracy All - Clean {100 * one['gain']:+.2f} points"
        share = "no images" if one["contamination"] is None else f"{one['contamination']:.2%} of {one['examples']:,} examples overlap"
        print(f"{one['dataset']}: {share}{gain}")
    for one in found.get("within", []):
        share = "no images" if one["contamination"] is None else f"{one['contamination']:.2%} of {one['examples']:,} examples"
        print(f"{one['dataset']}: {share} have a near-duplicate in its own {one['split']} split")
    print(f"{flags.output}/report.html")


def _add_embed(commands) -> None:
    made = _command(
        commands,
        "embed",
        "Embed any folder of images: Parquet with key (the path under the folder), region (whole) and embedding.",
        "--checkpoint detector/detector.safetensors --images photos --output photos.parquet",
        _embed,
    )
    made.add_argument("--checkpoint", required=True, metavar="FILE", help="detector.safetensors")
    made.add_argument("--images", required=True, metavar="DIR", help="images anywhere under it")
    made.add_argument("--output", required=True, metavar="FILE", help="Parquet")


def _embed(flags: argparse.Namespace) -> None:
    from dedup.folder import embed_folder

    embedded, skipped = embed_folder(flags.checkpoint, flags.images, flags.output)
    print(f"{embedded} images embedded, {skipped} could not be decoded: {flags.output}")


def _add_evaluate(commands) -> None:
    made = _command(
        commands,
        "evaluate",
        "Plant changed copies of images among distractors, and measure the detector beside perceptual hashes.",
        "--checkpoint detector/detector.safetensors --images photos --output detector-evaluation",
        _evaluate,
    )
    made.add_argument("--checkpoint", required=True, metavar="FILE", help="detector.safetensors")
    add_evaluation_flags(made)


def _evaluate(flags: argparse.Namespace) -> None:
    from dedup.embedding import load

    run_evaluation(flags, load(flags.checkpoint))


def add_evaluation_flags(made: argparse.ArgumentParser) -> None:
    """Flags of planted copies, whatever embeds them."""
    made.add_argument("--images", required=True, metavar="DIR", help="images to plant copies of: none that it was trained on")
    made.add_argument("--distractors", metavar="DIR", help="other images (default: the rest of --images)")
    made.add_argument("--originals", type=POSITIVE, default=200, metavar="N", help="images to plant (default: 200)")
    made.add_argument("--others", type=NOT_NEGATIVE, default=1000, metavar="N", help="distractors, at most (default: 1000)")
    made.add_argument("--output", required=True, metavar="DIR", help="gets evaluation.json and report.html")


def run_evaluation(flags: argparse.Namespace, embedder: Embedder, called: str = "detector") -> None:
    """Plant copies as the flags say, measure, and print a line for each method; see `dedup.evaluate.evaluate`."""
    from dedup.evaluate import evaluate, read_pictures

    found = evaluate(embedder, read_pictures(flags.images, flags.distractors, flags.originals, flags.others), flags.output, called)
    for name, one in found["methods"].items():
        print(f"{name:28} average precision {one['average precision']:.3f}, recall at 99% precision {one['recall at 99% precision']:.3f}")
    print(f"{flags.output}/report.html")


def _add_review(commands) -> None:
    made = _command(
        commands,
        "review",
        "A page on this machine for setting each set's threshold by inspection. Answers are saved at once.",
        "--overlaps overlaps --labels review/labels.jsonl",
        _review,
    )
    made.add_argument("--overlaps", required=True, metavar="DIR", help="output of pipelines.find_overlaps")
    made.add_argument("--labels", required=True, metavar="FILE", help="gets the answers; thresholds.json is written beside it")
    made.add_argument("--per-bin", type=POSITIVE, default=15, metavar="N", help="pairs shown of each bin of similarity (default: 15)")
    made.add_argument("--port", type=PORT, default=0, metavar="N", help="on 127.0.0.1 (default: any that is free)")


def _review(flags: argparse.Namespace) -> None:
    from dedup.overlap import read_overlaps
    from dedup.review_server import Review, make_server

    server, address = make_server(Review(read_overlaps(flags.overlaps), flags.labels, flags.per_bin), flags.port)
    print(f"open {address}\nCtrl-C ends it; the same command goes on", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print(f"answers: {flags.labels}")
    finally:
        server.server_close()
