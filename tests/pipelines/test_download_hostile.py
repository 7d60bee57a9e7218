"""Everything a hostile web does, at once: each case ends in time, with its own reason, and the good images are saved."""

import asyncio
import gzip
import io
import json
import socket
import ssl
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from certificates import self_signed
from PIL import Image

from wit_builder.shards import find_shards

ROOT = Path(__file__).resolve().parents[2]
GOOD = 40
# Runs a command and prints the most kB that it or a process of its own has held. It stands between the tests and the
# command because Linux counts what a process held before it became another program, and the tests may hold a GB.
WEIGHED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
JPEG_HEAD = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"


def picture(seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((320, 240), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def bomb(side=20_000):
    """A PNG of some 48 kB that decodes to 400 megapixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def respond(body=b"", status="200 OK", length=None, **headers):
    """An answer with these headers, whose Content-Length may lie."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    async def answer(head, writer):
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()

    return answer


def forever(head_bytes, piece, pause=0.0):
    async def answer(head, writer):
        writer.write(head_bytes)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


def reset_after(data):
    async def answer(head, writer):
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.05)
        linger = struct.pack("ii", 1, 0)  # closing sends a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    return answer


async def silence(head, writer):
    await asyncio.sleep(60)


def busy_then(body, seconds):
    asked = []

    async def answer(head, writer):
        asked.append(time.monotonic())
        if len(asked) == 1:
            await respond(status="429 Too Many Requests", Retry_After=seconds)(head, writer)
        else:
            await respond(body)(head, writer)

    answer.asked = asked
    return answer


async def robots(head, writer):
    host = head.lower().split("host: ")[1].split(".example")[0]
    if host == "robots-503":
        await respond(status="503 Service Unavailable")(head, writer)
    elif host == "robots-forbid":
        await respond(b"User-agent: *\nDisallow: /*.jpg$\n")(head, writer)
    elif host == "robots-forbid-us":
        await respond(b"User-agent: webimagetextbot\nDisallow: /\n\nUser-agent: *\nAllow: /\n")(head, writer)
    else:
        await respond(status="404 Not Found")(head, writer)


OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
SAVED = "success"


def cases(port):
    """Name of a case (its host) to its answer and the outcome that is wanted."""
    image = picture(0)
    chunk = b"10000\r\n" + JPEG_HEAD + bytes(65516) + b"\r\n"
    return {
        "endless": (forever(OK + b"\r\n" + JPEG_HEAD, bytes(1 << 16)), "too_large"),
        "endless-chunks": (forever(OK + b"Transfer-Encoding: chunked\r\n\r\n", chunk), "too_large"),
        "endless-other": (forever(OK + b"\r\n", b"what is this " * 1000), "unknown_format"),
        "drip": (forever(OK + b"Content-Length: 5000\r\n\r\n" + JPEG_HEAD, b"x", 1.0), "timeout"),
        "silent": (silence, "timeout"),
        "huge": (forever(OK + b"Content-Length: 800000000\r\n\r\n" + JPEG_HEAD, bytes(1 << 16)), "too_large"),
        "bomb": (respond(bomb()), "too_many_pixels"),
        "gzip-bomb": (respond(gzip.compress(JPEG_HEAD + bytes(100_000_000), 9), Content_Encoding="gzip"), "too_large"),
        "gzip-good": (respond(gzip.compress(image), Content_Encoding="gzip"), SAVED),
        "brotli": (respond(image, Content_Encoding="br"), "bad_content_encoding"),
        "to-private": (respond(status="302 Found", Location=f"http://127.0.0.1:{port}/good.jpg"), "private_address"),
        "to-name": (respond(status="301 Moved", Location=f"http://localhost:{port}/good.jpg"), "private_address"),
        "to-metadata": (respond(status="307 Go", Location="http://169.254.169.254/latest/meta-data/"), "private_address"),
        "to-v6": (respond(status="308 Go", Location="http://[::ffff:10.0.0.1]/x.jpg"), "private_address"),
        "circle": (respond(status="302 Found", Location="http://circle.example/circle.jpg"), "redirect_loop"),
        "to-file": (respond(status="302 Found", Location="file:///etc/passwd"), "bad_redirect"),
        "to-nowhere": (respond(status="302 Found"), "bad_redirect"),
        "to-good": (respond(status="302 Found", Location="http://good.example/0.jpg"), SAVED),
        "to-forbidden": (respond(status="302 Found", Location="http://robots-forbid.example/0.jpg"), "robots_txt_forbids"),
        "page": (respond(b"<!DOCTYPE html><html><body>No such picture</body></html>" * 9), "html_not_image"),
        "too-long": (respond(image, length=len(image) + 1000), "incomplete_body"),
        "too-short": (respond(image, length=len(image) // 2), "bad_response"),
        "reset": (reset_after(OK + b"Content-Length: 9999\r\n\r\n" + JPEG_HEAD), "connection_reset"),
        "reset-at-once": (reset_after(b""), "connection_reset"),
        "busy-long": (respond(status="429 Too Many Requests", Retry_After=3600), "http_429"),
        "busy-short": (busy_then(image, 1), SAVED),
        "down": (respond(status="503 Service Unavailable"), "http_503"),
        "gone": (respond(status="410 Gone"), "http_410"),
        "robots-503": (respond(image), "robots_txt_unreachable"),
        "robots-forbid": (respond(image), "robots_txt_forbids"),
        "robots-forbid-us": (respond(image), "robots_txt_forbids"),
        "noai": (respond(image, X_Robots_Tag="nofollow, noai"), "opt_out_x_robots_tag"),
        "noai-us": (respond(image, X_Robots_Tag="WebImageTextBot: noindex"), "opt_out_x_robots_tag"),
        "noai-other": (respond(image, X_Robots_Tag="otherbot: noindex, noai"), SAVED),
        "tdm": (respond(image, tdm_reservation="1"), "opt_out_tdm_reservation"),
        "header": (forever(OK + b"X-Long: ", b"y" * 65536), "headers_too_large"),
        "headers": (forever(OK, b"X-One-More: and another one\r\n" * 1000), "headers_too_large"),
        "garbage": (respond(), "bad_response"),
        "empty": (respond(), "empty_body"),
        "cut": (respond(image[: len(image) // 2]), "truncated_image"),
        "broken": (respond(JPEG_HEAD + bytes(range(256)) * 20), "broken_image"),
        "svg": (respond(b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'), "unknown_format"),
    }  # fmt: skip


@pytest.mark.timeout(120)
def test_every_case_ends_in_time_with_its_own_reason_and_the_good_images_are_saved(web_server, tmp_path):
    server = web_server()
    tls_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls_context.load_cert_chain(*self_signed(tmp_path, "other.example"))
    tls = web_server(tls_context)
    made = cases(server.port)
    made["garbage"] = (forever(b"SSH-2.0-OpenSSH_9.6\r\n", b"\x00" * 99, 0.1), "bad_response")
    server.answers = {f"/{name}.jpg": answer for name, (answer, _) in made.items()}
    server.answers |= {f"/{index}.jpg": picture(index) for index in range(GOOD)} | {"/robots.txt": robots}
    wanted = {f"http://{name}.example/{name}.jpg": outcome for name, (_, outcome) in made.items()}
    wanted |= {f"http://good.example/{index}.jpg": SAVED for index in range(GOOD)}
    mapped = [f"{url.split('/')[2]}:80=127.0.0.1:{server.port}" for url in wanted]
    mapped += [f"tls.example:443=127.0.0.1:{tls.port}", f"no-tls.example:443=127.0.0.1:{server.port}", "refused.example:80=127.0.0.1:1"]
    wanted |= {
        "https://tls.example/0.jpg": "tls_error",
        "https://no-tls.example/0.jpg": "timeout",  # that server waits for the end of a request
        "http://refused.example/0.jpg": "connection_refused",
        f"http://localhost:{server.port}/0.jpg": "private_address",
        f"http://127.0.0.1:{server.port}/1.jpg": "private_address",
        f"http://[::1]:{server.port}/1.jpg": "private_address",
        "http://10.1.2.3/x.jpg": "private_address",
        "http://100.64.0.1/x.jpg": "private_address",
        "http://0.0.0.0/x.jpg": "private_address",
        "http://2130706433/x.jpg": "bad_url",
        "http://127.1/x.jpg": "bad_url",
        "javascript:alert(1)": "bad_url",
        "http://": "bad_url",
        "http://good.example:99999/x.jpg": "bad_url",
    }
    pq.write_table(pa.table({"url": list(wanted), "text": ["text"] * len(wanted)}), tmp_path / "pairs.parquet")
    flags = ["--timeout", "4", "--retries", "1", "--max-bytes", "3000000", "--host-rate", "0", "--workers", "1"]
    started = time.monotonic()
    command = [sys.executable, "-m", "pipelines.download_images", *flags]
    command += ["--pairs", tmp_path / "pairs.parquet", "--output", tmp_path / "out"]
    command += [word for entry in mapped for word in ("--map-host", entry)]
    run = subprocess.run([sys.executable, "-c", WEIGHED, *command], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert time.monotonic() - started < 90
    (shard,) = find_shards(str(tmp_path / "out"), check_hashes=True)
    rows = pq.read_table(shard.parquet).to_pylist()
    found = {row["url"]: row["error_message"] or row["status"] for row in rows}
    # What follows a body that is longer than it says may arrive with it, or only after the image is taken.
    wanted["http://too-short.example/too-short.jpg"] = found["http://too-short.example/too-short.jpg"]
    assert found["http://too-short.example/too-short.jpg"] in ("bad_response", "truncated_image")
    assert found == wanted
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["counts"]["images_saved"] == list(wanted.values()).count(SAVED)
    # The interpreter with its libraries takes some 200 MB of it.
    assert int(run.stdout.splitlines()[-1]) / 1024 < 600
    asked = made["busy-short"][0].asked
    assert len(asked) == 2 and asked[1] - asked[0] >= 1.0, "Retry-After is waited for"
    assert server.asked("/busy-long.jpg") == 1 and server.asked("/robots-forbid.jpg") == server.asked("/robots-503.jpg") == 0
    assert server.asked("/gone.jpg") == 1 and server.asked("/down.jpg") == 2, "only what may pass is tried again"
