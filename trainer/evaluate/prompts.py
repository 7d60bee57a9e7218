"""Prompts: named template sets, what goes into them, and class names with context."""

from __future__ import annotations

from collections.abc import Sequence

from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet
from wit_builder.text import clean

BARE = ("{}",)
SINGLE = ("a photo of a {}.",)  # the paper's default: +1.3 points on ImageNet over the bare name

_LOOKS = (
    "blurry", "sharp", "dim", "sunlit", "grainy", "faded", "colourful", "grey", "tilted", "cluttered", "plain", "distant",
    "close", "cropped", "small", "huge", "tidy", "odd", "beautiful", "ugly", "old", "recent", "hidden", "complete",
)  # fmt: skip
_MEDIA = (
    "photo", "snapshot", "portrait", "drawing", "pencil sketch", "oil painting", "cartoon", "sculpture", "toy", "print",
    "poster", "stitched patch", "tattoo", "wall painting", "computer image", "paper model",
)  # fmt: skip
# 80 prompts over looks and media, in the manner of the paper's ImageNet ensemble (+3.5 points over the default).
ENSEMBLE = tuple(
    [f"a {look} photo of {article} {{}}." for look in _LOOKS for article in ("a", "the")]
    + [f"a {medium} of {article} {{}}." for medium in _MEDIA for article in ("a", "the")]
)

NAMED = {"bare": BARE, "single": SINGLE, "ensemble": ENSEMBLE}
OF_THE_SET = "set"


def check_templates(templates: Sequence[str], what: str) -> None:
    """Raises UserError where a template has no `{}`, the place of `what`."""
    for template in templates:
        if "{}" not in template:
            raise UserError(f"{template!r} has no {{}} for the {what}", where="--template", fix="for instance 'a photo of a {}.'")


def with_kind(templates: Sequence[str], kind: str) -> list[str]:
    """Templates that also name the kind of thing: "a photo of a {}, a type of pet."."""
    return [f"{template.removesuffix('.')}, a type of {kind}." for template in templates]


def quoted(templates: Sequence[str]) -> list[str]:
    """Templates with quotation marks around the class, for sets whose classes are written texts."""
    return [template.replace("{}", '"{}"') for template in templates]


def templates_of(evaluation_set: EvaluationSet, choice: str) -> tuple[str, ...]:
    """Templates by name: those of the set's file (`set`), or `bare`, `single`, `ensemble`.

    Raises:
      UserError: where the set has no template file.
    """
    if choice != OF_THE_SET:
        return NAMED[choice]
    if not evaluation_set.templates:
        raise UserError(
            f"the evaluation set {evaluation_set.name} has no zeroshot_classification_templates.txt",
            where=evaluation_set.path,
            fix="give --templates single, --templates ensemble, or --template 'a photo of a {}.'",
        )
    return evaluation_set.templates


def class_names_with_context(class_names: Sequence[str], path: str) -> tuple[str, ...]:
    """Class names, some replaced from a file of lines `CLASS<tab>NAME`: crane<tab>construction crane.

    CLASS is a class number, or a name that only one class has.

    Raises:
      UserError: where a line is malformed, or names no class or several.
    """
    names = list(class_names)
    for number, line in enumerate(files.read_bytes(path).decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        old, tab, new = line.partition("\t")
        old, new = clean(old), clean(new)
        where = f"{path}, line {number}"
        if not tab or not old or not new:
            raise UserError("not CLASS<tab>NAME", where=where, fix="for instance: crane<tab>construction crane")
        found = [label for label, name in enumerate(class_names) if name == old]
        if not found and old.isascii() and old.isdigit() and int(old) < len(names):
            found = [int(old)]
        if len(found) != 1:
            what = f"{len(found)} classes are called {old!r}" if found else f"no class {old!r} in the evaluation set"
            raise UserError(what, where=where, fix="give the class number instead" if found else "check it against classnames.txt")
        names[found[0]] = new
    return tuple(names)


def repeated_names(class_names: Sequence[str]) -> list[str]:
    """Names that several classes share, which no prompt can tell apart; sorted."""
    return sorted({name for name in class_names if class_names.count(name) > 1}) if len(set(class_names)) < len(class_names) else []
