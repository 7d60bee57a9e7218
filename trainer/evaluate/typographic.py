"""`trainer typographic`: another class's name written on each picture (the attack of Goh et al., 2021, "Multimodal Neurons")."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from learning.images import crop_resized, decode
from trainer.evaluate import flags as shared
from trainer.evaluate.attacks import NONE, Attack, first_by_hash, shuffled, written_classes
from trainer.evaluate.classifier import zero_shot_classifier
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.features import extract, labelled, prepared
from trainer.evaluate.lettering import PLACES, font_of, letter, seen_square
from trainer.evaluate.page_parts import percent
from trainer.evaluate.prompting import Prompting, add_prompt_flags, prompting_of
from trainer.evaluate.scoring import Linear, evaluate_single
from trainer.evaluate.typographic_page import gallery, sections
from wit_builder import files, tables
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet, Example, Skipped
from wit_builder.flags import NOT_NEGATIVE, SEED, SHARE
from wit_builder.outputs import sha256_of
from wit_builder.parallel import available_cores
from wit_builder.progress import progress
from wit_builder.report import render

Writer = Callable[..., list[Image.Image]]
SIZES = (0.08, 0.16, 0.24)
ON_PLACES = ("top", "middle", "bottom")


def predictions(
    encoder: Encoder,
    opened: EvaluationSet,
    split: str,
    texts: Mapping[str, Sequence[str]],
    write: Writer,
    each: int,
    linear: Linear,
    threads: int,
) -> dict[str, np.ndarray]:
    """Predicted classes of pictures with words on them, by eval_key: int [each].

    Args:
      encoder: the model.
      opened: the set.
      split: of it.
      texts: by eval_key what to write, the same number for each; other pictures are left out.
      write: of a square picture and a text, a picture for each way.
      each: texts · ways, copies that are made of a picture.
      linear: the zero-shot classifier.
      threads: that decode and write.
    """
    size, at_a_time = encoder.image_size, encoder.batch_size

    def classes_of(pixels: np.ndarray) -> np.ndarray:
        chunks = (pixels[start : start + at_a_time] for start in range(0, len(pixels), at_a_time))
        return np.concatenate([linear(encoder.embed_images(chunk)[1]).argmax(axis=1) for chunk in chunks])

    def prepare(example: Example) -> np.ndarray:  # uint8 [each, s, s, 3]
        square = seen_square(decode(example.image), size)
        return np.stack([crop_resized(made, size) for text in texts[example.eval_key] for made in write(square, text)])

    found = {}
    made = prepared((example for example in opened.examples(split) if example.eval_key in texts), prepare, Skipped(), threads)
    with progress(f"{opened.name}: attacked images", len(texts), "image") as line:
        while batch := list(itertools.islice(made, max(1, at_a_time // each))):
            classes = classes_of(np.concatenate([pixels for _, pixels in batch])).reshape(len(batch), each)
            found.update((example.eval_key, row) for (example, _), row in zip(batch, classes))
            line.update(len(batch))
    return found


def attack_set(encoder: Encoder, opened: EvaluationSet, prompting: Prompting, target: int, flags: Any) -> Attack:
    """Write on a set's pictures, and classify them.

    Raises:
      UserError: where images have several labels, or there is no name to write.
    """
    names = prompting.class_names[opened.name]
    features = labelled(opened, extract(encoder, opened, flags.split, flags.cache, flags.threads), flags.split, allow_empty=True)
    if features.several:
        raise UserError(f"images of {opened.name} have several labels", where=opened.path, fix="give a set with one label an image")
    features = features.middle_frames()
    keys = features.rows["eval_key"].to_pylist()
    written = written_classes(keys, features.labels, names, flags.seed, target)
    possible = written != NONE
    if not possible.any():
        raise UserError(f"on no image of {opened.name} another class's name can be written", where=opened.path)
    chosen = possible & first_by_hash(keys, possible, flags.images, flags.seed)
    for kept, reason in ((possible, "no other name to write"), (chosen[possible], "not among --images")):
        features = features if kept.all() else features.select(kept, reason)
    written, keys, labels = written[chosen], features.rows["eval_key"].to_pylist(), features.labels
    linear = Linear(zero_shot_classifier(encoder, names, prompting.templates(opened), flags.cache, f"{opened.name}: prompts"))
    _, before, _ = evaluate_single(features.embedding, linear, labels)

    ways = list(itertools.product(dict.fromkeys(flags.sizes), dict.fromkeys(flags.places)))

    def write(square: Image.Image, text: str, column: int | None = None) -> list[Image.Image]:
        some = ways if column is None else [ways[column]]
        return [letter(square, text, size, place, box=flags.box, font=flags.font) for size, place in some]

    texts = {key: [names[label]] for key, label in zip(keys, written.tolist())}
    if flags.control:
        texts = {key: [text, shuffled(text, flags.seed)] for key, (text,) in texts.items()}
    each = len(ways) * (2 if flags.control else 1)
    found = predictions(encoder, opened, flags.split, texts, write, each, linear, flags.threads or available_cores())
    after = np.stack([found[key] for key in keys]).reshape(len(keys), -1, len(ways))  # [n, texts, ways]
    control = after[:, 1] if flags.control else None
    return Attack(opened, names, keys, labels, written, before, after[:, 0], control, ways, features.skipped, write)


def parser() -> Any:
    """The command's flags."""
    made = shared.command_parser(
        "typographic",
        "Write another class's name on each picture, in several sizes and places, and classify zero-shot: accuracy before and after, and"
        " how often the written class is seen; writes attacks-*.parquet, metrics.json and a page.",
        "trainer typographic --checkpoint model.safetensors --eval pets=sets/pets --sizes 0.1 0.2 --places middle --output results",
    )
    shared.add_model_flags(made)
    shared.add_set_flag(made)
    add_prompt_flags(made)
    shared.add_split_flag(made)
    made.add_argument("--sizes", type=SHARE, nargs="+", default=list(SIZES), metavar="X", help="of the font, by the side (0.08 0.16 0.24)")
    made.add_argument("--places", nargs="+", default=list(ON_PLACES), choices=list(PLACES), help="default: top middle bottom")
    made.add_argument("--box", action="store_true", help="black in a white box, like a label; default: white with a black rim")
    made.add_argument("--font", default="", metavar="FILE", help="TrueType or OpenType, for scripts beyond Pillow's own font")
    made.add_argument("--target", default="", metavar="CLASS", help="written on all pictures of others; default: by a hash")
    made.add_argument("--control", action="store_true", help="also write the same letters shuffled, which cover alike and say nothing")
    made.add_argument("--images", type=NOT_NEGATIVE, default=0, metavar="N", help="of each set, chosen by a hash of the key (default: all)")
    made.add_argument("--seed", type=SEED, default=0, help="of what is written, and on which images (default: 0)")
    return made


def target_of(name: str, opened: EvaluationSet) -> int:
    """The class of `--target`, by its name or number; NONE where there is no such flag. Raises UserError where the set has none."""
    names = opened.class_names
    if not name:
        return NONE
    if names.count(name) == 1:
        return names.index(name)
    if name.isascii() and name.isdigit() and len(name) < 10 and int(name) < len(names):
        return int(name)
    raise UserError(f"no one class {name!r} in {opened.name}", where="--target", fix="a line of classnames.txt, or its number from 0")


def main(arguments: Sequence[str] | None = None) -> int:
    flags = parser().parse_args(arguments)
    sizes, places = list(dict.fromkeys(flags.sizes)), list(dict.fromkeys(flags.places))
    font_of(flags.font, 20)
    sets = shared.sets_of(flags)
    prompting = prompting_of(flags, sets)
    targets = {opened.name: target_of(flags.target, opened) for opened in sets}
    encoder = shared.encoder_of(flags)
    parameters = {
        **prompting.parameters(sets), "split": flags.split, "sizes": sizes, "places": places, "box": flags.box, "target": flags.target,
        "control": flags.control, "images": flags.images, "seed": flags.seed, "font": sha256_of(flags.font) if flags.font else None,
    }  # fmt: skip
    inputs = {"sets": {opened.name: opened.fingerprint(flags.split) for opened in sets}}
    output = shared.open_output(flags, "typographic", parameters, inputs, encoder)
    if output is None:
        return 0

    report: dict[str, Any] = {}
    rows, shown, counts, drops = [], [], {}, {}
    for opened in sets:
        attack = attack_set(encoder, opened, prompting, targets[opened.name], flags)
        report[opened.name] = attack.metrics()
        rows.append(attack.rows())
        shown.append(gallery(attack, flags.split, encoder.image_size))
        counts[opened.name] = len(attack.keys)
        drops.update({f"{opened.name}: {reason}": count for reason, count in attack.skipped["counts"].items()})
        one, best = report[opened.name], report[opened.name]["conditions"][attack.strongest]
        before, after, success = (f"{percent(rate['value']):.2f}%" for rate in (one["before"], best["after"], best["success"]))
        told = f"{after} right and {success} taken for the written class at size {best['size']:g}, {best['place']}"
        print(f"{opened.name}: {before} right without words; {told}; {one['images']} images")
    tables.write_table(output.file(tables.numbered("attacks", 0, 1)), pa.concat_tables(rows), sort_by=["dataset", "eval_key"])
    found = {"sets": report}
    files.write_json(output.file("metrics.json"), found)
    lead = "Numbers are per cent, with 99.5% Clopper-Pearson intervals; sizes are heights of the letters, of the picture's side."
    files.write_bytes(output.file("report.html"), render("Typographic attacks", [*sections(found), *shown], lead))
    output.finish(counts, drops)
    return 0
