"""`trainer robustness`: accuracy under natural distribution shift (the paper's section 3.3).

The shifted sets need not have the reference set's classes. Each of theirs stands for one or more of the reference's (a
superclass for several), so a reference image or classifier is brought into a shifted set's label space by the maximum over
the classes that one stands for, and classes that no one stands for are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.evaluate import adapting
from trainer.evaluate import flags as shared
from trainer.evaluate.classifier import zero_shot_classifier
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.features import Features, extract, labelled
from trainer.evaluate.fits import Line, effective_robustness, fit_line, logit
from trainer.evaluate.label_spaces import accuracy, class_map, stands_in
from trainer.evaluate.linear_probe import probe_data
from trainer.evaluate.probe import Labelled
from trainer.evaluate.prompting import add_prompt_flags, prompting_of
from trainer.evaluate.robustness_page import sections
from trainer.evaluate.row_files import read_rows
from trainer.evaluate.scoring import Linear
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet
from wit_builder.flags import DRAWS, POSITIVE
from wit_builder.report import render


def read_baselines(path: str) -> dict[str, Line]:
    """Baseline lines in logit space by set, from CSV or Parquet with columns set, reference, shifted (accuracies of standard models in 0…1,
    a line is fitted through each set's) or set, slope, intercept.

    Raises:
      UserError: where it is neither, or a set has fewer than two points.
    """
    fix = "columns: set, reference, shifted (accuracies in 0…1), or set, slope, intercept"
    rows, names = read_rows(path, (), fix)
    columns = set(names) if rows else set()
    try:
        if {"set", "slope", "intercept"} <= columns:
            return {row["set"]: Line(float(row["slope"]), float(row["intercept"]), 1.0) for row in rows}
        if not {"set", "reference", "shifted"} <= columns:
            raise UserError("not a table of baselines", where=path, fix=fix)
        points: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            points.setdefault(row["set"], []).append((float(row["reference"]), float(row["shifted"])))
        if not all(0 <= value <= 1 for pairs in points.values() for pair in pairs for value in pair):
            raise UserError("accuracies must lie in 0…1", where=path, fix=fix)
        return {name: fit_line(*logit(np.array(pairs).T)) for name, pairs in points.items()}
    except (TypeError, ValueError) as error:
        raise UserError(f"not a table of baselines: {error}", where=path, fix=fix) from error


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "robustness",
        "Compare accuracy on shifted sets with a reference set's; effective robustness against a baseline line;"
        " with --adapt also of probes on the reference. Writes metrics.json and a page.",
        "trainer robustness --checkpoint model.safetensors --reference imagenet --eval imagenet=sets/in1k imagenet-a=sets/in-a"
        " --baseline standard_models.csv --output results",
    )
    shared.add_model_flags(made)
    shared.add_set_flag(made)
    add_prompt_flags(made)
    made.add_argument("--reference", required=True, metavar="SET", help="name of the reference set, one of --eval")
    made.add_argument("--map", action="append", default=[], metavar="SET=FILE", help="lines SHIFTED CLASS<tab>REFERENCE CLASS")
    made.add_argument("--baseline", default="", metavar="CSV", help="set,reference,shifted accuracies of standard models, or a line")
    made.add_argument("--adapt", action="store_true", help="also fit probes on the reference's train split, and measure them on all sets")
    made.add_argument("--shots", type=POSITIVE, nargs="+", default=list(adapting.SHOTS), metavar="N", help="for --adapt (1 2 … 128)")
    made.add_argument("--seeds", type=DRAWS, default=3, metavar="N", help="for --adapt: draws of the examples (default: 3)")
    flags = made.parse_args(arguments)

    sets = {opened.name: opened for opened in shared.sets_of(flags)}
    if flags.reference not in sets:
        raise UserError(f"no set {flags.reference!r} among {', '.join(sets)}", where="--reference", fix="name one of --eval")
    if len(sets) < 2:
        raise UserError("there is no shifted set to compare with the reference", where="--eval", fix="give more sets")
    prompting = prompting_of(flags, list(sets.values()))
    reference = sets.pop(flags.reference)
    map_files = shared.by_set(flags.map, "--map", list(sets.values()))
    maps = {name: class_map(reference, shifted, map_files.get(name, "")) for name, shifted in sets.items()}
    baselines = read_baselines(flags.baseline) if flags.baseline else {}
    encoder = shared.encoder_of(flags)
    everything = [reference, *sets.values()]
    parameters = {
        **prompting.parameters(everything),
        "reference": reference.name,
        "maps": maps,
        "baselines": {name: list(line) for name, line in baselines.items()},
        "allow_empty_classes": flags.allow_empty_classes,
        "adapt": {"shots": sorted(set(flags.shots)), "seeds": flags.seeds} if flags.adapt else None,
    }
    inputs = {"sets": {opened.name: opened.fingerprint() for opened in everything}}
    if flags.adapt:
        inputs["train"] = {split: reference.fingerprint(split) for split in sorted({"train", *reference.splits})}
    output = shared.open_output(flags, "robustness", parameters, inputs, encoder)
    if output is None:
        return 0

    features, classifiers = {}, {}
    for opened in everything:
        found = extract(encoder, opened, "test", flags.cache, flags.threads)
        features[opened.name] = labelled(opened, found, "test", allow_empty=flags.allow_empty_classes)
        if found.several:
            raise UserError(f"images of {opened.name} have several labels", where=opened.path, fix="give sets with one label an image")
        templates, names = prompting.templates(opened), prompting.class_names[opened.name]
        classifiers[opened.name] = zero_shot_classifier(encoder, names, templates, flags.cache, f"{opened.name}: prompts")
    report = compare(reference, sets, maps, features, classifiers, baselines)
    if flags.adapt:
        report["adapted"] = adapted(encoder, reference, maps, features, report, flags, sorted(set(flags.shots)))
    files.write_json(output.file("metrics.json"), report)
    files.write_bytes(output.file("report.html"), render("Robustness", sections(report), "Numbers are per cent."))
    print(f"{reference.name}: {100 * report['reference']['top1']['value']:.2f}%")
    for name, found in report["sets"].items():
        line = f"{name}: {100 * found['top1']['value']:.2f}%, drop {100 * found['drop']:.2f} points"
        if "effective_robustness" in found:
            line += f", effective robustness {100 * found['effective_robustness']:.2f} points"
        print(line)
    for point in report.get("adapted", []):
        print(f"{point['shots']} a class: {reference.name} {100 * point['reference']:.2f}%, shifted {100 * point['mean']['top1']:.2f}%")
    output.finish({name: len(found) for name, found in features.items()}, {})
    return 0


def adapted(
    encoder: Encoder,
    reference: EvaluationSet,
    maps: dict[str, list[list[int]]],
    features: dict[str, Features],
    report: dict[str, Any],
    flags: argparse.Namespace,
    shots: Sequence[int],
) -> list[dict[str, Any]]:
    """`adapting.adapt` on the reference, with zero-shot from what `compare` found. Raises UserError where it has no train split."""
    data = probe_data(encoder, reference, flags.cache, flags.threads, allow_empty=True)
    shifted = {name: Labelled.of(features[name], len(maps[name])) for name in maps}
    zero = {
        "reference": report["reference"]["top1"],
        "sets": {name: {"top1": one["top1_reference_classes"], "reference": one["reference"]} for name, one in report["sets"].items()},
    }
    return adapting.adapt(data, zero, shifted, maps, len(reference.class_names), encoder.device, shots, flags.seeds)


def compare(
    reference: EvaluationSet,
    sets: dict[str, EvaluationSet],
    maps: dict[str, list[list[int]]],
    features: dict[str, Features],
    classifiers: dict[str, np.ndarray],
    baselines: dict[str, Line],
) -> dict[str, Any]:
    """What metrics.json holds: the reference's accuracy, and for each shifted set, in its own label space:

    `top1` by the set's own class names; `top1_reference_classes` by the reference's classifier, pooled; `reference` accuracy
    on the reference images of these classes; `drop` = reference − top1; `effective_robustness` where there is a baseline.
    """
    own = [[label] for label in range(len(reference.class_names))]
    reference_features, reference_classifier = features[reference.name], Linear(classifiers[reference.name])
    vectors, first, _ = reference_features.unit_embedding()  # one vote a clip
    reference_labels = reference_features.labels[first]
    result: dict[str, Any] = {
        "reference": {
            "name": reference.name,
            "top1": accuracy(vectors, reference_classifier, own, reference_labels),
            "skipped": reference_features.skipped,
        },
        "sets": {},
    }
    for name, shifted in sets.items():
        groups = maps[name]
        singles = [[label] for label in range(len(shifted.class_names))]
        there_vectors, first, _ = features[name].unit_embedding()
        labels = features[name].labels[first]
        there = accuracy(there_vectors, Linear(classifiers[name]), singles, labels)
        here_labels = stands_in(groups, len(own))[reference_labels]
        if (here_labels < 0).all():
            raise UserError(f"no image of {reference.name} is of a class of {name}", where=reference.path, fix="leave that set out")
        here = accuracy(vectors, reference_classifier, groups, here_labels)
        result["sets"][name] = found = {
            "classes": len(groups),
            "top1": there,
            "top1_reference_classes": accuracy(there_vectors, reference_classifier, groups, labels),
            "reference": here,
            "drop": here["value"] - there["value"],
            "skipped": features[name].skipped,
        }
        if name in baselines:
            line = baselines[name]
            found["baseline"] = line._asdict()
            found["effective_robustness"] = float(effective_robustness(here["value"], there["value"], line))
    return result
