"""Extraction beside what others use, each in one run, alternating; seconds are of one core, ratios of medians.

    python -m venv /somewhere/peers
    /somewhere/peers/bin/pip install fastwarc pysimdjson resiliparse selectolax lxml
    python -m benchmarks.extract wat --peer /somewhere/peers/bin/python --pages 38000
    python -m benchmarks.extract html --peer /somewhere/peers/bin/python --warc crawl.warc.gz

`wat`: a made WAT file like Common Crawl's (38,000 pages give about 400,000 image links with alt texts) through
cc2dataset's way (FastWARC, pysimdjson, urljoin, MD5; all links in a list) and through ours (URLs normalised, texts
cleaned, duplicates removed, sorted and written). `html`: the images of every page of a WARC file, by each parser.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from wit_builder.pairs import archives
from wit_builder.pairs.charsets import to_utf8
from wit_builder.pairs.extract import Extract
from wit_builder.pairs.html import read_page
from wit_builder.pairs.inputs import find_sources, make_tasks
from wit_builder.pairs.pages import is_html

ROOT = Path(__file__).resolve().parent.parent
PEER = Path(__file__).with_name("extract_peer.py")


def make_wat(path: Path, pages: int, seed: int = 0) -> int:
    """Write a made WAT file, three records a page as Common Crawl has them; returns image links with an alt text.

    By page: about 130 links, 21 of them images, half of those with an alt text; 25 metas, links and scripts; HTTP headers.
    """
    chance = random.Random(seed)
    words = ["".join(chance.choices("etaoinshrdlucmfwypvbgk", k=chance.randint(2, 10))) for _ in range(20_000)]
    text = lambda low, high: " ".join(chance.choices(words, k=chance.randint(low, high)))  # noqa: E731
    name = lambda: "-".join(chance.choices(words, k=3))  # noqa: E731
    headers = {f"X-{word}": text(1, 6) for word in chance.sample(words, 14)}
    with_alt = 0
    with open(path, "wb") as stream:
        for number in range(pages):
            host = f"www.{words[number % 9000]}.example"
            uri = f"https://{host}/{name()}/{number}.html"
            links: list[dict[str, str]] = []
            for _ in range(chance.randint(60, 160)):
                links.append({"path": "A@/href", "url": f"/{name()}/{name()}.html", "text": text(1, 8)})
            for _ in range(chance.randint(2, 40)):
                kind = chance.random()
                if kind < 0.6:
                    url = f"https://cdn.{host}/uploads/{chance.randint(2010, 2026)}/{name()}-{chance.randint(1, 10**6)}.jpg"
                else:
                    url = chance.choice(["/images/", "../img/", "//static." + host + "/", "media/ü "]) + name() + ".png?w=640&v=2"
                link = {"path": "IMG@/src", "url": url}
                if chance.random() < 0.85:
                    link["alt"] = text(1, 9) if chance.random() < 0.6 else ""
                    with_alt += bool(link["alt"])
                links.append(link)
            chance.shuffle(links)
            head = {
                "Title": text(3, 9),
                "Metas": [{"name": words[index], "content": text(1, 20)} for index in range(10)],
                "Link": [{"path": "LINK@/href", "url": f"/assets/{name()}.css", "rel": "stylesheet"} for _ in range(8)],
                "Scripts": [{"path": "SCRIPT@/src", "url": f"/assets/{name()}.js"} for _ in range(7)],
            }
            response = {"Response-Message": {"Status": "200", "Version": "HTTP/1.1", "Reason": "OK"}, "Headers": headers}
            for kind in ("request", "response", "metadata"):
                payload: dict = {"Actual-Content-Type": f"application/http; msgtype={kind}", "Block-Digest": "sha1:" + "A" * 32}
                if kind == "request":
                    payload["HTTP-Request-Metadata"] = {"Headers": headers}
                elif kind == "response":
                    payload["HTTP-Response-Metadata"] = {**response, "HTML-Metadata": {"Head": head, "Links": links}}
                envelope = {
                    "Format": "WARC/1.0",
                    "WARC-Header-Metadata": {"WARC-Type": kind, "WARC-Target-URI": uri, "WARC-Date": "2026-01-01T00:00:00Z"},
                    "Payload-Metadata": payload,
                }
                container = {"Filename": "CC-MAIN-00000.warc.gz", "Compressed": True, "Offset": str(number)}
                body = json.dumps({"Container": container, "Envelope": envelope}, ensure_ascii=False, separators=(",", ":")).encode()
                warc = f"WARC/1.0\r\nWARC-Type: metadata\r\nWARC-Target-URI: {uri}\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
                warc += f"WARC-Record-ID: <urn:uuid:{number:032x}>\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                stream.write(gzip.compress(warc.encode() + body + b"\r\n\r\n", 6, mtime=0))
    return with_alt


def extract_file(path: Path) -> dict:
    """One file as the pipeline's task does it: read, normalised, without duplicates, sorted, written."""
    (task,) = make_tasks(find_sources([str(path)]))
    with tempfile.TemporaryDirectory() as folder:
        return Extract(folder, partitions=2)(None, task)["counts"]


def peer(python: str, *arguments: object) -> dict:
    """One figure of the other side, from its own environment."""
    done = subprocess.run([python, str(PEER), *map(str, arguments)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def seconds(work: Callable[[], object]) -> tuple[float, object]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def compare_wat(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.wat or Path(folder) / "made.warc.wat.gz"
        if not path.exists():
            print(f"made: {make_wat(path, arguments.pages):,} image links with alt, {path.stat().st_size / 1e6:,.0f} MB compressed")
        read_page("", b"<img>")  # compiled before the clock starts
        ours, theirs = [], []
        for round_ in range(arguments.rounds):
            taken, counts = seconds(lambda: extract_file(path))
            found = peer(arguments.peer, "wat", path)
            ours.append(taken)
            theirs.append(found["seconds"])
            print(f"round {round_}: ours {taken:.1f} s ({counts['pairs_found']:,} pairs), cc2dataset's way {found['seconds']:.1f} s "
                  f"({found['links']:,} links)", flush=True)
        print(f"medians: ours {statistics.median(ours):.1f} s, cc2dataset's way {statistics.median(theirs):.1f} s, "
              f"ratio {statistics.median(theirs) / statistics.median(ours):.1f}")


def compare_html(arguments: argparse.Namespace) -> None:
    """Images of every page of a WARC file, by each parser; ours gets the pages in UTF-8, the others as text."""
    pages: list[bytes] = []
    with open(arguments.warc, "rb") as stream:
        for record in (item.parse() for item in archives.read_records(stream, frozenset((b"response",)), print)):
            record.parse_http(auto_decode="all")
            if record.http_headers is None:
                continue  # DNS records
            body = record.reader.read()
            if is_html(record.http_headers.get("Content-Type") or "", body):
                pages.append(to_utf8(body, record.http_headers.get("Content-Type")))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pages.jsonl"
        path.write_text("".join(json.dumps(page.decode("utf-8", "replace")) + "\n" for page in pages))
        read_page("", b"<img>")
        for round_ in range(arguments.rounds):
            taken, images = seconds(lambda: sum(len(read_page("", page).images) for page in pages))
            line = f"round {round_}: {len(pages)} pages; ours {taken:.2f} s ({images} images)"
            for parser in ("resiliparse", "selectolax", "lxml"):
                found = peer(arguments.peer, "html", parser, path)
                line += f", {parser} {found['seconds']:.2f} s ({found['images']})"
            print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("wat", "html"))
    parser.add_argument("--peer", default=sys.executable, help="the Python of an environment that holds the others")
    parser.add_argument("--pages", type=int, default=38_000)
    parser.add_argument("--wat", type=Path, help="a WAT file to use, or to make and keep")
    parser.add_argument("--warc", type=Path, help="a WARC file whose pages the parsers read")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    compare_wat(arguments) if arguments.what == "wat" else compare_html(arguments)


if __name__ == "__main__":
    main()
