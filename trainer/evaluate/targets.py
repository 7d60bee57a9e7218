"""What a picture can be optimised for: a channel, a neuron, a whole layer, or the logit of a text."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.evaluate.encoder import Encoder
from trainer.guidance import Guidance, frozen, normalised, resized
from trainer.layers import answer, layer_named, layers_of
from wit_builder.errors import UserError

CHANNEL, NEURON, LAYER, TEXT = "channel", "neuron", "layer", "text"


@dataclass(frozen=True)
class Target:
    """One thing to optimise a picture for.

    Attributes:
      kind: CHANNEL, the mean of a channel over all places; NEURON, a channel at the place in the middle; LAYER, the mean square of
        all channels (DeepDream's); TEXT, the logit of a text minus the mean logit of the texts against it.
      name: of the picture's file, without ending.
      layer: for all kinds but TEXT.
      channel: for CHANNEL and NEURON.
      text: for TEXT.
    """

    kind: str
    name: str
    layer: str = ""
    channel: int = -1
    text: str = ""

    @property
    def title(self) -> str:
        """As it is told to people."""
        return f"{self.layer}, {self.label}" if self.layer else self.label

    @property
    def label(self) -> str:
        """As it is told below the name of its layer."""
        if self.kind == TEXT:
            return f"“{self.text}”"
        return "the whole layer" if self.kind == LAYER else f"{self.kind} {self.channel}"


def numbers(values: Sequence[str], count: int, flag: str) -> list[int]:
    """Whole numbers of `3 7 10-15`, each in 0…count−1, none twice.

    Raises:
      UserError: where a value is neither, or lies outside.
    """
    found: dict[int, None] = {}
    for text in values:
        first, dash, last = text.partition("-")
        if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in ([first, last] if dash else [first])):
            raise UserError(f"{text!r} is no number and no range", where=flag, fix="for instance 3 or 10-15")
        span = range(int(first), int(last if dash else first) + 1)
        if not span or span[-1] >= count:
            raise UserError(f"{text!r} is not within 0-{count - 1}, the layer's channels", where=flag)
        found.update(dict.fromkeys(span))
    return list(found)


def targets_of(flags: argparse.Namespace, encoder: Encoder) -> list[Target]:
    """What the flags ask for.

    Raises:
      UserError: where that is nothing, a layer or channel is not there, or a text is empty.
    """
    made = []
    known = layers_of(encoder.model) if flags.layer else {}
    for name in dict.fromkeys(flags.layer):
        layer = layer_named(known, name)
        asked = {kind: numbers(getattr(flags, kind), layer.channels, f"--{kind}") for kind in (CHANNEL, NEURON)}
        made += [Target(kind, f"{name}-{kind}-{one}", name, one) for kind, channels in asked.items() for one in channels]
        if not any(asked.values()):
            made.append(Target(LAYER, name, name))
    if (flags.channel or flags.neuron) and not flags.layer:
        raise UserError("a channel or neuron of which layer?", where="--layer", fix="give one; --list names them")
    if flags.against and not flags.text:
        raise UserError("against which text?", where="--against", fix="give --text too")
    if not all(text.strip() for text in [*flags.text, *flags.against]):
        raise UserError("an empty text", where="--text, --against")
    texts = list(dict.fromkeys(flags.text))
    made += [Target(TEXT, f"text-{number}", text=text) for number, text in enumerate(texts, 1)]
    if not made:
        raise UserError("nothing to optimise a picture for", where="--layer, --text", fix="give one of them; --list names the layers")
    return made


def values_of(encoder: Encoder, targets: Sequence[Target], against: Sequence[str]) -> Callable[[Tensor], Tensor]:
    """What is to rise: a function of images [b, 3, h, w] in 0…1 to each one's value for each target, [b, t].

    Args:
      encoder: the model; its weights take no gradient.
      targets: t of them, all of one layer or all texts.
      against: texts whose mean logit is subtracted from a text's.
    """
    if targets[0].kind == TEXT:
        guidance = Guidance(encoder.loaded, list(dict.fromkeys([*(target.text for target in targets), *against])))
        own = torch.tensor([guidance.texts.index(target.text) for target in targets])
        others = [guidance.texts.index(text) for text in against]

        def of_texts(images: Tensor) -> Tensor:
            with encoder.autocast():
                scores = encoder.scale * guidance.scores(images)  # [b, texts]
            return scores[:, own] - (scores[:, others].mean(dim=1, keepdim=True) if others else 0.0)

        return of_texts

    model, preprocessing = frozen(encoder.model), encoder.loaded.preprocessing
    channels = torch.tensor([max(target.channel, 0) for target in targets])
    masks = {kind: torch.tensor([target.kind == kind for target in targets], device=encoder.device) for kind in (NEURON, LAYER)}

    def of_layer(images: Tensor) -> Tensor:
        inputs = normalised(resized(images, preprocessing.size), preprocessing)
        with encoder.autocast():
            maps = answer(model, targets[0].layer, inputs).float()  # [b, c, h, w]
        middle = maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2]  # [b, c]
        value = torch.where(masks[NEURON], middle[:, channels], maps.mean(dim=(2, 3))[:, channels])  # [b, t]
        return torch.where(masks[LAYER], maps.square().mean(dim=(1, 2, 3))[:, None], value)

    return of_layer
