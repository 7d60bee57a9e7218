"""The paper's efficiency comparison (its figure 2): objectives on the same data with the same image tower.

How each classifies zero-shot: contrastive objectives by the cosine between the image and the prompt; captioning by the mean
log-probability of the prompt's tokens given the image; bag-of-words prediction by the mean log-probability of its words.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from learning.checkpoints import Checkpoints
from learning.images import ImageError
from learning.ranks import choose_device
from trainer.config import TrainConfig
from trainer.index import build_index
from trainer.load import load
from trainer.model import CLIP
from trainer.train import train
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet
from wit_builder.report import Section, render

RESULTS, PAGE = "efficiency.json", "report.html"
CLASSIFIES = {
    "captioning": "mean log-probability of the prompt's tokens given the image",
    "bow-prediction": "mean log-probability of the prompt's words given the image",
}  # the others: cosine between image and prompt


def zero_shot_accuracy(checkpoint: str, opened: EvaluationSet, template: str, device: torch.device, batch_size: int = 64) -> float:
    """Share of a set's test images whose best-scoring prompt names their class.

    Raises:
      UserError: where no image can be used.
    """
    loaded = load(checkpoint, device, predictive=True)
    prompts = loaded.tokenize([template.format(name) for name in opened.class_names]).to(device)  # [c, l]
    prompts = prompts[:, : int(prompts.argmax(dim=1).max()) + 1]
    right = seen = 0
    pictures: list[np.ndarray] = []
    labels: list[int] = []

    def score() -> None:
        nonlocal right, seen
        images = loaded.preprocessing.to_tensor(np.stack(pictures), device)
        if isinstance(loaded.model, CLIP):
            image, text = loaded.model(images, prompts)
            scores = image @ text.t()  # [b, c]
        else:
            scores = loaded.model.class_scores(images, prompts)
        right += int((scores.argmax(dim=1).cpu() == torch.tensor(labels)).sum())
        seen += len(labels)
        pictures.clear()
        labels.clear()

    with torch.inference_mode():
        for example in opened.examples("test"):
            if example.label is None:
                continue
            try:
                pictures.append(loaded.preprocessing(example.image))
            except ImageError:
                continue
            labels.append(example.label)
            if len(labels) == batch_size:
                score()
        if labels:
            score()
    if not seen:
        raise UserError("no labelled image can be used", where=opened.path, fix="see docs/evaluation.md")
    return right / seen


def pairs_needed(curve: Sequence[tuple[int, float]], accuracy: float) -> float | None:
    """Pairs seen at which a curve of (pairs, accuracy) first reaches an accuracy, between points along their logarithm."""
    before: tuple[int, float] | None = None
    for pairs, reached in curve:
        if reached >= accuracy:
            if before is None or reached == before[1]:
                return float(pairs)
            part = (accuracy - before[1]) / (reached - before[1])
            return math.exp((1 - part) * math.log(before[0]) + part * math.log(pairs))
        before = (pairs, reached)
    return None


def compare(config: TrainConfig, objectives: Sequence[str], opened: EvaluationSet, template: str, points: int) -> dict[str, Any]:
    """Train each objective and evaluate it `points` times on the way; write efficiency.json and report.html.

    A run that ended early goes on, and a finished one is not done again.

    Returns:
      By objective: `curve` of [pairs seen, accuracy]; and `baseline_accuracy`, the lowest of the final accuracies.

    Raises:
      UserError: where the output folder holds something else.
    """
    strange = [path for path in files.match(config.output) if path.rsplit("/", 1)[-1] not in (RESULTS, PAGE)]
    if files.is_folder(config.output) and strange:
        raise UserError("this folder holds something else", where=config.output, fix="give another --output, or empty it")
    device = choose_device(config.device)
    pairs = config.epochs * len(build_index(config.shards, config.exclude))
    every = max(1, round(pairs / config.batch_size) // points)  # steps
    results: dict[str, Any] = {}
    for objective in objectives:
        folder = files.join(config.output, objective)
        checkpoints = {"checkpoint_steps": every, "checkpoint_minutes": 0.0, "keep": 2 * points}
        own = dataclasses.replace(config, objective=objective, output=folder, **checkpoints)
        train(own, resume="auto")
        taken = Checkpoints(files.join(folder, "checkpoints"))
        curve = []
        for step in taken.steps():
            accuracy = zero_shot_accuracy(taken.path(step), opened, template, device)
            curve.append([step * config.batch_size, accuracy])
        results[objective] = {"curve": curve, "classifies": CLASSIFIES.get(objective, "cosine between image and prompt")}
    accuracy = min(result["curve"][-1][1] for result in results.values())
    for result in results.values():
        result["pairs_needed"] = pairs_needed(result["curve"], accuracy)
    whole = {"set": opened.name, "classes": len(opened.class_names), "template": template, "accuracy": accuracy, "objectives": results}
    files.write_json(files.join(config.output, RESULTS), whole)
    files.write_bytes(files.join(config.output, PAGE), _report(whole))
    return whole


def _report(whole: dict[str, Any]) -> bytes:
    results = whole["objectives"]
    note = f"{whole['set']}, {whole['classes']} classes, prompt “{whole['template']}”. Chance is {1 / whole['classes']:.1%}."
    section = Section("Zero-shot accuracy against pairs seen", note=note)

    def draw(figure) -> None:
        axes = figure.subplots()
        for objective, result in results.items():
            axes.plot(*zip(*result["curve"]), marker="o", label=objective)
        axes.axhline(1 / whole["classes"], color="grey", linestyle=":", label="chance")
        axes.set(xscale="log", xlabel="pairs seen", ylabel="zero-shot accuracy")
        axes.legend()
        axes.grid(alpha=0.3)

    section.plot(draw, alt="zero-shot accuracy of each objective against pairs seen")
    slowest = max((result["pairs_needed"] or 0 for result in results.values()), default=0)
    rows = [
        [
            objective,
            result["classifies"],
            result["curve"][-1][1],
            round(result["pairs_needed"]) if result["pairs_needed"] else None,
            slowest / result["pairs_needed"] if result["pairs_needed"] else None,
        ]
        for objective, result in results.items()
    ]
    reached = f"pairs for {whole['accuracy']:.1%}"
    section.table(["objective", "classifies by", "final accuracy", reached, "times as efficient as the slowest"], rows)
    return render("Objectives compared", [section], lead=json.dumps(list(results)).strip("[]").replace('"', ""))
