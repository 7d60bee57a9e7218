"""A model with random weights and sets of coloured squares, small enough for every test."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from learning import checkpoint
from trainer.load import MODEL_PREFIX, describe
from trainer.model import build
from trainer.sizes import ModelConfig
from trainer.tokenizer import Tokenizer
from wit_builder.evalsets import Example, write_set

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
VIT = ModelConfig(16, 32, (2,), 32, 2, patch=8, text_width=16, text_heads=2, text_layers=1, context=24, vocabulary=514)
RESNET = ModelConfig(16, 32, (1, 1, 1, 1), 4, 4, text_width=16, text_heads=2, text_layers=1, context=24, vocabulary=514)


def save_model(path, config, seed=0):
    model = build(config, seed)
    tensors = {MODEL_PREFIX + name: tensor for name, tensor in model.state_dict().items()}
    checkpoint.save(str(path), tensors, describe(model, Tokenizer([])))
    return str(path)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The models are so small that waking a second thread takes longer than their work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def vit(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model") / "vit.safetensors", VIT)


@pytest.fixture(scope="session")
def resnet(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model") / "resnet.safetensors", RESNET)


def picture(colour, seed, size=40):
    """A noisy square of one colour as PNG."""
    random = np.random.default_rng([seed, *colour])
    pixels = np.clip(np.array(colour) + random.normal(0, 50, (size, size + 8, 3)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def coloured(split, per_class, **more):
    """Examples of every colour, mixed."""
    seeds = range(100 * len(split), 100 * len(split) + per_class)
    return [
        Example("", picture(colour, seed), label, (label,), captions=(f"a {name} square",), **more)
        for seed in seeds
        for label, (name, colour) in enumerate(COLOURS.items())
    ]


def write_colours(folder, **splits):
    """A set of coloured squares in CLIP_benchmark's layout."""
    write_set(str(folder), splits, class_names=list(COLOURS), templates=["a {} square.", "{}"], suffix="png", per_tar=10)
    return folder


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "colours"
    return write_colours(folder, train=coloured("train", 24), test=coloured("test", 6))


@pytest.fixture
def run(tmp_path, capsys):
    """Runs a command's main with an output folder and a cache of its own; returns the output folder and what was printed."""

    def call(main, *arguments, output="out"):
        assert main([*map(str, arguments), "--output", str(tmp_path / output), "--cache", str(tmp_path / "cache")]) == 0
        return tmp_path / output, capsys.readouterr().out

    return call


@pytest.fixture(scope="session")
def squares():
    """The functions above, for tests that make sets and models of their own."""
    return SimpleNamespace(
        colours=COLOURS, vit=VIT, resnet=RESNET, save_model=save_model, picture=picture, coloured=coloured, write_colours=write_colours
    )
