"""`trainer retrieval`: images by text and texts by image (the paper's table 13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.evaluate import flags as shared
from trainer.evaluate.captions import caption_vectors
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.features import Features, extract
from trainer.evaluate.metrics import rate, retrieval_ranks
from wit_builder import files, tables
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet

CUTOFFS = (1, 5, 10)
RANKS = pa.schema([
    ("dataset", pa.string()),
    ("direction", pa.string()),  # text_to_image or image_to_text
    ("eval_key", pa.string()),
    ("caption", pa.string()),  # null for image_to_text
    ("before", pa.int64()),  # wrong ones at or above the right one: 0 is a hit at 1
])


def recalls(before: np.ndarray) -> dict[str, Any]:
    """Recall at 1, 5 and 10 as rates, and the median rank (1 is the best), of wrong ones before the right one, int [n]."""
    found: dict[str, Any] = {f"recall_at_{k}": rate(np.count_nonzero(before < k), len(before)) for k in CUTOFFS}
    return {**found, "median_rank": float(np.median(before) + 1)}


def captioned(opened: EvaluationSet, features: Features) -> Features:
    """Features of the images that have captions; the others join what was skipped. Raises UserError where none has."""
    has_text = pc.greater(pc.list_value_length(features.rows["captions"]), 0).to_numpy()
    if not has_text.any():
        raise UserError(f"no image of {opened.name} has a caption", where=opened.path, fix="add KEY.txt, one caption a line, to the tars")
    return features if has_text.all() else features.select(has_text, "no caption")


def retrieval(
    encoder: Encoder, opened: EvaluationSet, features: Features, cache: str, prefix: str = ""
) -> tuple[dict[str, Any], pa.Table]:
    """Recall both ways between a set's images and all their captions.

    Args:
      encoder: the model.
      opened: the set.
      features: of captioned images.
      cache: where the captions' vectors are kept.
      prefix: put before every caption; the paper uses "a photo of ".

    Returns:
      Metrics, and the rank of each query, rows of RANKS.
    """
    counts = pc.list_value_length(features.rows["captions"]).to_numpy()
    captions = pc.list_flatten(features.rows["captions"])
    owner = np.repeat(np.arange(len(features)), counts)
    texts = caption_vectors(encoder, captions, prefix, cache, f"{opened.name}: captions")
    of_texts, of_images = retrieval_ranks(features.embedding, texts, owner)
    keys = features.rows["eval_key"].combine_chunks()
    ranks = pa.concat_tables([
        pa.table([["image_to_text"] * len(keys), keys, pa.nulls(len(keys), pa.string()), of_images], names=RANKS.names[1:]),
        pa.table([["text_to_image"] * len(owner), keys.take(pa.array(owner)), captions, of_texts], names=RANKS.names[1:]),
    ])
    ranks = ranks.add_column(0, "dataset", pa.array([opened.name] * len(ranks))).cast(RANKS)
    found = {
        "images": len(features),
        "captions": len(captions),
        "text_to_image": recalls(of_texts),
        "image_to_text": recalls(of_images),
        "skipped": features.skipped,
    }
    return found, ranks


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "retrieval",
        "Rank images by their captions and captions by their images; writes recall at 1, 5 and 10 to metrics.json, and every rank.",
        "trainer retrieval --checkpoint model.safetensors --eval flickr30k=sets/flickr30k --prefix 'a photo of ' --output results",
    )
    shared.add_model_flags(made)
    shared.add_set_flag(made)
    shared.add_split_flag(made)
    made.add_argument("--prefix", default="", metavar="TEXT", help="put before every caption (the paper: 'a photo of ')")
    flags = made.parse_args(arguments)

    sets = shared.sets_of(flags)
    encoder = shared.encoder_of(flags)
    inputs = {"sets": {opened.name: opened.fingerprint(flags.split) for opened in sets}}
    output = shared.open_output(flags, "retrieval", {"split": flags.split, "prefix": flags.prefix}, inputs, encoder)
    if output is None:
        return 0

    report, ranks, counts, drops = {}, [], {}, {}
    for opened in sets:
        features = captioned(opened, extract(encoder, opened, flags.split, flags.cache, flags.threads))
        report[opened.name], table = retrieval(encoder, opened, features, flags.cache, flags.prefix)
        ranks.append(table)
        counts[opened.name] = len(features)
        drops.update({f"{opened.name}: {reason}": count for reason, count in features.skipped["counts"].items()})
        for direction in ("text_to_image", "image_to_text"):
            found = report[opened.name][direction]
            numbers = ", ".join(f"R@{k} {100 * found[f'recall_at_{k}']['value']:.1f}%" for k in CUTOFFS)
            print(f"{opened.name}, {direction.replace('_', ' ')}: {numbers}")
    table = pa.concat_tables(ranks)
    tables.write_table(output.file(tables.numbered("ranks", 0, 1)), table, sort_by=["dataset", "direction", "eval_key", "caption"])
    files.write_json(output.file("metrics.json"), {"sets": report})
    output.finish(counts, drops)
    return 0
