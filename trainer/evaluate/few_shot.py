"""`trainer few-shot`: probes on a few examples a class beside zero-shot (the paper's figures 6 and 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from trainer.evaluate import flags as shared
from trainer.evaluate.features import extract, labelled
from trainer.evaluate.fits import ShotsToMatch, shots_to_match
from trainer.evaluate.linear_probe import ProbeData, linear_probe, probe_data
from trainer.evaluate.probe import evaluate, fit_best
from trainer.evaluate.prompting import add_prompt_flags, check_classes, prompting_of
from trainer.evaluate.zero_shot import zero_shot
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet
from wit_builder.flags import DRAWS, POSITIVE
from wit_builder.progress import progress

SHOTS = (1, 2, 4, 8, 16)


def few_shot(data: ProbeData, opened: EvaluationSet, device: torch.device, shots: Sequence[int], seeds: int) -> dict[str, Any]:
    """Accuracy of probes by examples a class: for each number, a rate per seed and their mean.

    The examples of a class come in an order salted with the seed, so fewer shots are a subset of more. λ is chosen on
    the validation examples, which are not fitted on.

    Raises:
      UserError: where a class has fewer training examples than the largest number of shots, or images have several labels.
    """
    classes = len(opened.class_names)
    if data.train.positive is not None:
        raise UserError(f"images of {opened.name} have several labels: shots a class mean nothing there", where=opened.path)
    smallest = int(np.bincount(data.train.labels, minlength=classes).min())
    if smallest < max(shots):
        raise UserError(
            f"a class of {opened.name} has {smallest} training examples beside validation, fewer than {max(shots)} shots",
            where=opened.path,
            fix="give fewer --shots",
        )
    found: dict[str, Any] = {}
    ranks = [data.train.class_ranks(seed) for seed in range(seeds)]
    with progress(f"{opened.name}: few-shot probes", len(shots) * seeds, "probe") as line:
        for count in shots:
            by_seed = []
            for seed in range(seeds):
                train = data.train.take(np.flatnonzero(ranks[seed] < count))
                fitted = fit_best(train, data.validation, classes, device, refit=False)
                by_seed.append({**evaluate(fitted.probe, data.test)[0]["top1"], "l2": fitted.strength})
                line.update()
            found[str(count)] = {"mean": float(np.mean([result["value"] for result in by_seed])), "by_seed": by_seed}
    return found


def match_of(curve: dict[str, Any], full: dict[str, Any], classes: int, zero_shot_top1: float) -> ShotsToMatch:
    """Shots that a probe needs to equal zero-shot, by a curve of `few_shot` and the fully supervised probe."""
    shots = [float(count) for count in curve] + [full["train_examples"] / classes]
    accuracies = [point["mean"] for point in curve.values()] + [full["top1"]["value"]]
    order = np.argsort(shots, kind="stable")
    return shots_to_match([shots[place] for place in order], [accuracies[place] for place in order], zero_shot_top1)


def over_sets(matches: Sequence[ShotsToMatch]) -> dict[str, Any]:
    """Mean and median over sets, as the paper states them; bounds enter as their value, and are counted."""
    values = [match.shots for match in matches]
    return {
        "sets": len(values),
        "mean": float(np.mean(values)),
        "median": float(np.median(values)),
        "below_one_shot": sum(match.relation == "<" for match in matches),
        "not_reached": sum(match.relation == ">" for match in matches),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "few-shot",
        "Fit probes on 1, 2, 4, 8 and 16 examples a class, and find how many it takes to equal zero-shot, where there is a model;"
        " writes metrics.json.",
        "trainer few-shot --checkpoint model.safetensors --eval cifar10=sets/cifar10 --templates single --output results",
    )
    shared.add_model_flags(made, given=True)
    shared.add_set_flag(made)
    add_prompt_flags(made)
    made.add_argument("--shots", type=POSITIVE, nargs="+", default=list(SHOTS), metavar="N", help="examples a class (1 2 4 8 16)")
    made.add_argument("--seeds", type=DRAWS, default=3, metavar="N", help="draws of the examples, averaged (default: 3)")
    flags = made.parse_args(arguments)

    sets, shots = shared.sets_of(flags), sorted(set(flags.shots))
    prompting = None if flags.features else prompting_of(flags, sets)
    for opened in sets:
        check_classes(opened, opened.class_names)
    inputs = {opened.name: {split: opened.fingerprint(split) for split in {"train", "test", *opened.splits}} for opened in sets}
    source = shared.source_of(flags, sets)
    parameters = {
        **(prompting.parameters(sets) if prompting else {}),
        "shots": shots,
        "seeds": flags.seeds,
        "allow_empty_classes": flags.allow_empty_classes,
    }
    output = shared.open_output(flags, "few-shot", parameters, {"sets": inputs}, source)
    if output is None:
        return 0

    report, matches, counts = {}, [], {}
    for opened in sets:
        data = probe_data(source, opened, flags.cache, flags.threads, allow_empty=flags.allow_empty_classes)
        curve = few_shot(data, opened, source.device, shots, flags.seeds)
        full, _, _ = linear_probe(data, opened, source.device)
        report[opened.name] = {"shots": curve, "full": full}
        counts[opened.name] = len(data.test)
        line = f"{opened.name}: " + ", ".join(f"{count}: {100 * point['mean']:.1f}%" for count, point in curve.items())
        if prompting:
            found = extract(source, opened, "test", flags.cache, flags.threads)
            test = labelled(opened, found, "test", allow_empty=flags.allow_empty_classes)
            names = prompting.class_names[opened.name]
            zero = zero_shot(source, opened, names, prompting.templates(opened), test, flags.cache).metrics
            match = match_of(curve, full, len(names), zero["top1"]["value"])
            matches.append(match)
            report[opened.name].update(zero_shot=zero, shots_to_match={**match._asdict(), "text": str(match)})
            line += f"; zero-shot {100 * zero['top1']['value']:.1f}% equals {match} shots"
        print(line)
    files.write_json(output.file("metrics.json"), {"sets": report, **({"shots_to_match": over_sets(matches)} if matches else {})})
    output.finish(counts, {})
    return 0
