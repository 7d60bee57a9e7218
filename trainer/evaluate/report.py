"""`trainer report`: all evaluations of one checkpoint on a folder of sets, as one page and one JSON file."""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.cost import image_flops
from trainer.evaluate import adapting, prompts
from trainer.evaluate import flags as shared
from trainer.evaluate.classifier import zero_shot_classifier
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.features import extract, labelled
from trainer.evaluate.few_shot import SHOTS, few_shot, match_of, over_sets
from trainer.evaluate.fits import ShotsToMatch, pearson
from trainer.evaluate.given_features import GivenFeatures, Source
from trainer.evaluate.label_spaces import class_map
from trainer.evaluate.linear_probe import linear_probe, probe_data
from trainer.evaluate.probe import main_score
from trainer.evaluate.prompting import check_classes
from trainer.evaluate.report_flags import included, other_models, read_flops, read_suites
from trainer.evaluate.report_models import compare_models
from trainer.evaluate.report_page import page
from trainer.evaluate.retrieval import captioned, retrieval
from trainer.evaluate.robustness import adapted, compare, read_baselines
from trainer.evaluate.zero_shot import zero_shot
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet, open_set
from wit_builder.flags import DRAWS
from wit_builder.outputs import sha256_of

PARTS = ("linear-probe", "few-shot", "retrieval", "robustness", "adapting")


def sets_below(folder: str) -> list[EvaluationSet]:
    """Every folder in a folder, opened as an evaluation set of that name, in order of name.

    Raises:
      UserError: where there is none, or one is no evaluation set.
    """
    if not os.path.isdir(folder):
        raise UserError("no such folder", where=folder, fix="--sets takes a local folder with one evaluation set a folder")
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise UserError("no folder in it", where=folder, fix="--sets takes a local folder with one evaluation set a folder")
    return [open_set(os.path.join(folder, name), name) for name in names]


def evaluate_set(
    encoder: Encoder | None, opened: EvaluationSet, flags: argparse.Namespace, others: Mapping[str, GivenFeatures]
) -> dict[str, Any]:
    """Everything that a set allows: retrieval where it has captions; zero-shot where it has classes; probes where it has a train split.

    Raises:
      UserError: where the set cannot be evaluated, such as one with one class.
    """
    found = of_checkpoint(encoder, opened, flags) if encoder else {"skipped": {"counts": {}, "named": []}}
    beside = {name: source for name, source in others.items() if opened.name in source.paths}
    if opened.class_names and beside:
        check_classes(opened, opened.class_names)
        zero = found["zero_shot"]["top1"]["value"] if encoder else None
        found["others"] = {name: probes(source, opened, flags, zero) for name, source in beside.items()}
    return found


def of_checkpoint(encoder: Encoder, opened: EvaluationSet, flags: argparse.Namespace) -> dict[str, Any]:
    """What the checkpoint does on a set."""
    features = extract(encoder, opened, "test", flags.cache, flags.threads)
    found: dict[str, Any] = {"skipped": features.skipped}
    if not opened.class_names:
        if "retrieval" not in flags.without:
            found["retrieval"], _ = retrieval(encoder, opened, captioned(opened, features), flags.cache, flags.prefix)
        return found
    check_classes(opened, opened.class_names)
    features = labelled(opened, features, "test", allow_empty=True)
    names = opened.class_names
    choices = {"set": opened.templates} if opened.templates else {}
    choices.update(prompts.NAMED)
    compared = {}
    for choice, templates in choices.items():
        result = zero_shot(encoder, opened, names, templates, features, flags.cache)
        compared[choice] = main_score(result.metrics)
        if "zero_shot" not in found and choice in ("set", "single"):
            found["zero_shot"] = {**result.metrics, "classes": len(names), "templates": choice, "confused": confused(result, names)}
    found["prompts"] = compared
    return {**found, **probes(encoder, opened, flags, found["zero_shot"]["top1"]["value"])}


def probes(source: Source, opened: EvaluationSet, flags: argparse.Namespace, zero: float | None) -> dict[str, Any]:
    """Linear probe and few-shot curve where a set has a train split; `no_probe` says why a split is of no use.

    Args:
      source: a model, or features from elsewhere.
      opened: the set.
      flags: of the command.
      zero: the zero-shot top-1 that the shots are to match, where there is one.
    """
    if "train" not in opened.splits or "linear-probe" in flags.without:
        return {}
    try:
        data = probe_data(source, opened, flags.cache, flags.threads, allow_empty=True)
    except UserError as error:
        return {"no_probe": str(error)}
    full, _, _ = linear_probe(data, opened, source.device)
    found = {"linear_probe": full}
    if data.train.positive is None and "few-shot" not in flags.without:
        classes = len(opened.class_names)
        smallest = int(np.bincount(data.train.labels, minlength=classes).min())
        shots = [count for count in SHOTS if count <= smallest]
        if shots:
            curve = few_shot(data, opened, source.device, shots, flags.seeds)
            found["few_shot"] = {"shots": curve, "complete": len(shots) == len(SHOTS)}
            if zero is not None:
                found["few_shot"]["to_match"] = [*match_of(curve, full, classes, zero)]
    return found


def confused(result, names: Sequence[str], count: int = 5) -> list[dict[str, Any]]:
    """The most frequent mistakes of a zero-shot result: label, prediction and number."""
    mistakes = [row for row in result.confusion.to_pylist() if row["label"] != row["predicted"]]
    mistakes.sort(key=lambda row: (-row["count"], row["label"], row["predicted"]))
    return [{"label": names[row["label"]], "predicted": names[row["predicted"]], "count": row["count"]} for row in mistakes[:count]]


def robustness(encoder: Encoder, sets: Sequence[EvaluationSet], flags: argparse.Namespace) -> dict[str, Any] | None:
    """The robustness table over the evaluated sets whose classes are all among the reference's, and `left_out`, the reason by set for
    those that cannot be compared; None where there is none."""
    reference = next(opened for opened in sets if opened.name == flags.reference)
    maps = {}
    for opened in sets:
        if opened is not reference and len(opened.class_names) > 1 and set(opened.class_names) <= set(reference.class_names):
            maps[opened.name] = class_map(reference, opened)
    if not maps:
        return None
    features, classifiers, left_out = {}, {}, {}
    for opened in (reference, *(opened for opened in sets if opened.name in maps)):
        found = labelled(opened, extract(encoder, opened, "test", flags.cache, flags.threads), "test", allow_empty=True)
        groups = maps.get(opened.name, [range(len(reference.class_names))])
        if found.several:
            left_out[opened.name] = "its images have several labels: robustness needs one"
        elif reference.name in features and not np.isin(features[reference.name].labels, [*itertools.chain(*groups)]).any():
            left_out[opened.name] = f"no image of {reference.name} is of one of its classes"
        if opened.name in left_out:
            continue
        features[opened.name] = found
        templates = opened.templates or prompts.SINGLE
        classifiers[opened.name] = zero_shot_classifier(encoder, opened.class_names, templates, flags.cache, f"{opened.name}: prompts")
    baselines = read_baselines(flags.baseline) if flags.baseline else {}
    if reference.name in left_out:
        return {"reference": {"name": reference.name}, "sets": {}, "left_out": left_out}
    chosen = {opened.name: opened for opened in sets if opened.name in maps and opened.name in features}
    maps = {name: maps[name] for name in chosen}
    report = {**compare(reference, chosen, maps, features, classifiers, baselines), "left_out": left_out}
    if chosen and "adapting" not in flags.without and "train" in reference.splits:
        report["adapted"] = adapted(encoder, reference, maps, features, report, flags, adapting.SHOTS)
    return report


def over_all(sets: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Numbers over sets: means, the correlation of zero-shot with the probe, shots needed to match."""
    zero = {name: main_score(found["zero_shot"]) for name, found in sets.items() if "zero_shot" in found}
    probe = {name: main_score(found["linear_probe"]) for name, found in sets.items() if "linear_probe" in found}
    both = [name for name in zero if name in probe]
    matches = [ShotsToMatch(*found["few_shot"]["to_match"]) for found in sets.values() if found.get("few_shot", {}).get("complete")]
    return {
        "zero_shot_mean": float(np.mean(list(zero.values()))) if zero else None,
        "linear_probe_mean": float(np.mean(list(probe.values()))) if probe else None,
        "correlation": pearson(np.array([zero[name] for name in both]), np.array([probe[name] for name in both])),
        "shots_to_match": over_sets(matches) if matches else None,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "report",
        "Evaluate one checkpoint on a folder of evaluation sets, beside features of other models or these alone; writes report.html"
        " and report.json. An interrupted run goes on.",
        "trainer report --checkpoint model.safetensors --sets sets --reference imagenet --output report\n"
        "  trainer report --checkpoint model.safetensors --features resnet50=features/resnet50 --flops resnet50=8.2e9 --sets sets"
        " --output report",
    )
    shared.add_model_flags(made, optional=True)
    made.add_argument(
        "--features", nargs="+", default=[], action="extend", metavar="NAME=PATH", help="other models: folders with SET.parquet"
    )
    made.add_argument("--flops", action="append", default=[], metavar="NAME=N", help="of one image's forward pass, of another model")
    made.add_argument("--suite", action="append", default=[], metavar="NAME=SET,SET…", help="beside the paper's 12 and 27 sets")
    made.add_argument("--include", nargs="+", default=[], metavar="DIR", help="results of other commands on this checkpoint, for the page")
    made.add_argument("--sets", required=True, metavar="DIR", help="folder with one evaluation set a folder")
    made.add_argument("--reference", default="", metavar="SET", help="reference of the robustness table, beside sets of its classes")
    made.add_argument("--baseline", default="", metavar="CSV", help="baselines for effective robustness, as for trainer robustness")
    made.add_argument("--prefix", default="", metavar="TEXT", help="put before captions in retrieval (the paper: 'a photo of ')")
    made.add_argument("--seeds", type=DRAWS, default=3, metavar="N", help="draws of few-shot examples (default: 3)")
    made.add_argument("--without", nargs="+", default=[], choices=PARTS, metavar="PART", help=f"leave out some of {', '.join(PARTS)}")
    flags = made.parse_args(arguments)

    sets = sets_below(flags.sets)
    if flags.reference and flags.reference not in {opened.name for opened in sets}:
        raise UserError(f"no set {flags.reference!r} in {flags.sets}", where="--reference")
    if not flags.checkpoint and not flags.features:
        raise UserError("there is no model", where="--checkpoint", fix="give --checkpoint, --features, or both")
    own = os.path.basename(flags.checkpoint.rstrip("/"))
    others = other_models(flags.features, own, sets, flags.device)
    flops, suites = read_flops(flags.flops, others), read_suites(flags.suite, sets)
    encoder = shared.encoder_of(flags) if flags.checkpoint else None
    if encoder:
        flops[own] = image_flops(encoder.model)
    if flags.include and not encoder:
        raise UserError("results of a checkpoint join the report of that checkpoint", where="--include", fix="give --checkpoint")
    joining = included(flags.include, encoder.digest) if encoder else []
    parameters = {
        "included": joining, "flops": flops, "suites": flags.suite,
        "reference": flags.reference, "baseline": sha256_of(flags.baseline) if flags.baseline else None,
        "prefix": flags.prefix, "seeds": flags.seeds, "without": sorted(flags.without),
    }  # fmt: skip
    inputs: dict[str, Any] = {"features": {name: source.digests for name, source in others.items()}}
    inputs |= {"sets": {opened.name: {split: opened.fingerprint(split) for split in sorted(opened.splits)} for opened in sets}}
    output = shared.open_output(flags, "report", parameters, inputs, encoder)
    if output is None:
        return 0

    results: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    for opened in sets:
        kept = files.join(output.work, f"{opened.name}.json")  # what an interrupted run found
        try:
            if not files.exists(kept):
                files.write_json(kept, evaluate_set(encoder, opened, flags, others))
            results[opened.name] = files.read_json(kept)
            print(f"{opened.name}: {', '.join(sorted(set(results[opened.name]) - {'skipped', 'prompts', 'no_probe'})) or 'nothing to do'}")
        except UserError as error:
            failed[opened.name] = str(error)
            print(f"{opened.name}: not evaluated: {error}")
    evaluated = [opened for opened in sets if opened.name in results]
    wanted = encoder and flags.reference in results and "robustness" not in flags.without
    shifted = robustness(encoder, evaluated, flags) if wanted else None
    models = compare_models(own, results, flops, suites)
    found = {
        "sets": results, "over_sets": over_all(results), "models": models, "robustness": shifted, "failed": failed, "included": joining
    }  # fmt: skip
    about = {
        "checkpoint": own, "sha256": encoder.digest, "precision": encoder.precision,
        "image_size": encoder.image_size, "logit_scale": encoder.scale,
    } if encoder else None  # fmt: skip
    files.write_json(output.file("report.json"), {**found, "model": about})
    files.write_bytes(output.file("report.html"), page(about, found, flags.include))
    output.finish({"sets": len(results), "failed": len(failed)}, {})
    return 0
