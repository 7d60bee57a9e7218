"""What a training run depends on: one frozen dataclass, printed, saved with every checkpoint, given as a file or as flags."""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field

from trainer.sizes import LEARNING_RATES, ModelConfig, model_config
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.flags import AMOUNT, BATCH, NOT_NEGATIVE, POSITIVE, SEED, SHARE, Bounded

OBJECTIVES = ("clip", "convirt", "siglip", "bow-contrastive", "bow-prediction", "captioning")


def _flag(default, help: str, choices: Sequence[str] = (), bounds: Bounded | None = None, metavar: str = "PATTERN"):
    return field(default=default, metadata={"help": help, "choices": tuple(choices), "bounds": bounds, "metavar": metavar})


@dataclass(frozen=True)
class TrainConfig:
    """Defaults are the paper's. A field `batch_size` is the flag --batch-size, and `batch_size` in a file."""

    shards: tuple[str, ...] = _flag((), "folders or patterns of tar shards, local or of any fsspec filesystem")
    output: str = _flag("", "folder of the run")
    exclude: str = _flag("", "Parquet file with a uid column; those samples are left out")
    model: str = _flag("RN50", "the paper's name of a model, tiny, or a JSON file of sizes")
    text: str = _flag("", "text encoder (default: the model's)", ("", "transformer", "cbow"))
    image_size: int = _flag(0, "pixels a side (default: the model's)", bounds=Bounded(int, 0, 4096))
    crop_area: float = _flag(1.0, "smallest share of the square's area that a crop takes (the paper: 1; open_clip: 0.9)", bounds=SHARE)
    context: int = _flag(0, "tokens of the longest text, start and end included (default: the model's)", bounds=Bounded(int, 0, 4096))
    init_from: str = _flag("", "start from the weights in this file: ours, OpenAI's, open_clip's or Hugging Face's names")
    tokenizer: str = _flag("", "from trainer tokenizer, or OpenAI's merges (default: one is trained on the shards' texts)")
    objective: str = _flag("clip", "what is learned", OBJECTIVES)
    epochs: float = _flag(32.0, "times that every sample is seen", bounds=Bounded(float, above=0, most=1_000_000))
    batch_size: int = _flag(32_768, "pairs in a batch, over all processes", bounds=BATCH)
    chunk_size: int = _flag(0, "pairs whose activations one process holds at once (default: its share of the batch)", bounds=NOT_NEGATIVE)
    learning_rate: float = _flag(0.0, "peak (default: the paper's for the model)", bounds=AMOUNT)
    warm_up: int = _flag(2_000, "steps of linear warm-up; at most a tenth of all steps", bounds=NOT_NEGATIVE)
    weight_decay: float = _flag(0.2, "on all weights but gains and biases", bounds=AMOUNT)
    beta2: float = _flag(0.0, "Adam's second decay (default: 0.999 for ResNets, 0.98 for ViTs)", bounds=Bounded(float, 0, below=1))
    epsilon: float = _flag(0.0, "Adam's epsilon (default: 1e-8 for ResNets, 1e-6 for ViTs)", bounds=AMOUNT)
    clip_norm: float = _flag(0.0, "largest norm of the gradients (default: any)", bounds=AMOUNT)
    precision: str = _flag("auto", "of activations (auto: bf16 on GPUs and CPUs that compute in it)", ("auto", "fp32", "bf16", "fp16"))
    recompute: bool = _flag(False, "gradient checkpointing: less memory, about a third more computation")
    half_statistics: bool = _flag(False, "Adam's statistics in bfloat16, stochastically rounded")
    half_text: bool = _flag(False, "the text encoder's weights in bfloat16, stochastically rounded")
    compile: bool = _flag(False, "torch.compile the model")
    seed: int = _flag(0, "of the weights, the order and the crops", bounds=SEED)
    # What follows changes nothing about the result.
    device: str = _flag("auto", "cpu, cuda, cuda:N or auto")
    workers: int = _flag(-1, "data processes a training process (default: cores over processes, at most 8)", bounds=Bounded(int, -1, 1024))
    log_every: int = _flag(10, "steps between two looks at the device's results; each step is logged all the same", bounds=POSITIVE)
    checkpoint_steps: int = _flag(1_000, "steps between checkpoints (0: never by steps)", bounds=NOT_NEGATIVE)
    checkpoint_minutes: float = _flag(15.0, "minutes between checkpoints (0: never by time)", bounds=AMOUNT)
    keep: int = _flag(3, "checkpoints kept", bounds=POSITIVE)
    eval: tuple[str, ...] = _flag((), "evaluation sets, classified or retrieved before training and at each checkpoint", metavar="NAME=DIR")
    peak_flops: float = _flag(0.0, "FLOP/s of one device, for utilisation (default: known GPUs; a CPU is measured)", bounds=AMOUNT)

    def __post_init__(self) -> None:
        problems = []
        for item in dataclasses.fields(self):
            bounds = item.metadata["bounds"]
            if bounds and (problem := bounds.problem(getattr(self, item.name))):
                problems.append(f"--{item.name.replace('_', '-')} {problem}, not {getattr(self, item.name)}")
            choices = item.metadata["choices"]
            if choices and getattr(self, item.name) not in choices:
                problems.append(f"--{item.name.replace('_', '-')} must be one of {', '.join(filter(None, choices))}")
        if problems:
            raise UserError("; ".join(problems), fix="see trainer train --help")

    def model_sizes(self, vocabulary: int) -> ModelConfig:
        """Sizes of the model to train, with a tokenizer's vocabulary."""
        sizes = model_config(self.model)
        text = "cbow" if self.objective == "bow-contrastive" else self.text or sizes.text
        return dataclasses.replace(
            sizes,
            vocabulary=vocabulary,
            text=text,
            image_size=self.image_size or sizes.image_size,
            context=self.context or sizes.context,
            projection="nonlinear" if self.objective == "convirt" else sizes.projection,
            logit_bias=self.objective == "siglip",
        )

    def peak_rate(self) -> float:
        return self.learning_rate or LEARNING_RATES.get(self.model, 5e-4)

    def adam(self, sizes: ModelConfig) -> tuple[float, float]:
        """Adam's β2 and ε."""
        return self.beta2 or (0.98 if sizes.is_vit else 0.999), self.epsilon or (1e-6 if sizes.is_vit else 1e-8)

    def identity(self) -> dict:
        """What decides the result, as JSON: a run is only resumed with the same."""
        names = [item.name for item in dataclasses.fields(self)]
        return {name: value for name, value in self.to_json().items() if name in names[: names.index("device")] and name != "output"}

    def to_json(self) -> dict:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, value: dict, where: str = "") -> TrainConfig:
        """Raises UserError where a name is unknown or a value of the wrong type."""
        if not isinstance(value, dict):
            raise UserError("a configuration is a JSON object", where=where)
        kinds = typing.get_type_hints(cls)
        bounds_of = {item.name: item.metadata["bounds"] for item in dataclasses.fields(cls)}
        made = {}
        for name, given in value.items():
            kind = kinds.get(name)
            if kind is None:
                raise UserError(f"unknown setting {name}", where=where, fix="see trainer train --help")
            if isinstance(kind, types.GenericAlias):
                right = isinstance(given, list) and all(isinstance(item, str) for item in given)
                given = tuple(given) if right else given
            else:
                right = isinstance(given, (int, float) if kind is float else kind) and (kind is bool or not isinstance(given, bool))
            if not right:
                raise UserError(f"{name} must be {getattr(kind, '__name__', kind)}, not {given!r}", where=where)
            bounds = bounds_of[name]
            if bounds and (problem := bounds.problem(given)):
                raise UserError(f"{name} {problem}", where=where)
            made[name] = float(given) if kind is float else given
        return cls(**made)


def add_flags(parser: argparse.ArgumentParser, without: Sequence[str] = ()) -> None:
    """A flag for each field but some, and --config; only flags that are given appear in the parsed namespace."""
    parser.add_argument("--config", metavar="FILE", help="JSON file of settings; flags come before it")
    kinds = typing.get_type_hints(TrainConfig)
    for item in dataclasses.fields(TrainConfig):
        if item.name in without:
            continue
        kind, default = kinds[item.name], item.default
        options: dict = {"default": argparse.SUPPRESS, "help": item.metadata["help"]}
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif isinstance(kind, types.GenericAlias):
            options |= {"nargs": "+", "action": "extend", "metavar": item.metadata["metavar"]}
        else:
            options |= {"type": item.metadata["bounds"] or kind, "metavar": item.name.upper()}
            if item.metadata["choices"]:
                options["choices"] = [choice for choice in item.metadata["choices"] if choice]
                options.pop("metavar")
            if default and "default" not in options["help"]:
                options["help"] += f" (default: {default:,})" if isinstance(default, int) else f" (default: {default})"
        parser.add_argument(f"--{item.name.replace('_', '-')}", **options)


def from_flags(flags: argparse.Namespace) -> TrainConfig:
    """The configuration of --config's file with the given flags over it."""
    settings = TrainConfig.from_json(files.read_object(flags.config), flags.config).to_json() if flags.config else {}
    names = {item.name for item in dataclasses.fields(TrainConfig)}
    settings |= {name: value for name, value in vars(flags).items() if name in names}
    return TrainConfig(**{name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()})
