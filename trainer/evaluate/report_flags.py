"""What the flags of `trainer report` bring to its page beside the checkpoint: suites, other models, results of other commands."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from trainer.evaluate.encoder import choose_device
from trainer.evaluate.given_features import GivenFeatures
from trainer.evaluate.suites import ALL, SUITES
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet
from wit_builder.outputs import MANIFEST
from wit_builder.report import Section

# Commands whose results may join the page: module with `sections(metrics)`, by the manifest's stage.
JOINING = {
    "robustness": "trainer.evaluate.robustness_page",
    "human-comparison": "trainer.evaluate.human_comparison",
    "bias-probe": "trainer.evaluate.bias_page",
    "attributes": "trainer.evaluate.attributes",
    "surveillance": "trainer.evaluate.surveillance",
    "identities": "trainer.evaluate.identities",
    "geolocation": "trainer.evaluate.geolocation",
    "typographic": "trainer.evaluate.typographic_page",
    "scaling": "trainer.evaluate.scaling",
    "visualize": "trainer.evaluate.visualize",
}
WITH_PICTURES = ("visualize",)  # their `sections` take the output folder too


def read_suites(values: Sequence[str], sets: Sequence[EvaluationSet]) -> dict[str, list[tuple[str, ...]]]:
    """Suites of `--suite NAME=SET,SET…`, beside the paper's.

    Raises:
      UserError: where a value is not that, or names no set of the folder.
    """
    names = [opened.name for opened in sets]
    found = {}
    for text in values:
        name, equals, listed = text.partition("=")
        if not equals or not name or name == ALL:
            raise UserError(f"{text!r} is not NAME=SET,SET…", where="--suite")
        unknown = [one for one in listed.split(",") if one not in names]
        if unknown:
            raise UserError(f"no set {unknown[0]!r} among {', '.join(names)}", where="--suite")
        found[name] = [(one,) for one in listed.split(",")]
    return {**SUITES, **found}


def read_flops(values: Sequence[str], models: Collection[str]) -> dict[str, float]:
    """Floating-point operations by model, of `--flops MODEL=NUMBER`. Raises UserError where a value is not that."""
    found = {}
    for text in values:
        name, _, number = text.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = 0.0
        if name not in models or not 0 < found[name] < float("inf"):
            raise UserError(f"{text!r} is not MODEL=NUMBER with one of {', '.join(models) or 'the models of --features'}", where="--flops")
    return found


def other_models(values: Sequence[str], own: str, sets: Sequence[EvaluationSet], device: str) -> dict[str, GivenFeatures]:
    """Features of other models, of `--features NAME=PATH …`: for each set that has a file.

    Raises:
      UserError: where a value is not that, a name is used twice, or there is no file for any set.
    """
    found: dict[str, GivenFeatures] = {}
    for text in values:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise UserError(f"{text!r} is not NAME=PATH", where="--features", fix="for instance resnet50=features/resnet50")
        if name in found or name == own:
            raise UserError(f"the model {name!r} is there twice", where="--features", fix="give each a name of its own")
        with_file = [opened for opened in sets if files.exists(files.join(path, f"{opened.name}.parquet"))]
        found[name] = GivenFeatures.find(path, with_file or list(sets), choose_device(device))
    return found


def included(paths: Sequence[str], checkpoint: str) -> list[dict[str, Any]]:
    """Results of other commands, of `--include DIR …`: stage and metrics of each.

    Args:
      paths: their output folders.
      checkpoint: digest of the report's own.

    Raises:
      UserError: where a folder is not whole, of no command that can join, or of another checkpoint.
    """
    found = []
    for path in paths:
        if not files.exists(files.join(path, MANIFEST)):
            raise UserError("no manifest.json in this folder, so its output is not whole", where=path, fix="run its command to the end")
        manifest = files.read_object(files.join(path, MANIFEST))
        stage = manifest.get("stage")
        if stage not in JOINING:
            raise UserError(f"results of {stage} do not join a report", where=path, fix=f"those of {', '.join(JOINING)} do")
        if checkpoint not in (manifest["inputs"].get("checkpoint"), *manifest["inputs"].get("checkpoints", ())):
            raise UserError("these results are another checkpoint's", where=path, fix="run the command with the report's")
        found.append({"stage": stage, "metrics": files.read_json(files.join(path, "metrics.json"))})
    return found


def included_sections(found: Sequence[Mapping[str, Any]], folders: Sequence[str]) -> list[Section]:
    """The page's part of each of these results, whose output folders are given in the same order."""
    made = []
    for one, folder in zip(found, folders, strict=True):
        module = importlib.import_module(JOINING[one["stage"]])
        made += module.sections(one["metrics"], *[folder] * (one["stage"] in WITH_PICTURES))
    return made
