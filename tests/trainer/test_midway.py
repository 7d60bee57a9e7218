"""Evaluations on the way: what they say, and that training goes on as if they were not there."""

import json

import pytest
from PIL import Image

from tests.trainer.conftest import config, metrics
from trainer.log import EVALUATIONS
from trainer.train import train
from wit_builder.errors import UserError

COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220)}


@pytest.fixture
def sets(tmp_path, shards):
    """A set with classes, and the training shards as one of captions."""
    for name, colour in COLOURS.items():
        folder = tmp_path / "set" / "test" / name
        folder.mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (40, 40), colour).save(folder / f"{number}.png")
    return (f"colours={tmp_path / 'set'}", f"pairs={shards}")


def evaluations(output):
    return [json.loads(line) for line in (output / EVALUATIONS).read_text().splitlines()]


def test_scores_at_each_checkpoint_and_training_as_without(sets, shards, small_model, tmp_path):
    train(config(shards, small_model, tmp_path / "plain", epochs=1.0))
    settings = config(shards, small_model, tmp_path / "run", epochs=1.0, eval=sets)
    train(settings)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "plain")
    found = evaluations(tmp_path / "run")
    assert [(row["step"], row["samples"]) for row in found] == [(0, 0), (3, 48), (6, 96), (7, 112)]
    assert all(row["sets"].keys() == {"colours", "pairs"} and 0 <= min(row["sets"].values()) <= 1 for row in found)
    assert {row["sets"]["colours"] for row in found} <= {0, 0.5, 1}, "pictures of one colour are alike"
    assert found[3]["sets"]["pairs"] < 0.2, "103 pictures in few colours: a text names many"
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Evaluations on the way" in page and "after 7 steps" in page
    # Going on from step 6 does the last one again, and no other.
    (tmp_path / "run" / "checkpoints" / "step-000000007.safetensors").unlink()
    train(settings, resume="auto")
    assert evaluations(tmp_path / "run") == found


def test_sets_of_no_use_stop_before_training(sets, shards, small_model, tmp_path):
    with pytest.raises(UserError, match="captioning embeds no text"):
        train(config(shards, small_model, tmp_path / "a", eval=sets, objective="captioning"))
    (tmp_path / "bad" / "test" / "red").mkdir(parents=True)
    (tmp_path / "bad" / "test" / "red" / "0.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="bad"):
        train(config(shards, small_model, tmp_path / "b", eval=(f"bad={tmp_path / 'bad'}",)))
    assert not (tmp_path / "b" / "metrics.jsonl").read_text()
