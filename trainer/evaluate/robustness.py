"""`trainer robustness`: accuracy under natural distribution shift (the paper's section 3.3).

The shifted sets need not have the reference set's classes. Each of theirs stands for one or more of the reference's (a
superclass for several), so a reference image or classifier is brought into a shifted set's label space by the maximum over
the classes that one stands for, and classes that no one stands for are left out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.evaluate import flags as shared
from trainer.evaluate.classifier import zero_shot_classifier
from trainer.evaluate.features import Features, extract, labelled
from trainer.evaluate.fits import Line, effective_robustness, fit_line, logit
from trainer.evaluate.metrics import rate
from trainer.evaluate.prompting import add_prompt_flags, prompting_of
from trainer.evaluate.scoring import Linear, score_chunks
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet
from wit_builder.text import clean


def class_map(reference: EvaluationSet, shifted: EvaluationSet, path: str = "") -> list[list[int]]:
    """For each class of the shifted set, the reference's classes that it stands for.

    By default those of the same name; or from a file of lines `SHIFTED CLASS<tab>REFERENCE CLASS`, several lines for a superclass.

    Raises:
      UserError: where a class of the shifted set stands for none, a name in the file is unknown, or one of the reference's
        classes would stand in two.
    """
    ours: dict[str, list[int]] = {}
    for label, name in enumerate(reference.class_names):
        ours.setdefault(name, []).append(label)
    found: list[list[int]] = [[] for _ in shifted.class_names]
    if path:
        theirs = {name: label for label, name in enumerate(shifted.class_names)}
        for number, line in enumerate(files.read_bytes(path).decode("utf-8", "replace").splitlines(), 1):
            if not line.strip():
                continue
            name, target = clean(line.partition("\t")[0]), clean(line.partition("\t")[2])
            for known, value, opened in ((theirs, name, shifted), (ours, target, reference)):
                if value not in known:
                    raise UserError(
                        f"no class {value!r} in {opened.name}",
                        where=f"{path}, line {number}",
                        fix=f"lines are {shifted.name.upper()} CLASS<tab>{reference.name.upper()} CLASS",
                    )
            found[theirs[name]] += ours[target]
    else:
        found = [list(ours.get(name, ())) for name in shifted.class_names]
    missing = [repr(name) for name, labels in zip(shifted.class_names, found) if not labels]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise UserError(
            f"classes of {shifted.name} are none of {reference.name}'s: {shown}",
            where=shifted.path,
            fix=f"give --map {shifted.name}=FILE with lines SHIFTED CLASS<tab>REFERENCE CLASS",
        )
    together = [label for labels in found for label in labels]
    if len(set(together)) < len(together):
        twice = reference.class_names[max(set(together), key=together.count)]
        raise UserError(f"class {twice!r} of {reference.name} stands in two classes of {shifted.name}", where=path or shifted.path)
    return found


def pooled(scores: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """Scores of superclasses, the largest of their classes': float [n, k] of float [n, c] and k lists of classes."""
    return np.stack([scores[:, list(group)].max(axis=1) for group in groups], axis=1)


def accuracy(features: Features, classifier: np.ndarray, groups: Sequence[Sequence[int]], labels: np.ndarray) -> dict[str, Any]:
    """Rate of right answers in the label space of `groups`, of one vote a clip.

    Args:
      features: n images.
      classifier: unit vectors float32 [c, e].
      groups: the classes of the classifier that each of k classes stands for.
      labels: int [n] among the k; -1 leaves an image out.
    """
    vectors, first, _ = features.unit_embedding()
    wanted = labels[first]
    predicted = np.concatenate([pooled(scores, groups).argmax(axis=1) for scores in score_chunks(vectors, Linear(classifier))])
    kept = wanted >= 0
    return rate(np.count_nonzero(predicted[kept] == wanted[kept]), np.count_nonzero(kept))


def read_baselines(path: str) -> dict[str, Line]:
    """Baseline lines in logit space by set, from CSV with columns set, reference, shifted (accuracies of standard models in 0…1,
    a line is fitted through each set's) or set, slope, intercept.

    Raises:
      UserError: where it is neither, or a set has fewer than two points.
    """
    rows = list(csv.DictReader(io.StringIO(files.read_bytes(path).decode("utf-8", "replace"))))
    columns = set(rows[0]) if rows else set()
    fix = "columns: set, reference, shifted (accuracies in 0…1), or set, slope, intercept"
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
        "Compare accuracy on shifted sets with a reference set's; effective robustness against a baseline line; writes metrics.json.",
        "trainer robustness --checkpoint model.safetensors --reference imagenet --eval imagenet=sets/in1k imagenet-a=sets/in-a"
        " --baseline standard_models.csv --output results",
    )
    shared.add_model_flags(made)
    shared.add_set_flag(made)
    add_prompt_flags(made)
    made.add_argument("--reference", required=True, metavar="SET", help="name of the reference set, one of --eval")
    made.add_argument("--map", action="append", default=[], metavar="SET=FILE", help="lines SHIFTED CLASS<tab>REFERENCE CLASS")
    made.add_argument("--baseline", default="", metavar="CSV", help="set,reference,shifted accuracies of standard models, or a line")
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
    }
    inputs = {"sets": {opened.name: opened.fingerprint() for opened in everything}}
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
    files.write_json(output.file("metrics.json"), report)
    print(f"{reference.name}: {100 * report['reference']['top1']['value']:.2f}%")
    for name, found in report["sets"].items():
        line = f"{name}: {100 * found['top1']['value']:.2f}%, drop {100 * found['drop']:.2f} points"
        if "effective_robustness" in found:
            line += f", effective robustness {100 * found['effective_robustness']:.2f} points"
        print(line)
    output.finish({name: len(found) for name, found in features.items()}, {})
    return 0


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
    reference_features, reference_classifier = features[reference.name], classifiers[reference.name]
    result: dict[str, Any] = {
        "reference": {
            "name": reference.name,
            "top1": accuracy(reference_features, reference_classifier, own, reference_features.labels),
            "skipped": reference_features.skipped,
        },
        "sets": {},
    }
    for name, shifted in sets.items():
        groups = maps[name]
        stands_in = np.full(len(reference.class_names), -1)
        for label, group in enumerate(groups):
            stands_in[group] = label
        singles = [[label] for label in range(len(shifted.class_names))]
        labels = features[name].labels
        there = accuracy(features[name], classifiers[name], singles, labels)
        here = accuracy(reference_features, reference_classifier, groups, stands_in[reference_features.labels])
        result["sets"][name] = found = {
            "classes": len(groups),
            "top1": there,
            "top1_reference_classes": accuracy(features[name], reference_classifier, groups, labels),
            "reference": here,
            "drop": here["value"] - there["value"],
            "skipped": features[name].skipped,
        }
        if name in baselines:
            line = baselines[name]
            found["baseline"] = line._asdict()
            found["effective_robustness"] = float(effective_robustness(here["value"], there["value"], line))
    return result
