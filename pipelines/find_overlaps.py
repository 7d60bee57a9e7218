"""`python -m pipelines.find_overlaps`: which evaluation images have near-duplicates among the training images."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam

from dedup import embedding
from dedup.calibrate import loose_for
from dedup.neighbours import FLAT, IVF
from dedup.tasks import EvaluationPart, Search, load_detector, tar_digest
from dedup.transforms import FindOverlaps
from dedup.views import parse_views
from pipelines.running import Running, parser, run
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet, parse_set_flags
from wit_builder.flags import POSITIVE, Bounded
from wit_builder.outputs import Output, describe_inputs
from wit_builder.shards import find_shards, read_stats

PART_BYTES = 16_000_000  # of an evaluation set, for one task
MOST_PARTS = 64  # each task reads the whole split and takes its share
IMAGES_A_FILE = 100_000  # evaluation images of one output file, roughly


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the input, run the search, say what came of it."""
    made = parser(
        "find_overlaps",
        "Find every training image that is a near-duplicate of an evaluation image. Evaluation images are indexed in several "
        "views; training images are embedded shard by shard and stream past.",
        "python -m pipelines.find_overlaps --shards shards --eval cifar10=sets/cifar10 "
        "--detector detector/detector.safetensors --output overlaps",
    )
    made.add_argument("--shards", required=True, metavar="DIR", help="shards of download_images, or a pattern of tars")
    made.add_argument("--eval", required=True, nargs="+", action="extend", metavar="NAME=DIR", help="evaluation sets")
    made.add_argument("--split", default="test", choices=("train", "validation", "test"), help="of the evaluation sets (default: test)")
    embedder = made.add_mutually_exclusive_group(required=True)
    embedder.add_argument("--detector", metavar="FILE", help="detector.safetensors of python -m dedup train")
    embedder.add_argument("--clip", metavar="FILE", help="a checkpoint of trainer train in its place, as a baseline; give --loose with it")
    made.add_argument("--output", required=True, metavar="DIR")
    made.add_argument("--cache", metavar="DIR", help="embeddings and hits, kept from run to run (default: OUTPUT/cache)")
    cosine = Bounded(float, above=-1, most=1)
    made.add_argument("--loose", type=cosine, metavar="X", help="keep hits from this cosine on (default: the detector's for so many)")
    made.add_argument("--max-hits", type=POSITIVE, default=100, metavar="N", help="hits kept of each evaluation image (default: 100)")
    made.add_argument("--views", default="all", help="of evaluation images: all, none, or some of flip,crop75,crop50,shrunk (default: all)")
    made.add_argument("--regions", action="store_true", help="embed parts of training images too: 10 vectors an image, not 1")
    made.add_argument("--index", default=FLAT, choices=(FLAT, IVF), help="exact, or cells for many evaluation images (default: flat)")
    made.add_argument("--probes", type=POSITIVE, default=32, metavar="N", help="cells an ivf search looks into (default: 32)")
    made.add_argument("--within", action="store_true", help="compare the evaluation images with all splits of their own sets too")
    running = Running(made, arguments)
    flags = running.flags

    sets = parse_set_flags(flags.eval)
    shards = find_shards(flags.shards)
    checkpoint, load = flags.detector, embedding.load
    if flags.clip is not None:
        from pipelines.clip_baseline import load_clip  # the trainer takes a second to import

        checkpoint, load = flags.clip, load_clip
    detector = load_detector(checkpoint, load=load)
    images = sum(read_stats(shard).get("successes", 0) for shard in shards)
    loose = flags.loose if flags.loose is not None else loose_for(detector.metadata.get("calibration", {}), images)
    if loose is None:
        raise UserError("the detector has no loose threshold of its own", where=checkpoint, fix="give --loose, for instance 0.5")
    if not -1 < loose <= 1:
        raise UserError(f"--loose must be a cosine above -1 and at most 1, not {loose}")
    views = parse_views(flags.views)

    parts, others, described = [], [], []
    total_bytes = 0
    for one in sorted(sets, key=lambda one: one.name):
        found, divided = _divided(one, flags.split)
        described.append({"dataset": one.name, **found})
        total_bytes += found["bytes"]
        parts += divided
        for split in sorted(one.splits) if flags.within else ():
            found, divided = _divided(one, split)
            described[-1].setdefault("within", {})[split] = found
            others += divided

    parameters = {
        "split": flags.split, "loose": loose, "max_hits": flags.max_hits, "views": list(views), "regions": flags.regions,
        "index": flags.index, "probes": flags.probes if flags.index == IVF else None, "detector": detector.sha256,
    } | {name: True for name in ("within", "clip") if getattr(flags, name)}  # fmt: skip
    inputs = {"shards": [[shard.name, tar_digest(shard)] for shard in shards], "evaluation sets": described}
    output = Output(flags.output, "find_overlaps", parameters, inputs)
    calibration = dict(detector.metadata.get("calibration", {}))
    where = {"shards": files.absolute(flags.shards), "evaluation_sets": {one.name: files.absolute(one.path) for one in sets}}
    if output.begin(running.record() | where):
        settings = Search(
            detector=checkpoint,
            detector_sha256=detector.sha256,
            cache=flags.cache or output.file("cache"),
            views=views,
            regions=flags.regions,
            loose=loose,
            max_hits=flags.max_hits,
            index=flags.index,
            probes=flags.probes,
            load=load,
        )
        transform = FindOverlaps(
            settings,
            parts,
            folder=output.work,
            output=output.path,
            files=max(1, total_bytes // (IMAGES_A_FILE * 20_000)),
            processes=running.processes,
            finish=Ending(output, calibration),
            others=others if flags.within else None,
        )
        with running.pipeline() as pipeline:
            _ = pipeline | beam.Create(shards) | transform
    counts = files.read_json(output.file("manifest.json"))["counts"]
    print(
        f"{counts.get('evaluation images with hits', 0):,} of {counts.get('evaluation images', 0):,} evaluation images have hits "
        f"from {loose:.3f} on among {counts.get('training images', 0):,} training images: {output.path}",
        file=sys.stderr,
    )
    return 0


def _divided(one: EvaluationSet, split: str) -> tuple[dict[str, int], list[EvaluationPart]]:
    """Number and bytes of a split's files, and the split in parts."""
    if split not in one.splits:
        raise UserError(f"no {split} split in {one.name} (it has {', '.join(one.splits)})", where=one.path)
    folder = files.join(one.path, one.splits[split]) if one.splits[split] else one.path
    found = describe_inputs(files.match(files.join(folder, "**")), folder)
    size = sum(entry["bytes"] for entry in found)
    number = min(max(1, -(-size // PART_BYTES)), MOST_PARTS)
    parts = [EvaluationPart(one.name, one.path, split, index, number) for index in range(number)]
    return {"files": len(found), "bytes": size}, parts


class Ending:
    """Writes the manifest from all counts."""

    def __init__(self, output: Output, calibration: Mapping[str, Any]) -> None:
        self.output, self.calibration = output, calibration

    def __call__(self, totals: Mapping[str, int]) -> dict[str, Any]:
        drops = {name.removeprefix("drop "): number for name, number in totals.items() if name.startswith("drop ")}
        counts = {name: number for name, number in totals.items() if not name.startswith("drop ")}
        return self.output.finish(counts, drops, calibration=dict(self.calibration))


if __name__ == "__main__":
    run(main)
