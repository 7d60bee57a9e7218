import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.download_images import main
from wit_builder.download.settings import PAIRS_PER_SHARD
from wit_builder.errors import UserError
from wit_builder.shards import MAX_ROWS, find_shards, read_samples

ROOT = Path(__file__).resolve().parents[2]


def picture(seed, size=(320, 240)):
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def download(*arguments):
    """The command in this process; gives its UserError's line, if any."""
    try:
        main(["--workers", "1", *map(str, arguments)])
    except UserError as error:
        return str(error)
    return None


def command(*arguments):
    """Command line of the command as a process of its own."""
    return [sys.executable, "-m", "pipelines.download_images", *map(str, arguments)]


def content(folder):
    """Bytes of all contract files."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.name != "run.json"}


def write_pairs(path, urls):
    pq.write_table(pa.table({"url": urls, "text": [f"text of {url.rsplit('/', 1)[-1]}" for url in urls]}), path)


def outcomes(folder):
    """Outcome of every pair tried, by URL; a pair that stands in two rows fails."""
    rows = [row for shard in find_shards(str(folder), check_hashes=True) for row in pq.read_table(shard.parquet).to_pylist()]
    found = {row["url"]: row["error_message"] or row["status"] for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.fixture
def site(web_server, tmp_path):
    """A server, the pairs that point to it under a constant name, and the flags for both."""
    server = web_server()
    server.answers = {f"/{index}.jpg": picture(index) for index in range(60)}
    urls = [f"http://site.example/{index}.jpg" for index in range(30)] + ["http://site.example/missing.jpg", "gopher://site.example/x"]
    write_pairs(tmp_path / "pairs.parquet", urls)
    flags = ["--map-host", f"site.example:80=127.0.0.1:{server.port}", "--host-rate", 0, "--pairs-per-shard", 10, "--image-size", 64]
    return server, tmp_path / "pairs.parquet", flags


def test_pairs_become_shards_whatever_the_workers(site, tmp_path):
    server, pairs, flags = site
    assert download("--pairs", pairs, "--output", tmp_path / "one", *flags) is None
    two = command("--pairs", pairs, "--output", tmp_path / "two", "--workers", 2, *flags)
    done = subprocess.run(two, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "30 of 32 images saved (93.8%)" in done.stdout and "http_404" in done.stdout and "site.example (1)" in done.stdout
    first = content(tmp_path / "one")
    assert first == content(tmp_path / "two")
    samples = [sample for shard in find_shards(str(tmp_path / "one")) for sample in read_samples(shard)]
    assert len(samples) == 30 and {Image.open(io.BytesIO(sample.image)).size for sample in samples} == {(64, 64)}
    manifest = json.loads(first["manifest.json"])
    assert manifest["drops"] == {"bad_url": 1, "http_404": 1} and manifest["counts"]["pairs_tried"] == 32
    assert first["report.html"].count(b"<figure>") == 30 and b"text of 3.jpg (site.example)" in first["report.html"]


def test_a_second_run_asks_for_nothing_and_other_parameters_are_refused(site, tmp_path):
    server, pairs, flags = site
    output = tmp_path / "out"
    assert download("--pairs", pairs, "--output", output, *flags) is None
    before, asked = content(output), len(server.requests)
    assert download("--pairs", pairs, "--output", output, *flags) is None
    refusal = download("--pairs", pairs, "--output", output, *flags, "--resize-mode", "center_crop")
    assert "resize_mode: 'border' there, 'center_crop' asked" in refusal and "another --output" in refusal
    assert content(output) == before and len(server.requests) == asked


def test_damaged_shards_are_made_again_and_no_others(site, tmp_path):
    server, pairs, flags = site
    output = tmp_path / "out"
    download("--pairs", pairs, "--output", output, *flags)
    before = content(output)
    (output / "00001.tar").write_bytes(before["00001.tar"][:5000])
    (output / "00002_stats.json").unlink()
    for path in output.glob("00003*"):
        path.unlink()
    asked = len(server.requests)
    assert download("--pairs", pairs, "--output", output, *flags) is None
    assert content(output) == before
    assert 0 < len(server.requests) - asked <= 1 + 10 + 10 + 2, "robots.txt and these three shards"


def test_a_grown_pool_adds_only_what_is_new(site, tmp_path):
    server, pairs, flags = site
    output = tmp_path / "out"
    download("--pairs", pairs, "--output", output, *flags)
    before = content(output)
    more = [f"http://site.example/{index}.jpg" for index in range(10, 45)]
    write_pairs(tmp_path / "more.parquet", more)
    server.requests.clear()
    assert download("--pairs", tmp_path / "more.parquet", "--output", output, *flags) is None
    after = content(output)
    assert all(after[name] == data for name, data in before.items() if name[:5].isdigit())
    assert sorted(name for name in after if name.endswith(".tar")) == [f"0000{number}.tar" for number in range(6)]
    assert len([head for head in server.requests if ".jpg" in head]) == 15
    assert sum(outcome == "success" for outcome in outcomes(output).values()) == 45
    assert json.loads(after["manifest.json"])["counts"]["images_saved"] == 45
    write_pairs(tmp_path / "other.parquet", ["http://site.example/50.jpg"])
    assert "none of which is in the pool" in download("--pairs", tmp_path / "other.parquet", "--output", output, *flags)
    assert content(output) == after


def test_only_transient_failures_are_tried_again(site, tmp_path):
    server, pairs, flags = site
    output = tmp_path / "out"

    async def busy(head, writer):
        writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    for index in range(5):
        server.answers[f"/{index}.jpg"] = busy
    flags = [*flags, "--retries", 0, "--save-exif"]
    download("--pairs", pairs, "--output", output, *flags)
    assert sorted(outcomes(output).values()).count("http_503") == 5
    for index in range(4):
        server.answers[f"/{index}.jpg"] = picture(index)
    server.requests.clear()
    assert download("--pairs", pairs, "--output", output, *flags, "--retry-failed") is None
    assert sorted(path for path in (head.split(" ")[1] for head in server.requests) if "jpg" in path) == [f"/{i}.jpg" for i in range(5)]
    assert outcomes(output)["http://site.example/4.jpg"] == "http_503" and list(outcomes(output).values()).count("success") == 29
    server.answers["/4.jpg"] = picture(4)
    download("--pairs", pairs, "--output", output, *flags, "--retry-failed")
    download("--pairs", pairs, "--output", tmp_path / "undisturbed", *flags)
    assert content(output) == content(tmp_path / "undisturbed")


def test_input_errors_are_told_in_one_line(site, tmp_path):
    _, pairs, flags = site
    assert "nowhere: no table with url" in download("--pairs", tmp_path / "nowhere/", "--output", tmp_path / "out", *flags)
    write_pairs(tmp_path / "wrong.parquet", ["http://site.example/1.jpg"])
    pq.write_table(pa.table({"link": ["x"]}), tmp_path / "wrong.parquet")
    assert "no column url" in download("--pairs", tmp_path / "wrong.parquet", "--output", tmp_path / "out", *flags)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    assert "not a whole Parquet file" in download("--pairs", tmp_path / "broken.parquet", "--output", tmp_path / "out2", *flags)
    assert "--contact is missing" in download("--pairs", pairs, "--output", tmp_path / "out3")
    assert not (tmp_path / "out3").exists()


@pytest.mark.parametrize(
    "flag, value, said",
    [
        ("--pairs-per-shard", "0", "must be at least 1, and at most 10,000"),
        ("--pairs-per-shard", "10001", "must be at least 1, and at most 10,000"),
        ("--encode-quality", "101", "must be at least 1, and at most 100"),
        ("--timeout", "nan", "must be at least 1"),
        ("--decode-threads", "0", "must be at least 1"),
        ("--image-size", "big", "invalid int value: 'big'"),
    ],
)
def test_numbers_out_of_bounds_are_refused(flag, value, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--pairs", "p", "--output", "o", flag, value])
    assert ended.value.code == 2
    assert f"argument {flag}: {said}" in capsys.readouterr().err


def test_what_must_come_before_arrow_and_beam_does():
    """The allocator is chosen before Arrow is imported, and workers start before Beam is; shards hold what their keys have room for."""
    script = "import sys, pipelines.download_images; print(sorted({'apache_beam', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert PAIRS_PER_SHARD == MAX_ROWS


def test_killed_runs_end_like_an_undisturbed_one(site, tmp_path):
    server, pairs, flags = site
    download("--pairs", pairs, "--output", tmp_path / "undisturbed", *flags)
    wanted = content(tmp_path / "undisturbed")
    output = tmp_path / "out"
    # Killed as soon as a certain number of requests has come in, which falls into planning, shards, or their writing.
    for requests in (1, 12, 25):
        server.requests.clear()
        running = subprocess.Popen(
            command("--pairs", pairs, "--output", output, "--workers", 2, *flags, "--in-flight", 4), cwd=ROOT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        while len(server.requests) < requests and running.poll() is None:
            time.sleep(0.005)
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert download("--pairs", pairs, "--output", output, *flags) is None
    assert content(output) == wanted
