"""`trainer zero-shot`: classify evaluation sets by prompts (section 3.1 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.evaluate import flags as shared
from trainer.evaluate import prompts, scoring
from trainer.evaluate.classifier import zero_shot_classifier
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.features import Features, extract, labelled
from trainer.evaluate.prompting import add_prompt_flags, prompting_of
from wit_builder import files, records, tables
from wit_builder.evalsets import EvaluationSet

CONFUSION = pa.schema([("dataset", pa.string()), ("label", pa.int32()), ("predicted", pa.int32()), ("count", pa.int64())])


@dataclass(frozen=True)
class ZeroShot:
    """Zero-shot results on one set.

    Attributes:
      metrics: by name, as in metrics.json.
      predictions: rows of records.PREDICTIONS, one an image; all frames of a clip carry the clip's prediction.
      confusion: rows of CONFUSION that are not zero.
    """

    metrics: dict[str, Any]
    predictions: pa.Table
    confusion: pa.Table


def zero_shot(
    encoder: Encoder, opened: EvaluationSet, class_names: Sequence[str], templates: Sequence[str], features: Features, cache: str
) -> ZeroShot:
    """Classify a set's images by the prompts of its classes.

    Args:
      encoder: the model.
      opened: the set.
      class_names: by label, as they go into the prompts.
      templates: with `{}`; all are averaged in embedding space.
      features: of the split to classify (`labelled`).
      cache: where the classifier is kept.
    """
    classifier = zero_shot_classifier(encoder, class_names, templates, cache, f"{opened.name}: prompts")  # [c, e]
    vectors, first, units = features.unit_embedding()  # [u, e], [u], [n]
    linear = scoring.Linear(encoder.scale * classifier)
    labels = features.labels[first]  # [u]
    if features.several:
        positive = features.multi_hot(len(class_names))[first]
        found, predicted = scoring.evaluate_several(vectors, linear, positive)
        right = scoring.among(predicted, positive)
        confusion = CONFUSION.empty_table()
    else:
        found, predicted, matrix = scoring.evaluate_single(vectors, linear, labels)
        right = predicted == labels
        rows, columns = matrix.nonzero()
        confusion = pa.table([[opened.name] * len(rows), rows, columns, matrix.data], names=CONFUSION.names).cast(CONFUSION)
    if len(first) < len(units):
        found["frames"] = len(units)
    predictions = pa.table(
        [
            pa.array([opened.name] * len(units)),
            features.rows["eval_key"],
            features.rows["label"],
            predicted[units].astype(np.int32),
            right[units],
        ],
        schema=records.PREDICTIONS,
    )
    return ZeroShot(found, predictions, confusion)


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "zero-shot",
        "Classify evaluation sets by prompts alone; writes predictions, confusion counts and metrics.json.",
        "trainer zero-shot --checkpoint model.safetensors --eval cifar10=sets/cifar10 --templates ensemble --output results",
    )
    shared.add_model_flags(made)
    shared.add_set_flag(made)
    add_prompt_flags(made)
    shared.add_split_flag(made)
    made.add_argument("--compare-prompts", action="store_true", help="also classify with bare, single and ensemble")
    flags = made.parse_args(arguments)

    sets = shared.sets_of(flags)
    prompting = prompting_of(flags, sets)
    encoder = shared.encoder_of(flags)
    parameters = {
        **prompting.parameters(sets),
        "split": flags.split,
        "allow_empty_classes": flags.allow_empty_classes,
        "compare_prompts": flags.compare_prompts,
    }
    output = shared.open_output(
        flags, "zero-shot", parameters, {"sets": {opened.name: opened.fingerprint(flags.split) for opened in sets}}, encoder
    )
    if output is None:
        return 0

    report: dict[str, Any] = {}
    predictions, counts, drops = [], {}, {}
    for opened in sets:
        class_names = prompting.class_names[opened.name]
        features = extract(encoder, opened, flags.split, flags.cache, flags.threads)
        features = labelled(opened, features, flags.split, allow_empty=flags.allow_empty_classes)
        result = zero_shot(encoder, opened, class_names, prompting.templates(opened), features, flags.cache)
        compared = {}
        for choice in prompts.NAMED if flags.compare_prompts else ():
            other = zero_shot(encoder, opened, class_names, prompting.templates(opened, choice), features, flags.cache)
            compared[choice] = other.metrics
        report[opened.name] = {
            **result.metrics,
            "classes": len(class_names),
            "repeated_names": prompts.repeated_names(class_names),
            "skipped": features.skipped,
            **({"prompts": compared} if compared else {}),
        }
        predictions.append(result.predictions)
        tables.write_table(output.file("confusion", f"{opened.name}.parquet"), result.confusion)
        counts[opened.name] = len(features)
        drops.update({f"{opened.name}: {reason}": count for reason, count in features.skipped["counts"].items()})
        line = scoring.summary_line(opened.name, report[opened.name], features.skipped)
        repeated = report[opened.name]["repeated_names"]
        print(line + (f"; {len(repeated)} names are shared by several classes (see --class-names)" if repeated else ""))
    tables.write_table(output.file(tables.numbered("predictions", 0, 1)), pa.concat_tables(predictions), sort_by=["dataset", "eval_key"])
    files.write_json(output.file("metrics.json"), {"sets": report})
    output.finish(counts, drops)
    return 0
