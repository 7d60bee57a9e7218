"""The same stages, from queries to shards, on every engine at hand: the same bytes as embedded in one process."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engines import ROOT, build_wheel, started
from s3 import bucket

FAULTY = str(ROOT / "tests" / "support" / "faulty.py")
STAGES = ("queries", "pairs", "balanced", "shards")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A small made world, and a server for its site."""
    folder = tmp_path_factory.mktemp("world")
    subprocess.run([sys.executable, "-m", "sample_world", "--output", str(folder), "--scale", "small"], cwd=ROOT, check=True)
    server = subprocess.Popen(
        [sys.executable, "-m", "sample_world.server", "--site", str(folder / "site")],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with server:
        host = "sample.invalid:80"
        yield folder, host, server.stdout.readline().strip()
        server.stdin.close()


def flags_of(world, output: str) -> dict[str, list[str]]:
    """Own flags of each stage, below `output`."""
    folder, host, port = world
    return {
        "build_queries": ["--wikipedia", f"{folder}/wikipedia/*.xml.bz2", "--pageviews", f"{folder}/pageviews/*",
                          "--wordnet", f"{folder}/wordnet", "--size", "260", "--min-count", "20", "--min-bigram-count", "5",
                          "--output", f"{output}/queries"],
        "extract_pairs": ["--input", f"{folder}/crawl/*.warc.gz", "--output", f"{output}/pairs"],
        "balance_pairs": ["--pairs", f"{output}/pairs", "--queries", f"{output}/queries/queries.parquet", "--cap", "20",
                          "--output", f"{output}/balanced"],
        "download_images": ["--pairs", f"{output}/balanced", "--output", f"{output}/shards", "--image-size", "64",
                            "--pairs-per-shard", "100", "--host-rate", "0", "--allow-private-hosts", "--map-host",
                            f"{host}=127.0.0.1:{port}"],
    }  # fmt: skip


def run(*command: str, seconds: float | None = None) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=seconds)


def run_stages(world, output: str, flags: list[str]) -> None:
    """Queries, pairs, balanced pairs and shards, each as a process, below `output`."""
    for name, own in flags_of(world, output).items():
        done = run("-m", f"pipelines.{name}", *own, *flags)
        assert done.returncode == 0, f"{name}: {done.stderr[-3000:]}"


def digests(output: Path) -> dict[str, str]:
    """SHA-256 of all that the stages wrote, but for what differs from run to run."""
    found = {}
    for path in sorted(output.rglob("*")):
        if path.is_file() and path.name != "run.json":
            found[str(path.relative_to(output))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="module")
def embedded(world, tmp_path_factory):
    output = tmp_path_factory.mktemp("embedded")
    run_stages(world, str(output), ["--workers=2"])
    found = digests(output)
    assert all(f"{stage}/manifest.json" in found for stage in STAGES)
    return output, found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["job-service", "prism", "spark"])
def test_every_engine_gives_the_same_bytes(kind, world, embedded, wheel, tmp_path):
    output = tmp_path / "output"
    with started(kind, tmp_path, wheel) as engine:
        run_stages(world, str(output), engine.flags)
    assert digests(output) == embedded[1]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["spark"])
def test_overlaps_are_the_same(kind, world, embedded, wheel, tmp_path):
    """The one stage with torch; on Spark alone, because it takes long to start."""
    folder, shards, detector = world[0], embedded[0] / "shards", tmp_path / "detector"
    with started(kind, tmp_path, wheel) as engine:
        short = ("--size", "tiny", "--steps", "2", "--batch-size", "8")
        done = run("-m", "dedup", "train", "--shards", str(shards), *short, "--output", str(detector))
        assert done.returncode == 0, done.stderr[-3000:]
        found = {}
        for name, flags in (("embedded", ["--workers=1"]), ("engine", engine.flags)):
            own = ["--shards", str(shards), "--detector", str(detector / "detector.safetensors"), "--loose", "0.5"]
            sets = [f"{path.name}={path}" for path in sorted((folder / "evaluation").iterdir())]
            done = run("-m", "pipelines.find_overlaps", *own, "--eval", *sets, "--output", str(tmp_path / name), *flags)
            assert done.returncode == 0, done.stderr[-3000:]
            found[name] = digests(tmp_path / name)
    assert "manifest.json" in found["engine"] and found["engine"] == found["embedded"]


def copy_before(stage: str, embedded, output: Path) -> dict[str, str]:
    """Copies the inputs of a stage from the embedded run; returns the digests that its own folder must have."""
    source, found = embedded
    for folder in STAGES[: STAGES.index(stage)]:
        shutil.copytree(source / folder, output / folder)
    return {name: digest for name, digest in found.items() if name.startswith(f"{stage}/")}


def own(stage: str, output: Path) -> dict[str, str]:
    return {name: digest for name, digest in digests(output).items() if name.startswith(f"{stage}/")}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name, stage", [("extract_pairs", "pairs"), ("balance_pairs", "balanced"), ("download_images", "shards")])
def test_every_task_twice_at_once_and_every_bundle_again(name, stage, world, embedded, tmp_path):
    """Two attempts at the same file at once, and bundles run once more, as engines do with an output that they have lost."""
    wanted = copy_before(stage, embedded, tmp_path)
    again = ["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner", "--direct_runner_bundle_repeat=1"]
    done = run(FAULTY, "twice", "", name, *flags_of(world, str(tmp_path))[name], *again)
    assert done.returncode == 0, done.stderr[-3000:]
    assert own(stage, tmp_path) == wanted


@pytest.mark.timeout(300)
def test_a_worker_killed_while_it_writes(world, embedded, wheel, tmp_path):
    name, stage = "download_images", "shards"
    output, marker = tmp_path / "output", tmp_path / "killed"
    wanted = copy_before(stage, embedded, output)
    with started("job-service", tmp_path, wheel) as engine:
        submitter = subprocess.Popen(
            [sys.executable, FAULTY, "killed", str(marker), name, *flags_of(world, str(output))[name], *engine.flags],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while not marker.exists() and submitter.poll() is None:
            time.sleep(0.1)
        assert marker.exists(), "the fault was never met"
        # The job service waits for the worker's answer for ever, as an engine that has lost a machine may.
        submitter.terminate()
        submitter.wait()
    left = own(stage, output)
    assert f"{stage}/manifest.json" not in left and any(".tmp-" in path for path in left)
    assert all(digest == wanted[path] for path, digest in left.items() if path in wanted), "what bears its final name is whole"
    done = run("-m", f"pipelines.{name}", *flags_of(world, str(output))[name], "--workers=1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert own(stage, output) == wanted


@pytest.mark.timeout(600)
def test_outputs_on_s3_are_the_same(world, embedded, tmp_path):
    import boto3

    with bucket(tmp_path) as flags:
        run_stages(world, "s3://wit/run", ["--workers=1", *flags])
        client = boto3.client(
            "s3", endpoint_url=flags[0].split("=", 1)[1], aws_access_key_id="x", aws_secret_access_key="y", region_name="us-east-1"
        )
        found = {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket="wit"):
            for entry in page["Contents"]:
                name = entry["Key"].removeprefix("run/")
                if not name.endswith("/run.json"):
                    found[name] = hashlib.sha256(client.get_object(Bucket="wit", Key=entry["Key"])["Body"].read()).hexdigest()
    assert found == embedded[1]
