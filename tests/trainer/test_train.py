"""`trainer train` as its user runs it: whole runs, kill -9, two processes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from learning import checkpoint
from tests.trainer.conftest import config, metrics
from trainer.load import load
from trainer.train import train
from wit_builder.errors import UserError

ROOT = Path(__file__).resolve().parent.parent.parent


def command(shards, model, output, *more):
    fixed = ["--shards", str(shards), "--model", model, "--output", str(output), "--batch-size", "16", "--workers", "1",
             "--device", "cpu", "--precision", "fp32", "--checkpoint-steps", "3", "--learning-rate", "1e-3", "--epochs", "1.6"]  # fmt: skip
    return [sys.executable, "-m", "trainer", "train", *fixed, *more]


def run(arguments, **environment):
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(arguments, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process, code=0):
    output, errors = process.communicate(timeout=200)
    assert process.returncode == code, errors
    return output + errors


@pytest.fixture(scope="session")
def plain(shards, small_model, tmp_path_factory):
    """An undisturbed run of eleven steps."""
    output = tmp_path_factory.mktemp("runs") / "plain"
    finished(run(command(shards, small_model, output)))
    return output


def test_a_run_leaves_a_model_that_loads_and_a_page_of_curves(plain):
    assert [step for step, *_ in metrics(plain)] == list(range(11))
    loaded = load(str(plain / "model.safetensors"))
    assert loaded.model.config.text_width == 16 and loaded.metadata["step"] == 11
    images = loaded.preprocessing.to_tensor(torch.zeros(2, 32, 32, 3, dtype=torch.uint8))
    image, text = loaded.model(images, loaded.tokenize(["red", "blue"]))
    assert image.shape == text.shape == (2, 16)
    assert "<svg" in (page := (plain / "report.html").read_text()) or "data:image/png" in page
    assert sorted(path.name for path in (plain / "checkpoints").iterdir()) == [f"step-{step:09d}.safetensors" for step in (6, 9, 11)]
    assert any((plain / "tensorboard").iterdir())


def test_killed_and_resumed_equals_undisturbed_bit_for_bit(plain, shards, small_model, tmp_path):
    output = tmp_path / "killed"
    arguments = command(shards, small_model, output, "--log-every", "1")
    process = run(arguments)
    deadline = time.monotonic() + 120
    while not list((output / "checkpoints").glob("step-*.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (output / "model.safetensors").exists()
    with pytest.raises(UserError, match="already"):
        train(config(shards, small_model, output))
    # Again, and Ctrl-C: the step under way is finished and kept.
    process = run([*arguments, "--resume", "auto", "--checkpoint-steps", "0"])
    before = metrics(output)[-1][0]
    while metrics(output)[-1][0] <= before and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "saved: " in said and "Traceback" not in said
    last = max(path.name for path in (output / "checkpoints").glob("step-*.safetensors"))
    assert last == f"step-{metrics(output)[-1][0] + 1:09d}.safetensors"
    said = finished(run([*arguments, "--resume", "auto"]))
    assert "resumed after step" in said
    assert metrics(output) == metrics(plain)
    ours, theirs = (checkpoint.load(str(folder / "checkpoints" / "step-000000011.safetensors"))[0] for folder in (output, plain))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_going_on_with_other_shards_says_what_it_costs(shards, small_model, tmp_path, capfd):
    own = tmp_path / "shards"
    shutil.copytree(shards, own)
    settings = config(own, small_model, tmp_path / "run", epochs=1.0)
    train(settings)
    (tmp_path / "run" / "checkpoints" / "step-000000006.safetensors").unlink()
    for path in own.glob("00002*"):
        path.unlink()
    capfd.readouterr()
    train(settings, resume="auto")
    assert "103 samples before, 75 now: they come in another order from here on" in capfd.readouterr().err


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def two_processes(arguments):
    port = free_port()
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    started = [run(arguments, RANK=str(rank), LOCAL_RANK=str(rank), **common) for rank in range(2)]
    return [finished(process) for process in started]


def test_two_processes_with_chunks_equal_one(plain, shards, small_model, tmp_path):
    output = tmp_path / "two"
    two_processes(command(shards, small_model, output, "--chunk-size", "3"))
    for ours, theirs in zip(metrics(output), metrics(plain), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    ours, theirs = (checkpoint.load(str(folder / "model.safetensors"))[0] for folder in (output, plain))
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=2e-4)


def test_a_wrong_folder_is_refused_and_left_alone(plain, shards, small_model, tmp_path):
    before = sorted(path.name for path in plain.iterdir())
    with pytest.raises(UserError, match="seed: 0 there, 5 asked"):
        train(config(shards, small_model, plain, seed=5), resume="auto")
    assert sorted(path.name for path in plain.iterdir()) == before
    with pytest.raises(UserError, match="no tar files there"):
        train(config(tmp_path, small_model, tmp_path / "x"))
    with pytest.raises(UserError, match="more than the 103 samples"):
        train(config(shards, small_model, tmp_path / "y", batch_size=104))
