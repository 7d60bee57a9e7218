"""The same stages, from queries to shards, on every engine at hand: the same bytes as embedded in one process."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from engines import ROOT, build_wheel, started
from s3 import bucket

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


def run_stages(world, output: str, flags: list[str]) -> None:
    """Queries, pairs, balanced pairs and shards, each as a process, below `output`."""
    folder, host, port = world
    commands = [
        ["build_queries", "--wikipedia", f"{folder}/wikipedia/*.xml.bz2", "--pageviews", f"{folder}/pageviews/*",
         "--wordnet", f"{folder}/wordnet", "--size", "260", "--min-count", "20", "--min-bigram-count", "5",
         "--output", f"{output}/queries"],
        ["extract_pairs", "--input", f"{folder}/crawl/*.warc.gz", "--output", f"{output}/pairs"],
        ["balance_pairs", "--pairs", f"{output}/pairs", "--queries", f"{output}/queries/queries.parquet", "--cap", "20",
         "--output", f"{output}/balanced"],
        ["download_images", "--pairs", f"{output}/balanced", "--output", f"{output}/shards", "--image-size", "64",
         "--pairs-per-shard", "100", "--host-rate", "0", "--allow-private-hosts", "--map-host", f"{host}=127.0.0.1:{port}"],
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name, *rest in commands:
        run = subprocess.run([sys.executable, "-m", f"pipelines.{name}", *rest, *flags], env=environment, capture_output=True, text=True)
        assert run.returncode == 0, f"{name}: {run.stderr[-3000:]}"


def digests(output: Path) -> dict[str, str]:
    """SHA-256 of all that the stages wrote, but for what differs from run to run."""
    found = {}
    for path in sorted(output.rglob("*")):
        if path.is_file() and path.name != "run.json":
            found[str(path.relative_to(output))] = hashlib.sha256(path.read_bytes()).hexdigest()
    assert all(f"{stage}/manifest.json" in found for stage in STAGES)
    return found


@pytest.fixture(scope="module")
def embedded(world, tmp_path_factory):
    output = tmp_path_factory.mktemp("embedded")
    run_stages(world, str(output), ["--workers=2"])
    return digests(output)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["job-service", "prism"])
def test_every_engine_gives_the_same_bytes(kind, world, embedded, tmp_path):
    output = tmp_path / "output"
    with started(kind, tmp_path, build_wheel(tmp_path)) as engine:
        run_stages(world, str(output), engine.flags)
    assert digests(output) == embedded


@pytest.mark.timeout(600)
def test_outputs_on_s3_are_the_same(world, embedded, tmp_path):
    import boto3

    with bucket(tmp_path) as flags:
        run_stages(world, "s3://wit/run", ["--workers=2", *flags])
        client = boto3.client(
            "s3", endpoint_url=flags[0].split("=", 1)[1], aws_access_key_id="x", aws_secret_access_key="y", region_name="us-east-1"
        )
        found = {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket="wit"):
            for entry in page["Contents"]:
                name = entry["Key"].removeprefix("run/")
                if not name.endswith("/run.json"):
                    found[name] = hashlib.sha256(client.get_object(Bucket="wit", Key=entry["Key"])["Body"].read()).hexdigest()
    assert found == embedded
