"""`trainer linear-probe`: logistic regression on frozen features, as in the paper's section 3.2 and appendix A.3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from learning import checkpoint
from trainer.evaluate import flags as shared
from trainer.evaluate import scoring
from trainer.evaluate.features import labelled
from trainer.evaluate.given_features import Source, split_features
from trainer.evaluate.probe import Fitted, Labelled, evaluate, fit_best, split_off_validation
from trainer.evaluate.prompting import check_classes
from wit_builder import files, records, tables
from wit_builder.evalsets import EvaluationSet
from wit_builder.progress import progress


@dataclass(frozen=True)
class ProbeData:
    """A set's examples for a probe.

    Attributes:
      train: to fit on.
      validation: to choose λ on.
      test: to measure on.
      skipped: what could not be used, by split.
    """

    train: Labelled
    validation: Labelled
    test: Labelled
    skipped: dict[str, dict]


def probe_data(source: Source, opened: EvaluationSet, cache: str, threads: int, *, allow_empty: bool) -> ProbeData:
    """Features of a set's splits; validation is split off from train where the set has none.

    Raises:
      UserError: where a split is missing, or a class has no example in train or test.
    """
    classes = len(opened.class_names)
    splits = ["train", "test", *(["validation"] if "validation" in opened.splits else [])]
    found, skipped = {}, {}
    for split in splits:
        may_lack = allow_empty or split == "validation"
        features = labelled(opened, split_features(source, opened, split, cache, threads), split, allow_empty=may_lack)
        found[split], skipped[split] = Labelled.of(features, classes), features.skipped
    if "validation" in found:
        train, validation = found["train"], found["validation"]
    else:
        train, validation = split_off_validation(found["train"], opened.path)
    return ProbeData(train, validation, found["test"], skipped)


def linear_probe(
    data: ProbeData, opened: EvaluationSet, device: torch.device, *, every: bool = False
) -> tuple[dict[str, Any], Fitted, np.ndarray]:
    """Fit with λ chosen on validation, refit on both, measure on test: metrics, the probe, and predictions int [n]."""
    classes = len(opened.class_names)
    with progress(f"{opened.name}: fits", None, "fit") as line:
        fitted = fit_best(data.train, data.validation, classes, device, every=every, on_fit=line.update)
    found, predicted = evaluate(fitted.probe, data.test)
    return {
        **found,
        "classes": classes,
        "train_examples": len(data.train) + len(data.validation),
        "validation_split": "validation" in opened.splits,
        "l2": fitted.strength,
        "iterations": fitted.probe.iterations,
        "validation": [{"l2": strength, "score": score} for strength, score in fitted.validation],
        "skipped": data.skipped,
    }, fitted, predicted


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "linear-probe",
        "Fit a logistic regression on frozen image features, its L2 strength chosen on validation; writes predictions,"
        " metrics.json and the probes.",
        "trainer linear-probe --checkpoint model.safetensors --eval cifar10=sets/cifar10 --output results\n"
        "  trainer linear-probe --features resnet50/ --eval cifar10=sets/cifar10 --output results-of-resnet50",
    )
    shared.add_model_flags(made, given=True)
    shared.add_set_flag(made)
    made.add_argument("--all-strengths", action="store_true", help="try all 97 L2 strengths, not the paper's search around the peak")
    made.add_argument("--allow-empty-classes", action="store_true", help="go on where a class has no image")
    flags = made.parse_args(arguments)

    sets = shared.sets_of(flags)
    inputs = {}
    for opened in sets:
        check_classes(opened, opened.class_names)
        inputs[opened.name] = {split: opened.fingerprint(split) for split in {"train", "test", *opened.splits}}
    source = shared.source_of(flags, sets)
    parameters = {"all_strengths": flags.all_strengths, "allow_empty_classes": flags.allow_empty_classes}
    output = shared.open_output(flags, "linear-probe", parameters, {"sets": inputs}, source)
    if output is None:
        return 0

    report, predictions, counts, drops = {}, [], {}, {}
    for opened in sets:
        data = probe_data(source, opened, flags.cache, flags.threads, allow_empty=flags.allow_empty_classes)
        found, fitted, predicted = linear_probe(data, opened, source.device, every=flags.all_strengths)
        report[opened.name] = found
        predictions.append(predictions_table(opened.name, data.test, predicted))
        counts[opened.name] = len(data.test)
        for split, skipped in data.skipped.items():
            drops.update({f"{opened.name} {split}: {reason}": count for reason, count in skipped["counts"].items()})
        weights = {"weight": torch.from_numpy(fitted.probe.weight), "bias": torch.from_numpy(fitted.probe.bias)}
        described = {"set": opened.name, "classes": list(opened.class_names), "l2": fitted.strength}
        checkpoint.save(output.file("probes", f"{opened.name}.safetensors"), weights, described)
        print(scoring.summary_line(opened.name, found, data.skipped["test"]) + f", λ {fitted.strength:.3g}")
    table = pa.concat_tables(predictions)
    tables.write_table(output.file(tables.numbered("predictions", 0, 1)), table, sort_by=["dataset", "eval_key"])
    files.write_json(output.file("metrics.json"), {"sets": report})
    output.finish(counts, drops)
    return 0


def predictions_table(name: str, data: Labelled, predicted: np.ndarray) -> pa.Table:
    """Rows of records.PREDICTIONS for a set's test examples."""
    if data.positive is None:
        labels, right = pa.array(data.labels, pa.int32()), predicted == data.labels
    else:
        labels, right = pa.nulls(len(data), pa.int32()), scoring.among(predicted, data.positive)
    columns = [pa.array([name] * len(data)), pa.array(data.keys), labels, pa.array(predicted, pa.int32()), pa.array(right)]
    return pa.table(columns, schema=records.PREDICTIONS)
