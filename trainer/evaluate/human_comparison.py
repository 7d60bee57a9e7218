"""`trainer human-comparison`: people's answers on an evaluation set beside the model's (the paper's section 4, tables 2 and figure 16)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.evaluate import flags as shared
from trainer.evaluate.features import extract, labelled
from trainer.evaluate.page_parts import percent, with_interval
from trainer.evaluate.people import NOT_ASKED, UNKNOWN, agreement, by_class, compare
from trainer.evaluate.prompting import add_prompt_flags, prompting_of
from trainer.evaluate.row_files import read_rows
from trainer.evaluate.zero_shot import zero_shot
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet
from wit_builder.outputs import sha256_of
from wit_builder.report import Section, render
from wit_builder.text import clean

COLUMNS = ("person", "eval_key", "answer")
DO_NOT_KNOW = ("", "?", "i don't know", "i don’t know", "don't know", "unknown")
Answers = dict[str, dict[str, dict[str, int]]]  # shots → person → eval_key → answer


def read_answers(path: str, class_names: Sequence[str]) -> Answers:
    """Answers from CSV or Parquet with person, eval_key, answer and perhaps shots: how many pictures of each class had been shown (0).

    An answer is a class's name or number; empty, `?` or "I don't know" is none.

    Raises:
      UserError: where an answer is no class, or one person answers twice.
    """
    rows, names = read_rows(path, COLUMNS, "columns: person, eval_key, answer, and perhaps shots")
    known = {str(label): label for label in range(len(class_names))}
    known |= {clean(name).casefold(): label for label, name in enumerate(class_names) if class_names.count(name) == 1}
    known |= dict.fromkeys(DO_NOT_KNOW, UNKNOWN)
    found: Answers = {}
    for number, row in enumerate(rows, 2):
        text = clean(str("" if row["answer"] is None else row["answer"])).casefold()
        person, key, shots = (str(row.get(name) or default) for name, default in (("person", ""), ("eval_key", ""), ("shots", "0")))
        where = f"{path}, line {number}"
        if text not in known:
            raise UserError(f"{text!r} is no class", where=where, fix="a name or number of classnames.txt, or I don't know")
        answers = found.setdefault(shots, {}).setdefault(person, {})
        if not person or key in answers:
            what = f"{person!r} answers {key!r} twice" if person else "no person"
            raise UserError(what, where=where, fix="one row for each person, picture and number of shots")
        answers[key] = known[text]
    if not found:
        raise UserError("no answer in it", where=path)
    return found


def against_model(
    answers: Answers, class_names: Sequence[str], keys: Sequence[str], labels: np.ndarray, model: np.ndarray
) -> dict[str, Any]:
    """What metrics.json holds: `people.compare` for each number of shots, difficulty by class, and whether it agrees.

    Args:
      answers: by shots, person and eval_key.
      class_names: by label.
      keys: eval_key of each image, n of them.
      labels: int [n].
      model: the model's classes, int [n].
    """
    place = {key: index for index, key in enumerate(keys)}
    shots, difficulty = {}, {}
    for count in sorted(answers, key=lambda text: (len(text), text)):
        people = sorted(answers[count])
        table = np.full((len(people), len(keys)), NOT_ASKED)
        for row, person in enumerate(people):
            for key, answer in answers[count][person].items():
                if key in place:
                    table[row, place[key]] = answer
        if not (table >= UNKNOWN).any():
            continue
        shots[count] = compare(people, table, labels, model, keys)
        difficulty[count] = by_class(table, labels, model, len(class_names))
        shots[count]["agreement"] = agreement(*difficulty[count])

    def number(value: float) -> float | None:
        return None if np.isnan(value) else float(value)

    classes = [
        {
            "class": name,
            "people": {count: number(people[label]) for count, (people, _) in difficulty.items()},
            "model": {count: number(model_share[label]) for count, (_, model_share) in difficulty.items()},
        }
        for label, name in enumerate(class_names)
    ]
    return {"shots": shots, "classes": classes}


def sections(found: Mapping[str, Any]) -> list[Section]:
    """The page's part: the paper's table, a plot of difficulty by class, and the classes that are hardest for people."""
    name = found["set"]
    section = Section(
        f"People and the model on {name}",
        "Shots are pictures of each class that people had seen. A majority vote counts one answer an image; on guesses,"
        " “I don't know” does not count. The model answers the same images zero-shot.",
    )
    section.table(
        [
            "shots", "people", "images", "“I don't know”", "accuracy", "majority vote", "on guesses", "majority of guesses", "model",
            "low", "high", "model where guessed",
        ],
        [
            [
                count, one["people"], one["images"], percent(one["unknown"]), percent(one["accuracy"]),
                percent(one["majority"]["value"]), percent(one["accuracy_on_guesses"]),
                percent((one["majority_on_guesses"] or {}).get("value")), *with_interval(one["model"]),
                percent((one["model_on_guesses"] or {}).get("value")),
            ]
            for count, one in found["shots"].items()
        ],
    )  # fmt: skip
    section.table(
        ["shots", "person", "accuracy", "low", "high", "on guesses", "answers"],
        [
            [
                count, person, *with_interval(one["all"]), percent((one["guesses"] or {}).get("value")), one["all"]["total"],
            ]
            for count, shots in found["shots"].items()
            for person, one in shots["by_person"].items()
            if one["all"]
        ],
    )  # fmt: skip
    return [section, _difficulty(found)]


def _difficulty(found: Mapping[str, Any]) -> Section:
    counts = list(found["shots"])
    parts = []
    for count in counts:
        linear = found["shots"][count]["agreement"]["pearson"]
        if linear is not None:
            parts.append(f"{count}-shot r = {linear:.2f}, ranks {found['shots'][count]['agreement']['spearman']:.2f}")
    section = Section("Difficulty by class", f"Correlation of people with the model over classes: {'; '.join(parts)}." if parts else "")

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for count in counts:
            points = [(one["people"][count], one["model"][count]) for one in found["classes"] if one["people"][count] is not None]
            axes.plot([100 * x for x, _ in points], [100 * y for _, y in points], "o", alpha=0.7, label=f"{count}-shot")
        axes.plot([0, 100], [0, 100], color="#9aa5b1", linewidth=1)
        axes.set_xlim(-2, 102)
        axes.set_ylim(-2, 102)
        axes.set_xlabel("people, per cent right")
        axes.set_ylabel("model, per cent right")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))

    section.plot(draw, alt="Accuracy of people and of the model on each class")
    first = counts[0]
    ordered = sorted((one for one in found["classes"] if one["people"][first] is not None), key=lambda one: one["people"][first])
    section.table(
        ["class", *(f"people, {count}-shot" for count in counts), "model"],
        [[one["class"], *(percent(one["people"][count]) for count in counts), percent(one["model"][first])] for one in ordered[:30]],
    )
    return section


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "human-comparison",
        "Compare people's answers on a set with the model's: accuracy, majority votes, guesses only, difficulty by class; writes"
        " metrics.json and a page.",
        "trainer human-comparison --checkpoint model.safetensors --eval pets=sets/pets --answers answers.csv --output results",
    )
    shared.add_model_flags(made)
    shared.add_set_flag(made)
    add_prompt_flags(made)
    made.add_argument("--answers", required=True, metavar="FILE", help="CSV or Parquet: person, eval_key, answer, and perhaps shots")
    shared.add_split_flag(made)
    flags = made.parse_args(arguments)

    sets = shared.sets_of(flags)
    if len(sets) > 1:
        raise UserError("people answered one set", where="--eval", fix="give one, and run once for each")
    (opened,) = sets
    prompting = prompting_of(flags, sets)
    answers = read_answers(flags.answers, opened.class_names)
    encoder = shared.encoder_of(flags)
    parameters = {**prompting.parameters(sets), "split": flags.split}
    inputs = {"sets": {opened.name: opened.fingerprint(flags.split)}, "answers": sha256_of(flags.answers)}
    output = shared.open_output(flags, "human-comparison", parameters, inputs, encoder)
    if output is None:
        return 0

    features = labelled(opened, extract(encoder, opened, flags.split, flags.cache, flags.threads), flags.split, allow_empty=True)
    if features.several:
        raise UserError(f"images of {opened.name} have several labels", where=opened.path, fix="give a set with one label an image")
    result = zero_shot(encoder, opened, prompting.class_names[opened.name], prompting.templates(opened), features, flags.cache)
    keys = features.rows["eval_key"].to_pylist()
    unusable = unknown_keys(answers, keys, opened, flags.answers)
    found = against_model(answers, opened.class_names, keys, features.labels, result.predictions["predicted"].to_numpy())
    found |= {"set": opened.name, "answers_on_other_keys": unusable, "skipped": features.skipped}
    files.write_json(output.file("metrics.json"), found)
    files.write_bytes(output.file("report.html"), render("People and the model", sections(found), "Numbers are per cent."))
    for count, one in found["shots"].items():
        vote = one["majority"]["value"]
        line = f"{count}-shot: people {100 * one['accuracy']:.2f}%, majority {100 * vote:.2f}%, model {100 * one['model']['value']:.2f}%"
        print(line + f"; {one['people']} people, {one['images']} images")
    output.finish({"people": len({person for people in answers.values() for person in people})}, {"answers on other keys": unusable})
    return 0


def unknown_keys(answers: Answers, keys: Sequence[str], opened: EvaluationSet, path: str) -> int:
    """How many answers are on keys of no usable image. Raises UserError where all are."""
    known = set(keys)
    given = [key for people in answers.values() for answered in people.values() for key in answered]
    missing = [key for key in given if key not in known]
    if len(missing) == len(given):
        raise UserError(f"no eval_key of {opened.name} is answered (the set has {keys[0]!r}, the answers {given[0]!r})", where=path)
    return len(missing)
