"""`trainer features`: a model's features of evaluation sets as Parquet, for other tools, or to stand beside another model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from trainer.evaluate import flags as shared
from trainer.evaluate.features import Features, extract
from trainer.evaluate.rows import CHUNK
from wit_builder import tables
from wit_builder.evalsets import SPLIT_NAMES


def feature_schema(width: int) -> pa.Schema:
    """Columns of a file of features: key (the eval_key) and embedding, `width` floats."""
    return pa.schema([("key", pa.string()), ("embedding", pa.list_(pa.float32(), width))])


def batches(found: Sequence[Features], projected: bool) -> Iterator[pa.RecordBatch]:
    """Rows of `feature_schema`, in the order of the splits and their images."""
    for features in found:
        rows = features.embedding if projected else features.features
        schema = feature_schema(rows.shape[1])
        keys = features.rows["eval_key"]
        for start in range(0, len(features), CHUNK):
            values = pa.array(rows[start : start + CHUNK].ravel())
            columns = [keys.slice(start, CHUNK).combine_chunks(), pa.FixedSizeListArray.from_arrays(values, rows.shape[1])]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "features",
        "Write a model's features of evaluation sets, from before the projection: SET.parquet with key and embedding.",
        "trainer features --checkpoint model.safetensors --eval cifar10=sets/cifar10 --output features",
    )
    shared.add_model_flags(made)
    shared.add_set_flag(made)
    made.add_argument("--projected", action="store_true", help="the unit vectors that are compared with texts, instead")
    flags = made.parse_args(arguments)

    sets = shared.sets_of(flags)
    encoder = shared.encoder_of(flags)
    inputs = {"sets": {opened.name: {split: opened.fingerprint(split) for split in sorted(opened.splits)} for opened in sets}}
    output = shared.open_output(flags, "features", {"projected": flags.projected}, inputs, encoder)
    if output is None:
        return 0
    counts, drops = {}, {}
    for opened in sets:
        splits = [split for split in SPLIT_NAMES if split in opened.splits]
        found = [extract(encoder, opened, split, flags.cache, flags.threads) for split in splits]
        width = (found[0].embedding if flags.projected else found[0].features).shape[1]
        path = output.file(f"{opened.name}.parquet")
        counts[opened.name] = tables.write_batches(path, feature_schema(width), batches(found, flags.projected))
        for split, features in zip(splits, found):
            drops.update({f"{opened.name} {split}: {reason}": count for reason, count in features.skipped["counts"].items()})
        print(f"{opened.name}: {counts[opened.name]:,} images, {width} numbers each, {', '.join(splits)}")
    output.finish(counts, drops)
    return 0
