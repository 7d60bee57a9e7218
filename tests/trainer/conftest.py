"""Small shards, made by code: pictures of one plain colour each, with texts that name it."""

import io

import numpy as np
import pytest
from PIL import Image

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
