import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from wit_builder.shards import find_shards, read_samples

ROOT = Path(__file__).resolve().parents[2]


def picture(seed, size=(320, 240)):
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def command(*arguments, check=True):
    return subprocess.run(
        [sys.executable, "-m", "pipelines.download_images", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=check
    )


def content(folder):
    """Bytes of all contract files."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.name != "run.json"}


@pytest.fixture
def site(web_server, tmp_path):
    """A site under a constant name, pairs that point to it, and the flags for both."""
    server = web_server()
    server.answers = {f"/{index}.jpg": picture(index) for index in range(30)}
    urls = [f"http://site.example/{index}.jpg" for index in range(30)] + ["http://site.example/missing.jpg", "gopher://site.example/x"]
    pq.write_table(pa.table({"url": urls, "text": [f"a picture, {index}" for index in range(32)]}), tmp_path / "pairs.parquet")
    flags = ["--map-host", f"site.example:80=127.0.0.1:{server.port}", "--host-rate", 0, "--pairs-per-shard", 10, "--image-size", 64]
    return server, tmp_path / "pairs.parquet", flags


def test_pairs_become_shards_whatever_the_workers(site, tmp_path):
    server, pairs, flags = site
    for workers in (1, 2):
        command("--pairs", pairs, "--output", tmp_path / f"out{workers}", "--workers", workers, *flags)
    first = content(tmp_path / "out1")
    assert first == content(tmp_path / "out2")
    samples = [sample for shard in find_shards(str(tmp_path / "out1")) for sample in read_samples(shard)]
    assert len(samples) == 30 and {Image.open(io.BytesIO(sample.image)).size for sample in samples} == {(64, 64)}
    manifest = json.loads(first["manifest.json"])
    assert manifest["drops"] == {"bad_url": 1, "http_404": 1} and manifest["counts"]["pairs_tried"] == 32
