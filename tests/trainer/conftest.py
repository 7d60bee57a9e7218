"""Small shards, made by code: pictures of one plain colour each, with texts that name it."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from trainer.config import TrainConfig
from wit_builder.hashing import pair_uid
from wit_builder.shards import SUCCESS, ShardRow, write_shard

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "yellow": (230, 220, 40), "grey": (128, 128, 128)}
TEMPLATES = ("a {} picture", "this one is {}", "{}", "something {} in a photo")


def encoded(colour, number, size=40, format="JPEG"):
    noise = np.random.default_rng(number).integers(-25, 25, (size, size + number % 5, 3))
    buffer = io.BytesIO()
    Image.fromarray((np.array(COLOURS[colour]) + noise).clip(0, 255).astype(np.uint8)).save(buffer, format, quality=92)
    return buffer.getvalue()


def row(number, image=None, text=None):
    colour = list(COLOURS)[number % len(COLOURS)]
    text = TEMPLATES[number // len(COLOURS) % len(TEMPLATES)].format(colour) if text is None else text
    url = f"http://pictures.test/{number}"
    return ShardRow(pair_uid(url, text), url, text, status=SUCCESS, image=image or encoded(colour, number), width=40, height=40)


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """103 samples in three shards."""
    folder = tmp_path_factory.mktemp("shards")
    for shard, (first, last) in enumerate([(0, 40), (40, 75), (75, 103)]):
        write_shard(str(folder), shard, [row(number) for number in range(first, last)])
    return folder


SMALL = {
    "embed": 16, "image_size": 32, "image_layers": [1], "image_width": 32, "image_heads": 2, "patch": 8,
    "text_width": 16, "text_heads": 2, "text_layers": 1, "context": 12, "vocabulary": 560,
}  # fmt: skip


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.json"
    path.write_text(json.dumps(SMALL))
    return str(path)


def config(shards, model, output, **more):
    """The same configuration as `command` gives, for runs in this process."""
    settings = dict(shards=(str(shards),), model=model, output=str(output), batch_size=16, workers=0, device="cpu", precision="fp32")
    return TrainConfig(**(settings | dict(checkpoint_steps=3, learning_rate=1e-3, epochs=1.6) | more))


def metrics(output):
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"], row["gradient_norm"], row["logit_scale"]) for row in rows]
