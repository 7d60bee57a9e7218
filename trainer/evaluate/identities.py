"""`trainer identities`: naming people among more and more names, zero-shot (the paper's table 8 on CelebA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.evaluate import flags as shared
from trainer.evaluate.choices import first_names
from trainer.evaluate.classifier import zero_shot_classifier
from trainer.evaluate.features import Features, extract, labelled
from trainer.evaluate.page_parts import percent, short, with_interval
from trainer.evaluate.prompting import add_prompt_flags, prompting_of
from trainer.evaluate.scoring import Linear, evaluate_single
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.flags import DRAWS, POSITIVE
from wit_builder.report import Section, render

SIZES = (100, 1000, 2000)


def among(features: Features, linear: Linear, chosen: np.ndarray) -> dict[str, Any] | None:
    """Rates with only some of the names on offer, over the images of these people; None where there is none.

    Args:
      features: n images with one label each.
      linear: classifier of all names.
      chosen: class numbers of those on offer, ascending, int [k].
    """
    kept = np.flatnonzero(np.isin(features.labels, chosen))
    if not len(kept):
        return None
    labels = np.searchsorted(chosen, features.labels[kept])
    found, _, _ = evaluate_single(features.embedding.take(kept), Linear(linear.weight[chosen]), labels)
    return found


def sections(found: Mapping[str, Any]) -> list[Section]:
    """The page's part: rates by set and number of names."""
    section = Section("Identities", "Zero-shot top-1 with so many names on offer, over the pictures of these people.")

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for name, one in found["sets"].items():
            sizes = sorted(map(int, one))
            axes.plot(sizes, [100 * one[str(size)]["mean"] for size in sizes], "o-", label=short(name))
            axes.plot(sizes, [100 / size for size in sizes], "--", color="#9aa5b1", linewidth=1)
        axes.set_xscale("log")
        axes.set_xticks(every := sorted({int(size) for one in found["sets"].values() for size in one}), [f"{size:,}" for size in every])
        axes.minorticks_off()  # labels of its own would stand among these
        axes.set_ylim(0, 102)
        axes.set_xlabel("names on offer (dashed: chance)")
        axes.set_ylabel("top-1 accuracy, per cent")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))

    section.plot(draw, alt="Accuracy by the number of names on offer")
    section.table(
        ["set", "names", "draw", "pictures", "top-1", "low", "high", "top-5"],
        [
            [
                name, int(size), draw, run["examples"], *with_interval(run["top1"]),
                percent(run["top5"]["value"]) if "top5" in run else None,
            ]
            for name, one in found["sets"].items()
            for size in sorted(one, key=int)
            for draw, run in enumerate(one[size]["draws"], 1)
        ],
    )  # fmt: skip
    return [section]


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "identities",
        "Name people zero-shot among 100, 1,000 and 2,000 names, fewer a subset of more; writes metrics.json and a page.",
        "trainer identities --checkpoint model.safetensors --eval celeba=sets/celeba --template 'a photo of {}.' --output results",
    )
    shared.add_model_flags(made)
    shared.add_set_flag(made)
    add_prompt_flags(made)
    made.add_argument("--sizes", type=POSITIVE, nargs="+", default=list(SIZES), metavar="N", help="names on offer (100 1000 2000)")
    made.add_argument("--draws", type=DRAWS, default=1, metavar="N", help="draws of the names, averaged (default: 1)")
    flags = made.parse_args(arguments)

    sets, sizes = shared.sets_of(flags), sorted(set(flags.sizes))
    prompting = prompting_of(flags, sets)
    for opened in sets:
        if sizes[0] < 2 or sizes[-1] > len(opened.class_names):
            wrong = sizes[0] if sizes[0] < 2 else sizes[-1]
            raise UserError(f"{opened.name} has {len(opened.class_names)} names, not {wrong} to choose from", where="--sizes")
    encoder = shared.encoder_of(flags)
    parameters = {**prompting.parameters(sets), "sizes": sizes, "draws": flags.draws}
    inputs = {"sets": {opened.name: opened.fingerprint() for opened in sets}}
    output = shared.open_output(flags, "identities", parameters, inputs, encoder)
    if output is None:
        return 0

    report: dict[str, Any] = {}
    counts, drops = {}, {}
    for opened in sets:
        features = labelled(opened, extract(encoder, opened, "test", flags.cache, flags.threads), "test", allow_empty=True)
        if features.several:
            raise UserError(f"images of {opened.name} have several labels", where=opened.path, fix="give a set with one name an image")
        names = prompting.class_names[opened.name]
        linear = Linear(zero_shot_classifier(encoder, names, prompting.templates(opened), flags.cache, f"{opened.name}: prompts"))
        report[opened.name] = {}
        for size in sizes:
            found = [among(features, linear, first_names(names, size, seed)) for seed in range(flags.draws)]
            draws = [one for one in found if one]
            if draws:
                mean = float(np.mean([one["top1"]["value"] for one in draws]))
                report[opened.name][str(size)] = {"mean": mean, "draws": draws}
                print(f"{opened.name}, {size} names: top-1 {100 * mean:.2f}%, {draws[0]['examples']} pictures")
        counts[opened.name] = len(features)
        drops.update({f"{opened.name}: {reason}": count for reason, count in features.skipped["counts"].items()})
    found = {"sets": report}
    files.write_json(output.file("metrics.json"), found)
    files.write_bytes(output.file("report.html"), render("Identities", sections(found), "Numbers are per cent."))
    output.finish(counts, drops)
    return 0
