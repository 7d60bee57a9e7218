"""`trainer visualize`: pictures optimised for a channel, a neuron, a layer or the logit of a text.

As in Olah et al., "Feature Visualization" (2017), and Goh et al., "Multimodal Neurons in Artificial Neural Networks" (2021).
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainer.evaluate import flags as shared
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.exciting import montages, most_exciting
from trainer.evaluate.page_parts import short
from trainer.evaluate.targets import Target, targets_of, values_of
from trainer.layers import layers_of
from trainer.pixels import PARAMETRISATIONS, Shake, as_bytes, optimise
from trainer.redirect import RedirectedReLU
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalsets import open_pictures
from wit_builder.flags import DRAWS, SEED, Bounded
from wit_builder.hashing import hash64
from wit_builder.outputs import Output
from wit_builder.report import Section, counted, render

CURVE = 64  # points of a curve that are kept
IN_PLOT, ON_PAGE = 12, 200  # pictures
SIDES = (8, 4096)  # pixels


def chunks_of(targets: Sequence[Target], copies: int, size: int) -> Iterator[list[tuple[Target, int]]]:
    """Targets of one layer, or texts, up to `size` at a time, each with the number of its copy from 1 on."""
    for _, group in itertools.groupby(targets, key=lambda target: target.layer):
        pairs = [(target, copy) for target in group for copy in range(1, copies + 1)]
        for start in range(0, len(pairs), size):
            yield pairs[start : start + size]


def make_pictures(
    encoder: Encoder, targets: Sequence[Target], seeds: Sequence[int], flags: Any, side: int
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Pictures for n targets of one layer, or n texts: uint8 [n, side, side, 3], and what became of their values.

    Args:
      encoder: the model.
      targets: n of them.
      seeds: of the starts and of all movements, n of them.
      flags: parametrisation, steps, rate, jitter, rotate, scale, against, minimise.
      side: pixels.
    """
    every, shake = values_of(encoder, targets, flags.against), Shake(flags.jitter, flags.rotate, flags.scale)

    def values(images: Tensor) -> Tensor:  # [n], of each picture for its own target
        return every(images).diagonal()

    sign = 1 if flags.minimise else -1
    picture = PARAMETRISATIONS[flags.parametrisation](side, side, seeds).to(encoder.device)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    with torch.no_grad():
        start = values(picture()).tolist()
    label = targets[0].layer or "texts"
    with RedirectedReLU():
        losses = optimise(picture, lambda images: sign * values(shake(images, generators)), flags.steps, flags.rate, label)  # [steps, n]
    with torch.no_grad():
        images = picture()
        end = values(images).tolist()
    shown = np.unique(np.linspace(0, len(losses) - 1, CURVE).round().astype(int))
    told = [
        {"start": start[i], "end": end[i], "curve": [[int(at), float(sign * losses[at, i])] for at in shown]}
        for i in range(len(targets))
    ]
    return as_bytes(images), told


def png(pixels: np.ndarray) -> bytes:
    """PNG of uint8 [h, w, 3]."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def montage_name(picture: str) -> str:
    """Of the file with the pictures of a folder that belong to an optimised one."""
    return f"{picture.removesuffix('.png')}-images.jpg"


def add_images(output: Output, encoder: Encoder, targets: Sequence[Target], made: Sequence[dict[str, Any]], flags: Any) -> dict[str, int]:
    """Put the pictures of `--images` that excite most beside the first copy of each; returns how many could not be used, by reason."""
    opened = open_pictures(flags.images, "images")
    found, skipped = most_exciting(encoder, opened, flags.split, targets, flags.against, least=flags.minimise)
    first = {target.name: one for target, one in zip(targets, (one for one in made if one["copy"] == 1))}
    for name, pixels in montages(opened, flags.split, found).items():
        first[name]["images"] = found[name]
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "jpeg", quality=88)
        files.write_bytes(output.file("pictures", montage_name(first[name]["picture"])), stream.getvalue())
    return dict(skipped.counts)


def sections(metrics: Mapping[str, Any], folder: str) -> list[Section]:
    """The page: a gallery for each layer and one for texts, and the values' way up.

    Args:
      metrics: what metrics.json holds.
      folder: with `pictures/`.
    """
    made, found = metrics["pictures"][:ON_PAGE], []
    left = len(metrics["pictures"]) - len(made)
    for layer, group in itertools.groupby(made, key=lambda one: one["layer"]):
        ones = list(group)
        note = "The value of each picture, not moved, at the start and at the end." if not found else ""
        note += f" {left:,} more pictures are in the folder." if left and not found else ""
        section = Section(f"What {layer} looks for" if layer else "What texts look like", note)
        for one in ones:
            picture = files.read_bytes(files.join(folder, "pictures", one["picture"]))
            section.image(picture, f"{one['label']}: {one['start']:.3g} → {one['end']:.3g}", "image/png")
            if excited := one.get("images"):
                montage = files.read_bytes(files.join(folder, "pictures", montage_name(one["picture"])))
                caption = f"{one['label']}, of the images: up to {excited[0]['value']:.3g} ({excited[0]['eval_key']})"
                section.image(montage, caption)
        found.append(section)
    note = "While they are moved about." + (f" The first {IN_PLOT}." if len(made) > IN_PLOT else "")
    way = Section("Values of optimised pictures by step", note)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for one in made[:IN_PLOT]:
            axes.plot(*zip(*one["curve"]), label=short(one["picture"].removesuffix(".png")), linewidth=1.2)
        axes.set_xlabel("step")
        axes.set_ylabel("value")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)

    way.plot(draw, alt="The value that each picture is optimised for, by step")
    return [*found, way]


def work(output: Output, encoder: Encoder, targets: Sequence[Target], flags: Any, side: int) -> list[dict[str, Any]]:
    """Make all pictures that are not there yet, a chunk at a time; returns what is told of each."""
    made = []
    for chunk in chunks_of(targets, flags.copies, flags.batch_size):
        names = [f"{target.name}-{copy}" if flags.copies > 1 else target.name for target, copy in chunk]
        notes = output.file(".work", f"{names[0]}.json")
        if not files.exists(notes):
            seeds = [hash64(flags.seed, target.layer, target.channel, target.kind, target.text, copy) >> 1 for target, copy in chunk]
            pixels, told = make_pictures(encoder, [target for target, _ in chunk], seeds, flags, side)
            for name, picture in zip(names, pixels):
                files.write_bytes(output.file("pictures", f"{name}.png"), png(picture))
            described = [
                {
                    "picture": f"{name}.png", "kind": target.kind, "title": target.title, "label": target.label, "layer": target.layer,
                    "channel": target.channel if target.channel >= 0 else None, "text": target.text or None, "copy": copy, **one,
                }
                for name, (target, copy), one in zip(names, chunk, told)
            ]  # fmt: skip
            files.write_json(notes, described)
        made += files.read_json(notes)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    made = shared.command_parser(
        "visualize",
        "Optimise pictures for what a model has learned: channels, neurons or layers of its image tower, or the logit of a text; writes"
        " a PNG each, metrics.json and a page.",
        "trainer visualize --checkpoint model.safetensors --layer layer4.0 --channel 0-15 --text 'a photo of a cat' --output pictures",
        output=False,
    )
    shared.add_model_flags(made, embeds=False)
    made.add_argument("--list", action="store_true", help="print the layers that can be asked for, with their channels and places, and end")
    made.add_argument("--layer", action="append", default=[], metavar="NAME", help="a layer; as a whole, without the next two; repeatable")
    made.add_argument("--channel", nargs="+", action="extend", default=[], metavar="N", help="of each layer, over all places: 3 7 10-15")
    made.add_argument("--neuron", nargs="+", action="extend", default=[], metavar="N", help="of each layer, in the middle place only")
    made.add_argument("--text", action="append", default=[], metavar="TEXT", help="the logit of a text; repeat for more pictures")
    made.add_argument("--against", action="append", default=[], metavar="TEXT", help="its mean logit is subtracted from each text's")
    made.add_argument("--minimise", action="store_true", help="what the model likes least, instead of most")
    made.add_argument("--copies", type=DRAWS, default=1, metavar="N", help="pictures of each, from different starts (default: 1)")
    made.add_argument("--steps", type=Bounded(int, 1, 1_000_000), default=512, metavar="N", help="of Adam (default: 512)")
    made.add_argument("--rate", type=Bounded(float, 1e-6, 100), default=0.05, metavar="X", help="its learning rate (default: 0.05)")
    made.add_argument("--size", type=Bounded(int, *SIDES), default=0, metavar="PIXELS", help="side of the pictures (default: the model's)")
    made.add_argument("--parametrisation", default="fourier", choices=list(PARAMETRISATIONS), help="default: fourier, colours decorrelated")
    made.add_argument(
        "--jitter", type=Bounded(float, 0, 0.5), default=1 / 16, metavar="SHARE", help="shift at a step, of the side (default: 1/16)"
    )
    made.add_argument(
        "--rotate", type=Bounded(float, 0, 180), default=10.0, metavar="DEGREES", help="largest angle at a step (default: 10)"
    )
    made.add_argument(
        "--scale", type=Bounded(float, 0, 1), default=0.1, metavar="SHARE", help="largest change of size at a step (default: 0.1)"
    )
    made.add_argument("--images", default="", metavar="DIR", help="also the pictures of a folder or evaluation set that excite each most")
    shared.add_split_flag(made)
    made.add_argument("--seed", type=SEED, default=0, help="default: 0")
    flags = made.parse_args(arguments)

    if not flags.list and not flags.output:
        raise UserError("no folder for the pictures", where="--output", fix="give one, or --list")
    encoder = shared.encoder_of(flags)
    if flags.list:
        for layer in layers_of(encoder.model).values():
            places = f"{layer.height}×{layer.width}" if layer.height * layer.width > 1 else ""
            print(f"{layer.name:32} {layer.channels:6} channels {places:9} {layer.kind}")
        return 0
    targets = targets_of(flags, encoder)
    side = flags.size or encoder.image_size
    parameters = {
        "targets": [target.title for target in targets],
        **{name: getattr(flags, name) for name in (
            "against", "minimise", "copies", "steps", "rate", "parametrisation", "jitter", "rotate", "scale", "seed", "batch_size",
        )},
        "size": side,
    }  # fmt: skip
    inputs = {}
    if flags.images:
        inputs["images"], parameters["split"] = open_pictures(flags.images, "images").fingerprint(flags.split), flags.split
    output = shared.open_output(flags, "visualize", parameters, inputs, encoder)
    if output is None:
        return 0

    found = work(output, encoder, targets, flags, side)
    drops = add_images(output, encoder, targets, found, flags) if flags.images else {}
    for one in found:
        print(f"{one['title']}: {one['start']:.4g} → {one['end']:.4g}")
    lead = f"{counted(len(found), 'picture')} of {side}×{side} pixels, {flags.steps} steps, seed {flags.seed}."
    metrics = {"pictures": found}
    files.write_json(output.file("metrics.json"), metrics)
    files.write_bytes(output.file("report.html"), render("What the model looks for", sections(metrics, output.path), lead))
    output.finish({"pictures": len(found)}, drops)
    return 0
