"""`pipelines.download_images` beside img2dataset: images a second and peak memory, over http and https.

    python -m venv /somewhere/img2dataset && /somewhere/img2dataset/bin/pip install img2dataset==1.47.0
    python -m benchmarks.download --peer /somewhere/img2dataset/bin/img2dataset

Both download the same pictures from one loopback server in a process of its own, alternating, so that they meet the
same machine; ratios are of medians. Needs `openssl` for the server's certificate. Pictures are made: noise of every
scale with edges, at JPEG quality that gives the size of photographs on the web.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import json
import os
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import certifi
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from wit_builder.images import DRAFT_MARGIN, ImageRules, encode_image, geometry

ROOT = Path(__file__).resolve().parent.parent
SIZES = ((1024, 768), (800, 600), (1200, 800), (1024, 1024), (768, 1024), (1280, 853), (640, 853), (900, 1200), (700, 700))
QUALITY = 91
PAGE = os.sysconf("SC_PAGE_SIZE")
PICTURES = 180  # different ones; each is served under many names


def picture(seed: int) -> bytes:
    """A made JPEG like a photograph: 1/f noise in correlated colours, with some hard edges."""
    rng = np.random.default_rng(seed)
    width, height = SIZES[seed % len(SIZES)]
    pixels = np.zeros((height, width, 3), np.float32)
    for scale in (256, 128, 64, 32, 16, 8, 4, 2):
        shape = (-(-height // scale) + 1, -(-width // scale) + 1)
        grey = rng.normal(size=shape)[..., None] + 0.4 * rng.normal(size=(*shape, 3))
        layer = [Image.fromarray(grey[..., c].astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC) for c in range(3)]
        pixels += np.stack(layer, -1) * scale**0.75
    for _ in range(25):
        top, left = rng.integers(0, height), rng.integers(0, width)
        pixels[top : top + rng.integers(20, 200), left : left + rng.integers(20, 200)] += rng.normal(size=3) * 40
    pixels = 128 + 48 * (pixels - pixels.mean()) / pixels.std()
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


class Responder(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, nothing but whole responses made beforehand."""

    responses: list[bytes] = []

    def connection_made(self, transport) -> None:
        self.transport, self.pending = transport, b""

    def data_received(self, data: bytes) -> None:
        self.pending += data
        while b"\r\n\r\n" in self.pending:
            head, self.pending = self.pending.split(b"\r\n\r\n", 1)
            name = head.split(b" ", 2)[1][1:].split(b".")[0]
            if name.isdigit():
                self.transport.write(self.responses[int(name) % len(self.responses)])
            else:
                self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


async def serve(folder: Path) -> None:
    """Serve the pictures of a folder over http and https, print both ports, and go on for ever."""
    for path in sorted(folder.glob("*.jpg")):
        body = path.read_bytes()
        Responder.responses.append(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    loop = asyncio.get_running_loop()
    plain = await loop.create_server(Responder, "127.0.0.1", 0, backlog=1024)
    secure = await loop.create_server(Responder, "127.0.0.1", 0, ssl=context, backlog=1024)
    print(plain.sockets[0].getsockname()[1], secure.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def make_world(folder: Path, images: int) -> None:
    """Pictures; a certificate for localhost; and the trusted roots that a machine has, with this certificate among them."""
    sizes = []
    for seed in range(PICTURES):
        data = picture(seed)
        (folder / f"{seed:03d}.jpg").write_bytes(data)
        width, height = SIZES[seed % len(SIZES)]
        sizes.append((width * height, len(data)))
    pixels, size = (statistics.mean(column) for column in zip(*sizes))
    print(f"{images} images from {PICTURES} pictures, mean {pixels / 1e6:.2f} megapixels, {size / 1e3:.0f} kB")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "roots.pem").write_text(certifi.contents() + (folder / "cert.pem").read_text())


def image_work(folder: Path) -> str:
    """CPU time of one core for the image work alone, which no client can save: decoding, and all of it."""
    rules = ImageRules(image_size=256, resize_mode="center_crop", quality=95)
    pictures = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]

    def decode(data: bytes) -> None:
        with Image.open(io.BytesIO(data)) as image:
            scaled = geometry(*image.size, rules).scaled
            image.draft(None, tuple(int(side * DRAFT_MARGIN + 0.5) for side in scaled))
            image.load()

    def milliseconds(work: Callable[[bytes], object]) -> float:
        started = time.process_time()
        for data in pictures:
            work(data)
        return (time.process_time() - started) / len(pictures) * 1e3

    decoding, whole = milliseconds(decode), milliseconds(lambda data: encode_image(data, rules))
    return f"image work alone: {whole:.1f} CPU ms an image, {decoding:.1f} of it decoding"


def tree_memory(root: int, shared_out: bool) -> int:
    """Resident memory of a process and all below it, in bytes: summed, or with shared pages shared out (PSS), which is slow to read."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry))
    todo, found = [root], 0
    while todo:
        process = todo.pop()
        todo += children.get(process, [])
        try:
            if shared_out:
                lines = Path("/proc", str(process), "smaps_rollup").read_text().splitlines()
                found += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
            else:
                found += int(Path("/proc", str(process), "statm").read_text().split()[1]) * PAGE
        except OSError:
            continue
    return found


def measure(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Run a command to its end: seconds of wall clock and CPU, peak memory of its process tree in MB."""
    before = os.times()
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log)
        peaks, ended = [0, 0], threading.Event()

        def watch() -> None:
            for turn in itertools.count():
                if ended.wait(0.1):
                    return
                peaks[0] = max(peaks[0], tree_memory(process.pid, shared_out=False))
                if turn % 10 == 9:
                    peaks[1] = max(peaks[1], tree_memory(process.pid, shared_out=True))

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = process.wait()
        seconds = time.perf_counter() - started
        ended.set()
        watcher.join()
        if code:
            log.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{log.read().decode(errors='replace')}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": seconds, "cpu": cpu, "rss": peaks[0] / 1e6, "pss": peaks[1] / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="path of img2dataset 1.47.0's command; without it only ours is measured")
    parser.add_argument("--workers", type=int, default=2, help="processes of ours; 1 is this process alone (default: %(default)s)")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--schemes", nargs="+", default=["http", "https"], choices=["http", "https"])
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.serve:
        asyncio.run(serve(flags.serve))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_world(folder, flags.images)
        print(image_work(folder), flush=True)
        server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.download", "--serve", str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        try:
            ports = dict(zip(("http", "https"), server.stdout.readline().split()))
            for scheme in flags.schemes:
                compare(scheme, ports[scheme], folder, flags)
        finally:
            server.kill()


def compare(scheme: str, port: str, folder: Path, flags) -> None:
    """Measure both, alternating, and print every run, the medians and their ratios."""
    pairs, output = folder / f"{scheme}.parquet", folder / "out"
    urls = [f"{scheme}://localhost:{port}/{index}.jpg" for index in range(flags.images)]
    pq.write_table(pa.table({"url": urls, "caption": [f"picture {index}" for index in range(flags.images)]}), pairs)
    environment = {"SSL_CERT_FILE": str(folder / "roots.pem"), "NO_ALBUMENTATIONS_UPDATE": "1"}
    image = ["--image_size", "256", "--resize_mode", "center_crop", "--encode_quality", "95"]
    ours = [sys.executable, "-m", "pipelines.download_images", "--pairs", str(pairs), "--output", str(output), "--pairs-per-shard", "750"]
    ours += [word.replace("_", "-") if word.startswith("--") else word for word in image]
    ours += ["--host-rate", "0", "--host-connections", "0", "--allow-private-hosts", "--workers", str(flags.workers)]
    commands = {"ours": ours}
    if flags.peer:
        commands["img2dataset"] = [
            flags.peer, "--url_list", str(pairs), "--output_folder", str(output), "--input_format", "parquet", "--url_col", "url",
            "--caption_col", "caption", "--output_format", "webdataset", "--processes_count", "2", "--thread_count", "16", *image,
            "--number_sample_per_shard", "750",
        ]  # fmt: skip
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for round_number in range(flags.rounds):
        for name, command in commands.items():
            shutil.rmtree(output, ignore_errors=True)
            result = measure(command, environment)
            saved = sum(json.loads(path.read_text())["successes"] for path in output.glob("*_stats.json"))
            if saved != flags.images:
                sys.exit(f"{name} saved {saved} of {flags.images} images")
            runs[name].append(result)
            print(
                f"{scheme} round {round_number + 1} {name}: {flags.images / result['seconds']:.0f} images/s, "
                f"{result['cpu'] / flags.images * 1e3:.2f} CPU ms an image, peak {result['rss']:.0f} MB (PSS {result['pss']:.0f} MB)",
                flush=True,
            )
    median = {name: {key: statistics.median(run[key] for run in found) for key in found[0]} for name, found in runs.items()}
    if flags.peer:
        speed = median["img2dataset"]["seconds"] / median["ours"]["seconds"]
        memory = median["ours"]["rss"] / median["img2dataset"]["rss"]
        print(f"{scheme}: {speed:.2f} times img2dataset's images per second, {memory:.2f} times its peak memory")


if __name__ == "__main__":
    main()
