"""`trainer scaling`: zero-shot error of many checkpoints against their compute, a power law for each set (the paper's figure 9)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.cost import step_flops
from trainer.evaluate import flags as shared
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.features import extract, labelled
from trainer.evaluate.fits import Line, scaling_fit
from trainer.evaluate.page_parts import short
from trainer.evaluate.probe import main_score
from trainer.evaluate.prompting import add_prompt_flags, prompting_of
from trainer.evaluate.row_files import read_rows
from trainer.evaluate.zero_shot import zero_shot
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.report import Section, render

SMALLEST_ERROR = 1e-4  # an error of zero has no logarithm
NAMED = 10  # sets that the figure names


def training_flops(encoder: Encoder, path: str) -> float:
    """Floating-point operations that went into a checkpoint: three forward passes for each pair it saw.

    Raises:
      UserError: where the checkpoint does not say how many pairs that were.
    """
    metadata = encoder.loaded.metadata
    try:
        pairs = int(metadata["step"]) * int(metadata["config"]["batch_size"])
    except (KeyError, TypeError, ValueError):
        pairs = 0
    if pairs <= 0:
        raise UserError("this checkpoint does not say how long it was trained", where=path, fix="give --compute FILE")
    return step_flops(encoder.model, pairs)


def read_compute(path: str, checkpoints: Sequence[str]) -> dict[str, float]:
    """Compute of each checkpoint, in any one unit, from CSV or Parquet with columns checkpoint, compute.

    Raises:
      UserError: where a checkpoint is missing or a number is not above zero.
    """
    fix = "CSV or Parquet with columns checkpoint, compute"
    rows, _ = read_rows(path, (), fix)
    try:
        known = {row["checkpoint"]: float(row["compute"]) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError("not a table of compute", where=path, fix=fix) from error
    for checkpoint in checkpoints:
        if not 0 < known.get(checkpoint, 0) < math.inf:
            raise UserError(f"no compute above zero for {checkpoint}", where=path, fix="one row for each --checkpoint, named as there")
    return {checkpoint: known[checkpoint] for checkpoint in checkpoints}


def fit_sets(compute: np.ndarray, errors: dict[str, np.ndarray]) -> dict[str, Any]:
    """ln(error) = slope · ln(compute) + intercept for each set and for the mean error over sets.

    Args:
      compute: float [m], of m checkpoints.
      errors: by set, 1 − accuracy, float [m].
    """
    lines = {name: scaling_fit(compute, np.maximum(values, SMALLEST_ERROR))._asdict() for name, values in errors.items()}
    mean = np.mean(list(errors.values()), axis=0)
    return {"sets": lines, "mean": {**scaling_fit(compute, np.maximum(mean, SMALLEST_ERROR))._asdict(), "errors": mean.tolist()}}


def set_errors(points: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """1 − accuracy by set, float [m], of m checkpoints."""
    return {name: np.array([1 - main_score(point["sets"][name]) for point in points]) for name in points[0]["sets"]}


def sections(found: Mapping[str, Any]) -> list[Section]:
    """The page's part: every set's points, the mean's with its line, on logarithmic axes, and the numbers in a table."""
    points, fits, unit, errors = found["points"], found["fits"], found["unit"], set_errors(found["points"])
    names, compute = [point["checkpoint"] for point in points], np.array([point["compute"] for point in points])
    section = Section(
        "Error against compute",
        f"Zero-shot error of {len(names)} checkpoints on {len(errors)} evaluation sets; the slope is the power of compute. The steeper"
        " a line falls, the more a set gains from compute.",
    )
    mean = np.array(fits["mean"]["errors"])

    def draw(figure: Any) -> None:
        from matplotlib.ticker import LogLocator

        axes = figure.subplots()
        ends = np.array([compute.min(), compute.max()])
        for name, values in errors.items():
            label = short(name) if len(errors) <= NAMED else None
            axes.plot(compute, 100 * np.maximum(values, SMALLEST_ERROR), "o", alpha=0.5, markersize=4, label=label)
        line = Line(fits["mean"]["slope"], fits["mean"]["intercept"], fits["mean"]["r_squared"])
        axes.plot(compute, 100 * np.maximum(mean, SMALLEST_ERROR), "s", color="#1c2530", label="mean over sets")
        axes.plot(ends, 100 * np.exp(line.at(np.log(ends))), color="#1c2530", label=f"slope {line.slope:.3f}, R² {line.r_squared:.2f}")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(f"compute ({unit})")
        axes.set_ylabel("error, per cent")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)

    section.plot(draw, alt="Zero-shot error against compute, both logarithmic")
    order = np.argsort(compute, kind="stable")
    section.table(
        ["checkpoint", f"compute ({unit})", "mean error, per cent"],
        [[names[place], f"{compute[place]:.3e}", round(100 * mean[place], 2)] for place in order],
    )
    rows = [[name, line["slope"], line["r_squared"]] for name, line in sorted(fits["sets"].items(), key=lambda item: item[1]["slope"])]
    section.table(["set", "slope", "R²"], rows)
    return [section]


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "scaling",
        "Classify sets with several checkpoints and fit error against compute on logarithmic axes; writes metrics.json and a page.",
        "trainer scaling --checkpoints small.safetensors large.safetensors --eval cifar10=sets/cifar10 --templates single --output results",
    )
    shared.add_model_flags(made, many=True)
    shared.add_set_flag(made)
    add_prompt_flags(made)
    made.add_argument("--compute", default="", metavar="CSV", help="checkpoint,compute in any unit (default: training FLOPs as they say)")
    flags = made.parse_args(arguments)

    if len(set(flags.checkpoints)) < 2:
        raise UserError("a line needs at least two checkpoints", where="--checkpoints")
    sets = shared.sets_of(flags)
    prompting = prompting_of(flags, sets)
    given = read_compute(flags.compute, flags.checkpoints) if flags.compute else {}
    names = [path.rstrip("/").rsplit("/", 1)[-1] for path in flags.checkpoints]
    digests, compute, accuracies = [], [], []
    for path in flags.checkpoints:
        encoder = shared.encoder_of(flags, path)
        digests.append(encoder.digest)
        compute.append(given.get(path) or training_flops(encoder, path))
        found = {}
        for opened in sets:
            features = labelled(opened, extract(encoder, opened, "test", flags.cache, flags.threads), "test", allow_empty=True)
            class_names = prompting.class_names[opened.name]
            metrics = zero_shot(encoder, opened, class_names, prompting.templates(opened), features, flags.cache).metrics
            found[opened.name] = {**metrics, "skipped": features.skipped}
        accuracies.append(found)
        points = ", ".join(f"{name} {100 * main_score(value):.2f}%" for name, value in found.items())
        print(f"{path}: compute {compute[-1]:.3g}, {points}")
    if len(set(compute)) < 2:
        raise UserError("all checkpoints have the same compute", where="--checkpoints", fix="give some that are larger or saw more")
    inputs = {"sets": {opened.name: opened.fingerprint() for opened in sets}, "checkpoints": digests}
    output = shared.open_output(flags, "scaling", {**prompting.parameters(sets), "compute": compute, "names": names}, inputs)
    if output is None:
        return 0
    points = [{"checkpoint": name, "compute": value, "sets": found} for name, value, found in zip(names, compute, accuracies)]
    fits = fit_sets(np.array(compute), set_errors(points))
    found = {"points": points, "fits": fits, "unit": "as given" if flags.compute else "training FLOPs"}
    files.write_json(output.file("metrics.json"), found)
    files.write_bytes(output.file("report.html"), render("Scaling", sections(found)))
    print(f"mean over sets: error ∝ compute^{fits['mean']['slope']:.3f}")
    output.finish({"checkpoints": len(names), "sets": len(sets)}, {})
    return 0
