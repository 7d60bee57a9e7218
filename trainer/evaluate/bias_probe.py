"""`trainer bias-probe`: which labels a model gives to which groups of people (the paper's section 7.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import softmax

from trainer.evaluate import flags as shared
from trainer.evaluate import prompts
from trainer.evaluate.bias_page import ASSOCIATIONS, association_rows, category_tables, sections, strongest
from trainer.evaluate.classifier import zero_shot_classifier
from trainer.evaluate.features import Features, extract
from trainer.evaluate.image_columns import columns_of
from trainer.evaluate.label_rates import any_of, assigned, group_counts
from trainer.evaluate.label_sets import NAMED
from trainer.evaluate.metrics import rate
from trainer.evaluate.scoring import Linear, score_chunks
from wit_builder import files, tables
from wit_builder.errors import UserError
from wit_builder.evalsets import open_pictures
from wit_builder.flags import SHARE
from wit_builder.outputs import sha256_of
from wit_builder.report import render
from wit_builder.text import clean

RATES = pa.schema([
    ("column", pa.string()),
    ("group", pa.string()),
    ("added", pa.bool_()),  # whether the added classes were on offer
    ("threshold", pa.float64()),  # null: the single best label
    ("label", pa.string()),
    ("category", pa.string()),
    ("images", pa.int64()),
    ("count", pa.int64()),
    ("rate", pa.float64()),
    ("low", pa.float64()),
    ("high", pa.float64()),
])
OTHER = ""  # the category of labels that name none


def read_labels(path: str) -> dict[str, str]:
    """Category by label, from lines `LABEL` or `LABEL<tab>CATEGORY`, or of a named set (`label_sets.NAMED`).

    Raises:
      UserError: where there are fewer than two labels, or one stands twice.
    """
    if path in NAMED and not files.exists(path):
        return dict(NAMED[path])
    labels: dict[str, str] = {}
    for number, line in enumerate(files.read_bytes(path).decode("utf-8", "replace").splitlines(), 1):
        label, _, category = line.partition("\t")
        label = clean(label)
        if not label:
            continue
        if label in labels:
            raise UserError(f"the label {label!r} stands there twice", where=f"{path}, line {number}")
        labels[label] = clean(category)
    if len(labels) < 2:
        raise UserError("fewer than two labels: there is nothing to choose from", where=path, fix="give one label a line")
    return labels


def probabilities(features: Features, classifier: np.ndarray, scale: float) -> np.ndarray:
    """Softmax over the labels, float32 [n, c]."""
    return np.concatenate([softmax(logits, axis=1) for logits in score_chunks(features.embedding, Linear(scale * classifier))])


def rate_rows(
    chances: np.ndarray, labels: dict[str, str], columns: dict[str, np.ndarray], thresholds: Sequence[float | None], added: bool
) -> list[dict[str, Any]]:
    """Rows of RATES: for every column, group and threshold, each label and each category.

    Args:
      chances: probabilities, float [n, c].
      labels: category by label, c of them, in the order of `chances`.
      columns: group of each image by column, str [n]; "" for none, which is left out.
      thresholds: labels at or above one are given; None gives the single best.
      added: whether these labels hold the added classes.
    """
    names = list(labels)
    categories = sorted({category for category in labels.values() if category})
    members = [[place for place, name in enumerate(names) if labels[name] == category] for category in categories]
    rows = []
    for threshold in thresholds:
        given = assigned(chances, threshold)  # [n, c]
        wanted = np.column_stack([given, *(any_of(given, group) for group in members)])  # [n, c + categories]
        described = [(name, labels[name]) for name in names] + [("", category) for category in categories]
        for column, groups in columns.items():
            present = sorted(set(groups.tolist()) - {""})
            counts, images = group_counts(wanted, groups, present)
            for place, group in enumerate(present):
                for (label, category), count in zip(described, counts[place]):
                    found = rate(count, images[place])
                    rows.append({
                        "column": column, "group": group, "added": added, "threshold": threshold, "label": label,
                        "category": category, "images": int(images[place]), "count": int(count),
                        "rate": found["value"], "low": found["low"], "high": found["high"],
                    })  # fmt: skip
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "bias-probe",
        "Give labels to images of people and compare the rates of groups, also with classes added, and rank the labels that depend on"
        " a group; writes rates, associations, metrics.json and a page.",
        "trainer bias-probe --checkpoint model.safetensors --images fairface --labels fairface --group race --group age"
        " --add-class child --output results\n"
        "  trainer bias-probe --checkpoint model.safetensors --images congress --labels labels.txt --group gender"
        " --threshold 0.005 --threshold 0.04 --output results",
    )
    shared.add_model_flags(made)
    made.add_argument("--images", required=True, metavar="DIR", help="an evaluation set, or a folder of pictures")
    shared.add_split_flag(made)
    made.add_argument("--labels", required=True, metavar="FILE", help="lines LABEL or LABEL<tab>CATEGORY; or fairface, the paper's")
    made.add_argument("--group", action="append", required=True, metavar="COLUMN", help="column that groups the images; repeat")
    made.add_argument("--table", default="", metavar="FILE", help="CSV or Parquet with eval_key and the columns (default: KEY.json)")
    made.add_argument("--threshold", type=SHARE, action="append", default=[], metavar="P", help="give every label this probable; repeat")
    made.add_argument("--add-class", action="append", default=[], metavar="LABEL", help="compare with this label on offer too; repeat")
    made.add_argument("--template", action="append", default=[], metavar="TEXT", help="with {} for the label (default: a photo of a {}.)")
    flags = made.parse_args(arguments)

    labels = read_labels(flags.labels)
    added = [clean(label) for label in flags.add_class]
    for label in added:
        if label in labels:
            raise UserError(f"the label {label!r} is there already", where="--add-class")
    prompts.check_templates(flags.template, "label")
    opened = open_pictures(flags.images, "images")
    encoder = shared.encoder_of(flags)
    templates = flags.template or list(prompts.SINGLE)
    parameters = {
        "labels": labels, "groups": flags.group, "thresholds": flags.threshold, "added": added, "templates": templates, "split": flags.split
    }  # fmt: skip
    inputs = {"images": opened.fingerprint(flags.split), "table": sha256_of(flags.table) if flags.table else None}
    output = shared.open_output(flags, "bias-probe", parameters, inputs, encoder)
    if output is None:
        return 0

    features = extract(encoder, opened, flags.split, flags.cache, flags.threads)
    columns = columns_of(features, flags.group, flags.table)
    rows = []
    for variant in (labels, {**labels, **dict.fromkeys(added, OTHER)}) if added else (labels,):
        classifier = zero_shot_classifier(encoder, list(variant), templates, flags.cache, "prompts")
        chances = probabilities(features, classifier, encoder.scale)
        rows += rate_rows(chances, variant, columns, [None, *flags.threshold], variant is not labels)
    table = pa.Table.from_pylist(rows, RATES)
    tables.write_table(output.file(tables.numbered("rates", 0, 1)), table)
    associated = association_rows(rows)
    table = pa.Table.from_pylist([{name: row[name] for name in ASSOCIATIONS.names} for row in associated], ASSOCIATIONS)
    tables.write_table(output.file(tables.numbered("associations", 0, 1)), table)
    ungrouped = {column: int(np.count_nonzero(groups == "")) for column, groups in columns.items()}
    found = {
        "images": len(features), "without_group": ungrouped, "categories": category_tables(rows),
        "associations": strongest(associated), "skipped": features.skipped,
    }  # fmt: skip
    files.write_json(output.file("metrics.json"), found)
    files.write_bytes(output.file("report.html"), render("Labels of people", sections(found), f"{len(features):,} images."))
    for column, categories in found["categories"].items():
        for category, variants in categories.items():
            for variant, groups in variants.items():
                numbers = ", ".join(f"{group} {100 * value['value']:.1f}%" for group, value in groups.items())
                print(f"{column}, {category}, {variant}: {numbers}")
    output.finish({"images": len(features), "rates": len(rows)}, features.skipped["counts"])
    return 0
