"""Flags that say how each set's classes are put into prompts, checked before anything is computed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.evaluate import flags as shared
from trainer.evaluate import prompts
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet


def check_classes(opened: EvaluationSet, class_names: Sequence[str]) -> None:
    """Raises UserError where a set's classes cannot be told apart by any prompt."""
    if not class_names:
        raise UserError(f"the evaluation set {opened.name} names no classes", where=opened.path, fix="add classnames.txt, one class a line")
    if len(class_names) == 1:
        raise UserError(f"{opened.name} has one class only, {class_names[0]!r}: there is nothing to tell apart", where=opened.path)


def add_prompt_flags(made: argparse.ArgumentParser) -> None:
    """Flags that say what the prompts are."""
    made.add_argument(
        "--templates",
        default=prompts.OF_THE_SET,
        choices=[prompts.OF_THE_SET, *prompts.NAMED],
        help="the set's file, the bare class name, 'a photo of a {}.', or an ensemble of 80 (default: set)",
    )
    made.add_argument("--template", action="append", default=[], metavar="TEXT", help="your own, with {} for the class; repeat to average")
    made.add_argument("--kind", action="append", default=[], metavar="SET=KIND", help="adds ', a type of KIND' to a set's templates")
    made.add_argument("--quoted", action="append", default=[], metavar="SET", help="quotation marks around a set's class names (OCR)")
    made.add_argument("--class-names", action="append", default=[], metavar="SET=FILE", help="CLASS<tab>NAME: names with context")
    made.add_argument("--allow-empty-classes", action="store_true", help="go on where a class has no image")


@dataclass(frozen=True)
class Prompting:
    """How each set's classes are put into prompts."""

    choice: str
    own: tuple[str, ...]
    kinds: dict[str, str]
    quoted: tuple[str, ...]
    class_names: dict[str, tuple[str, ...]]

    def templates(self, opened: EvaluationSet, choice: str = "") -> list[str]:
        """Templates for a set, by the flags or by another named choice. Raises UserError where it has no template file."""
        choice = choice or self.choice
        chosen = list(self.own if choice == "own" else prompts.templates_of(opened, choice))
        if opened.name in self.quoted:
            chosen = prompts.quoted(chosen)
        return prompts.with_kind(chosen, self.kinds[opened.name]) if opened.name in self.kinds else chosen

    def parameters(self, sets: Sequence[EvaluationSet]) -> dict[str, dict[str, list[str]]]:
        """Templates and class names by set, for a manifest."""
        return {
            "templates": {opened.name: self.templates(opened) for opened in sets},
            "class_names": {opened.name: list(self.class_names[opened.name]) for opened in sets},
        }


def prompting_of(flags: argparse.Namespace, sets: Sequence[EvaluationSet]) -> Prompting:
    """Prompts as the flags say; every set's classes and templates are checked before anything is computed.

    Raises:
      UserError: where a set has fewer than two classes, no template file, or names in a file match no class.
    """
    prompts.check_templates(flags.template, "class")
    names = {opened.name for opened in sets}
    for name in flags.quoted:
        if name not in names:
            raise UserError(f"no set {name!r} among {', '.join(sorted(names))}", where="--quoted")
    class_name_files = shared.by_set(flags.class_names, "--class-names", sets)
    class_names = {
        opened.name: prompts.class_names_with_context(opened.class_names, class_name_files[opened.name])
        if opened.name in class_name_files
        else opened.class_names
        for opened in sets
    }
    made = Prompting(
        "own" if flags.template else flags.templates,
        tuple(flags.template),
        shared.by_set(flags.kind, "--kind", sets),
        tuple(flags.quoted),
        class_names,
    )
    for opened in sets:
        check_classes(opened, class_names[opened.name])
        made.templates(opened)
    return made
