"""The demo at its small scale: every stage runs as a command, all numbers arrive, and again means the same."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import demo, demo_summary

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments):
    command = [sys.executable, "-m", "pipelines.demo", "--scale", "small", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(child, seconds=230):
    said, errors = child.communicate(timeout=seconds)
    return child.returncode, said, errors


def digests(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def running_under(pid):
    """Processes, but for the dead, whose command line names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if str(pid).encode() in command and entry.name != str(os.getpid()):
            found.append(command.decode(errors="replace"))
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run, interrupted once on the way while a stage was at work."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    child = start("--output", folder)
    while not (folder / "queries" / "run.json").exists() and child.poll() is None:
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    interrupted = finish(child, 60)
    assert running_under(folder) == []
    return folder, interrupted, finish(start("--output", folder))


def test_ctrl_c_ends_the_demo_and_its_stages_with_one_line(done):
    code, _, errors = done[1]
    assert code == 130
    assert errors == "interrupted: run the same command again to go on\n"


def test_the_same_command_goes_on_to_the_end(done):
    folder, _, (code, said, errors) = done
    assert (code, errors) == (0, "")
    steps = demo.steps(str(folder), 0, "small", None)
    for number, step in enumerate(steps, 1):
        assert f"[{number:2}/{len(steps)}] {step.name}" in said
    assert len(said.split("\n\n", 1)[1].splitlines()) <= 45  # one screen
    assert str(folder / "summary.json") in said
    assert running_under(folder) == []


def test_summary_holds_every_stages_counts_and_drops(done):
    folder = done[0]
    found = json.loads((folder / "summary.json").read_text())
    assert list(found["stages"]) and set(found["stages"]) == {step.name for step in demo.steps("", 0, "small", None)}
    stages = found["stages"]
    for stage, name in (("extract_pairs", "pairs"), ("balance_pairs", "balanced"), ("download_images", "shards")):
        manifest = json.loads((folder / name / "manifest.json").read_text())
        assert stages[stage] == {"counts": manifest["counts"], "drops": manifest["drops"]}
    # What one stage gives, the next one takes; what it does not give on, it dropped.
    assert stages["extract_pairs"]["counts"]["pairs"] == stages["balance_pairs"]["counts"]["pairs"]
    tried, saved = (stages["download_images"]["counts"][name] for name in ("pairs_tried", "images_saved"))
    assert stages["balance_pairs"]["counts"]["balanced pairs"] == tried
    assert sum(stages["download_images"]["drops"].values()) == tried - saved
    assert sum(stages["balance_pairs"]["drops"].values()) == stages["balance_pairs"]["counts"]["pairs"] - tried
    assert stages["balance_pairs"]["counts"]["queries over the cap"] > 0
    assert stages["find_overlaps"]["counts"]["training images"] == saved
    for name, classes in (("objects", 12), ("colours", 10)):
        assert found["zero_shot"][name]["chance"] == 1 / classes
        assert found["zero_shot"][name]["examples"] == 5 * classes == found["overlap"][name]["examples"]
    assert found["recall"]["all"][1] >= 40 and found["recall"]["all"][1] > found["recall"]["easy"][1] > 15


def test_every_planted_copy_on_a_page_reaches_the_pairs(done):
    folder = done[0]
    truth = json.loads((folder / "world" / "truth.json").read_text())
    import pyarrow.parquet as pq

    urls = {url for path in (folder / "pairs").glob("pairs-*.parquet") for url in pq.read_table(path, columns=["url"])["url"].to_pylist()}
    planted = {plant["url"] for plant in truth["plants"]}
    assert len(planted - urls) <= 0.05 * len(planted)  # a few stand there without a text


def test_again_it_says_that_it_is_whole_and_changes_nothing(done):
    folder = done[0]
    before = digests(folder)
    code, said, errors = finish(start("--output", folder), 60)
    assert (code, errors) == (0, "")
    assert "is whole already" in said and demo_summary.screen(json.loads((folder / "summary.json").read_text()), str(folder)) in said
    assert digests(folder) == before


def test_another_seed_in_the_same_folder_is_refused(done):
    folder = done[0]
    before = digests(folder)
    code, said, errors = finish(start("--output", folder, "--seed", 1), 60)
    assert (code, said) == (1, "")
    assert errors.startswith(f"error: {folder}: this folder holds another run's output (differs in seed: 0 there, 1 asked)")
    assert digests(folder) == before


def test_another_port_and_one_worker_give_the_same_shards(done, tmp_path):
    """The web server gets a free port of the system's choice each time."""
    folder = done[0]
    for name in ("world", "balanced"):
        shutil.copytree(folder / name, tmp_path / name)
    (tmp_path / "logs").mkdir()
    step = next(step for step in demo.steps(str(tmp_path), 0, "small", 1) if step.name == "download_images")
    demo.run_steps([dataclasses.replace(step, after=())], demo.Output(str(tmp_path), "demo", {}, []), lambda label, step: None)
    first, second = digests(folder / "shards"), digests(tmp_path / "shards")
    first.pop("run.json"), second.pop("run.json")
    assert first == second


def test_a_stage_that_fails_is_told_in_one_line_with_its_log(tmp_path):
    folder = tmp_path / "out"
    (folder / "world").mkdir(parents=True)
    (folder / "world" / "world.json").write_text('{"seed": 9}')
    (folder / "run.json").write_text(json.dumps(demo.Output(str(folder), "demo", {"seed": 0, "scale": "small"}, []).identity()))
    code, _, errors = finish(start("--output", folder), 60)
    assert code == 1
    assert errors.count("\n") == 1 and errors.startswith("error: sample_world failed: ")
    assert str(folder / "logs" / "sample_world.log") in errors


SWALLOWS = """
import signal, sys, time
asked = []
signal.signal(signal.SIGINT, lambda *_: asked.append(1) if len(asked) < {swallowed} else sys.exit(7))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("swallowed, code", [(0, 7), (1, 7), (9, -signal.SIGKILL)])
def test_a_stage_that_swallows_an_interrupt_is_interrupted_again_and_then_killed(swallowed, code, monkeypatch):
    monkeypatch.setattr(demo, "GRACE", 0.6 if swallowed > 1 else 40)
    monkeypatch.setattr(demo, "AGAIN", 0.3)
    with demo._child([sys.executable, "-c", SWALLOWS.format(swallowed=swallowed)], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
    assert child.returncode == code
