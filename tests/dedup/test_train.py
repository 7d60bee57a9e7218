"""`dedup train`: a run that was cut off and goes on."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import dedup.train
from dedup.loss import info_nce
from dedup.train import TrainSettings, train
from wit_builder.errors import UserError


def settings(images, output) -> TrainSettings:
    return TrainSettings(
        None, str(images), str(output), size="tiny", recipe="strong", steps=6, batch_size=8, pool=16, threads=1, precision="float32",
        save_minutes=0.0,
    )  # fmt: skip


def test_killed_and_resumed_equals_undisturbed_bit_for_bit(tmp_path, monkeypatch):
    """Killed in the fourth step; the third's state is on disk, and the pool (16 of 36 images) has been filled a second time by then."""
    torch.set_num_threads(1)
    chance = np.random.default_rng(0)
    monkeypatch.setattr("dedup.images.FILES_A_PART", 12)  # several parts, which the pool does not hold at once
    (tmp_path / "images").mkdir()
    for number in range(36):
        pixels = np.kron(chance.integers(0, 256, (6, 6, 3)), np.ones((12, 12, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number:02d}.png")
    (tmp_path / "images" / "torn.png").write_bytes((tmp_path / "images" / "00.png").read_bytes()[:60])

    whole = train(settings(tmp_path / "images", tmp_path / "whole"))
    calls = []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise SystemExit("killed")
        return info_nce(*arguments)

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(dedup.train, "info_nce", killed)
        train(settings(tmp_path / "images", tmp_path / "cut"))
    assert not (tmp_path / "cut" / "manifest.json").exists()
    with monkeypatch.context() as patched:
        patched.setattr(dedup.train, "info_nce", lambda *arguments: calls.append(arguments) or info_nce(*arguments))
        resumed = train(settings(tmp_path / "images", tmp_path / "cut"))
    assert len(calls) == 4 + 3  # the fourth step again, and two more
    weights = [(tmp_path / name / "detector.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1] and resumed["counts"] == whole["counts"]
    logs = [[json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()] for name in ("whole", "cut")]
    assert logs[0] == logs[1] and logs[0][0]["step"] == 1
    assert sum(resumed["drops"].values()) > 0  # the torn picture was told


@pytest.mark.parametrize("device", ["", "xyz", "cuda:99"])
def test_a_device_that_is_not_there_is_one_clear_error(tmp_path, device):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=f"--device {device}: no such device"):
        train(replace(settings(tmp_path, tmp_path / "out"), device=device))
    assert not (tmp_path / "out").exists()
