"""`trainer attributes`: how well attributes of people are classified, by pairs of groups (the paper's tables 3 to 5)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.evaluate import flags as shared
from trainer.evaluate import prompts
from trainer.evaluate.classifier import zero_shot_classifier
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.features import Features, extract
from trainer.evaluate.image_columns import columns_of
from trainer.evaluate.metrics import rate
from trainer.evaluate.page_parts import percent, with_interval
from trainer.evaluate.probe import Labelled, evaluate, fit_best, split_off_validation
from trainer.evaluate.scoring import Linear, evaluate_single
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet, open_pictures
from wit_builder.outputs import sha256_of
from wit_builder.report import Section, render
from wit_builder.text import clean

METHODS = {"zero_shot": "zero-shot", "linear_probe": "linear probe"}


def accuracy_by_groups(right: np.ndarray, columns: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Rates of right answers: over all, by each group of each column and by all others, and by each pair of groups of two columns.

    Args:
      right: bool [n].
      columns: group of each image by column, str [n]; "" for none.

    Returns:
      `groups` (column → group; "not GROUP" for all others that have one) and `rate`, of those that are not empty.
    """
    found = [({}, np.ones(len(right), bool))]
    single: dict[str, list[tuple[dict[str, str], np.ndarray]]] = {}
    for column, groups in columns.items():
        single[column] = [({column: group}, groups == group) for group in sorted(set(groups.tolist()) - {""})]
        found += single[column]
        found += [({column: f"not {group[column]}"}, ~inside & (groups != "")) for group, inside in single[column]]
    for one, other in itertools.combinations(single, 2):
        found += [(a | b, inside & also) for a, inside in single[one] for b, also in single[other]]
    return [
        {"groups": groups, "rate": rate(np.count_nonzero(right[inside]), np.count_nonzero(inside))}
        for groups, inside in found
        if inside.any()
    ]


def read_names(path: str) -> dict[tuple[str, str], str]:
    """Names for prompts by column and value, from lines `COLUMN<tab>VALUE<tab>NAME`. Raises UserError where a line is not that."""
    found = {}
    for number, line in enumerate(files.read_bytes(path).decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        parts = [clean(part) for part in line.split("\t")]
        if len(parts) != 3 or not all(parts):
            raise UserError("not COLUMN<tab>VALUE<tab>NAME", where=f"{path}, line {number}", fix="for instance: gender<tab>Male<tab>man")
        found[parts[0], parts[1]] = parts[2]
    return found


def of_values(features: Features, values: np.ndarray, classes: Sequence[str]) -> Labelled:
    """Examples of the images whose value is one of the classes, by its number."""
    place = {name: label for label, name in enumerate(classes)}
    labels = np.array([place.get(value, -1) for value in values.tolist()])
    kept = np.flatnonzero(labels >= 0)
    return Labelled(features.features.take(kept), labels[kept], None, features.rows["eval_key"].take(kept).to_pylist())


def classify(
    encoder: Encoder,
    splits: Mapping[str, Features],
    attribute: str,
    values: Mapping[str, np.ndarray],
    groups: Mapping[str, np.ndarray],
    names: Mapping[tuple[str, str], str],
    templates: Sequence[str],
    cache: str,
    where: str,
) -> dict[str, Any]:
    """An attribute's classes, zero-shot by their names, and by a probe where there is a train split, each by groups.

    Args:
      encoder: the model.
      splits: features of test, and of train and validation where they are there.
      attribute: the column to be told.
      values: the attribute's values by split, str [n] each; "" for none.
      groups: of the test images by column, str [n] each.
      names: for prompts, by column and value; else the value itself.
      templates: with `{}`.
      cache: where classifiers are kept.
      where: the set, for errors.

    Raises:
      UserError: where the attribute has fewer than two values, or one is in no training image.
    """
    classes = sorted(set(values["test"].tolist()) - {""})
    if len(classes) < 2:
        raise UserError(f"the column {attribute!r} has fewer than two values: there is nothing to tell apart", where=where)
    kept = np.flatnonzero(values["test"] != "")
    labels = np.array([classes.index(value) for value in values["test"][kept].tolist()])
    groups = {name: column[kept] for name, column in groups.items()}
    spoken = [names.get((attribute, value), value) for value in classes]
    linear = Linear(zero_shot_classifier(encoder, spoken, templates, cache, f"{attribute}: prompts"))
    _, predicted, _ = evaluate_single(splits["test"].embedding.take(kept), linear, labels)
    found: dict[str, Any] = {"classes": classes, "names": spoken}
    found["zero_shot"] = {"by_groups": accuracy_by_groups(predicted == labels, groups)}
    if "train" in splits:
        parts = {split: of_values(features, values[split], classes) for split, features in splits.items()}
        missing = set(range(len(classes))) - set(parts["train"].labels.tolist())
        if missing:
            raise UserError(f"no training image has {attribute} {classes[min(missing)]!r}", where=where)
        train, validation = parts["train"], parts.get("validation")
        if validation is None or not len(validation):
            train, validation = split_off_validation(train, where)
        fitted = fit_best(train, validation, len(classes), encoder.device)
        _, predicted = evaluate(fitted.probe, parts["test"])
        by_groups = accuracy_by_groups(predicted == labels, groups)
        found["linear_probe"] = {"by_groups": by_groups, "l2": fitted.strength, "train_examples": len(train) + len(validation)}
    return found


def sections(found: Mapping[str, Any]) -> list[Section]:
    """The page's part: for each attribute pairs of groups, as in the paper's table 5, and groups against all others (tables 3 and 4)."""
    made = []
    for attribute, one in found["attributes"].items():
        spoken = ", ".join(f"{name} ({value})" if name != value else value for name, value in zip(one["names"], one["classes"]))
        section = Section(f"Accuracy on {attribute}", f"Classes: {spoken}. Per cent right of the images of each pair of groups.")
        methods = [method for method in METHODS if method in one]
        rates = {method: {frozenset(row["groups"].items()): row["rate"] for row in one[method]["by_groups"]} for method in methods}
        across, *down = found["by"]
        singles = [next(iter(row["groups"].items())) for row in one["zero_shot"]["by_groups"] if len(row["groups"]) == 1]
        top = [group for column, group in singles if column == across and (column, f"not {group}") in singles]

        def cell(method: str, *pairs: tuple[str, str], rates=rates) -> float | None:
            return percent(rates[method].get(frozenset(pairs), {}).get("value"))

        body = []
        for method in rates:
            for column in down:
                groups = dict.fromkeys(dict(key)[column] for key in rates[method] if {name for name, _ in key} == {across, column})
                for group in groups:
                    line = [cell(method, (column, group)), *(cell(method, (column, group), (across, name)) for name in top)]
                    body.append([METHODS[method], f"{column}: {group}", *line])
            low, high = (percent(rates[method][frozenset()][name]) for name in ("low", "high"))
            everyone = f"all, interval {low}–{high}"
            body.append([METHODS[method], everyone, cell(method), *(cell(method, (across, name)) for name in top)])
        section.table(["method", "images", "all", *top], body)
        section.table(
            ["method", "group", "images", "right", "low", "high", "all others"],
            [
                [
                    METHODS[method], f"{column}: {group}", rates[method][frozenset([(column, group)])]["total"],
                    *with_interval(rates[method][frozenset([(column, group)])]), cell(method, (column, f"not {group}")),
                ]
                for method in methods
                for column, group in singles
                if (column, f"not {group}") in singles
            ],
        )  # fmt: skip
        made.append(section)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "attributes",
        "Classify attributes of people, zero-shot and by a linear probe, and compare accuracy by pairs of groups; writes metrics.json"
        " and a page.",
        "trainer attributes --checkpoint model.safetensors --images fairface --attribute gender --attribute race --by race --by gender"
        " --output results",
    )
    shared.add_model_flags(made)
    made.add_argument("--images", required=True, metavar="DIR", help="an evaluation set; probes need its train split")
    made.add_argument("--attribute", action="append", required=True, metavar="COLUMN", help="column whose values are told; repeat")
    made.add_argument("--by", action="append", required=True, metavar="COLUMN", help="column that groups the images; repeat for pairs")
    made.add_argument("--table", default="", metavar="FILE", help="CSV or Parquet with eval_key and the columns (default: KEY.json)")
    made.add_argument("--names", default="", metavar="FILE", help="COLUMN<tab>VALUE<tab>NAME: what prompts call a value")
    made.add_argument("--template", action="append", default=[], metavar="TEXT", help="with {} for the name (default: a photo of a {}.)")
    flags = made.parse_args(arguments)

    prompts.check_templates(flags.template, "name")
    if len(set(flags.by)) < len(flags.by) or len(set(flags.attribute)) < len(flags.attribute):
        raise UserError("a column is given twice", where="--attribute, --by")
    opened: EvaluationSet = open_pictures(flags.images, "images")
    names = read_names(flags.names) if flags.names else {}
    templates = flags.template or list(prompts.SINGLE)
    encoder = shared.encoder_of(flags)
    parameters = {
        "attributes": flags.attribute, "by": flags.by, "templates": templates,
        "names": sorted([column, value, name] for (column, value), name in names.items()),
    }  # fmt: skip
    inputs = {
        "images": {split: opened.fingerprint(split) for split in sorted(opened.splits)},
        "table": sha256_of(flags.table) if flags.table else None,
    }
    output = shared.open_output(flags, "attributes", parameters, inputs, encoder)
    if output is None:
        return 0

    splits = {split: extract(encoder, opened, split, flags.cache, flags.threads) for split in opened.splits}
    wanted = list(dict.fromkeys([*flags.attribute, *flags.by]))
    columns = {split: columns_of(features, wanted, flags.table) for split, features in splits.items()}
    groups = {name: columns["test"][name] for name in flags.by}
    results = {}
    for attribute in flags.attribute:
        values = {split: table[attribute] for split, table in columns.items()}
        results[attribute] = classify(encoder, splits, attribute, values, groups, names, templates, flags.cache, opened.path)
    skipped = {split: features.skipped for split, features in splits.items()}
    found = {"attributes": results, "by": flags.by, "skipped": skipped}
    files.write_json(output.file("metrics.json"), found)
    files.write_bytes(output.file("report.html"), render("Attributes of people", sections(found), f"{len(splits['test']):,} images."))
    for attribute, one in results.items():
        for method in METHODS:
            if method in one:
                print(f"{attribute}, {METHODS[method]}: {100 * one[method]['by_groups'][0]['rate']['value']:.2f}%")
    output.finish({split: len(features) for split, features in splits.items()}, {})
    return 0
