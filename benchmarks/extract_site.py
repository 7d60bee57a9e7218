"""A web site that nobody here wrote, extracted as loose pages and as WARC, beside parsers that nobody here wrote.

    apt-get download gimp-help-en && dpkg -x gimp-help-en_*.deb site
    python -m venv /somewhere/peers && /somewhere/peers/bin/pip install html5lib lxml
    python -m benchmarks.extract_site --folder site/usr/share/gimp/2.0/help/en --peer /somewhere/peers/bin/python

Every page must be counted, both ways must give the same pairs, and those must be the pairs that each parser (html5lib,
lxml, html.parser of the standard library) finds with `alt`, `src` and `urljoin`. Exit code 1 where they are not.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from fastwarc.warc import WarcRecord, WarcRecordType

from wit_builder import tables

ROOT = Path(__file__).resolve().parent.parent
PEER = Path(__file__).with_name("extract_peer.py")
BASE = "http://site.example/"
PARSERS = ("html5lib", "lxml", "html.parser")

NAME = re.compile(r"\.(?:html?|xhtml|shtml)(?:\.gz)?$", re.IGNORECASE)

Pairs = set[tuple[str, str, str]]  # page URL, image URL, text


def write_warc(folder: Path, pages: list[Path], path: Path) -> None:
    """Every page as a response, in gzip members as crawlers write them."""
    with open(path, "wb") as stream:
        for page in pages:
            record = WarcRecord()
            record.init_headers(WarcRecordType.response)
            record.headers["WARC-Target-URI"] = BASE + quote(page.relative_to(folder).as_posix())
            record.headers["Content-Type"] = "application/http; msgtype=response"
            record.set_bytes_content(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + read(page))
            member = io.BytesIO()
            record.write(member)
            stream.write(gzip.compress(member.getvalue(), mtime=0))


def read(page: Path) -> bytes:
    data = page.read_bytes()
    return gzip.decompress(data) if page.suffix == ".gz" else data


def extract(source: Path, output: Path, *flags: str) -> tuple[int, Pairs]:
    """Pages counted, and pairs, of which each stands once with its smallest page URL."""
    command = [sys.executable, "-m", "pipelines.extract_pairs", "--input", str(source), "--output", str(output), *flags]
    subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    rows = [row for path in tables.find(str(output), "pairs") for row in tables.read_table(path).to_pylist()]
    pages = json.loads((output / "manifest.json").read_text())["counts"]["pages"]
    return pages, {(row["page_url"], row["url"], row["text"]) for row in rows}


def unique(found: list[tuple[str, str, str]]) -> Pairs:
    """Of equal image URL and text the one with the smallest page URL, as `extract_pairs` keeps it."""
    smallest: dict[tuple[str, str], str] = {}
    for page, url, text in found:
        smallest[url, text] = min(page, smallest.get((url, text), page))
    return {(page, url, text) for (url, text), page in smallest.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="a folder of .html, .xhtml, .shtml files (also .gz)")
    parser.add_argument("--peer", default=sys.executable, help="the Python of an environment that holds the parsers")
    parser.add_argument("--parsers", nargs="+", default=PARSERS, choices=PARSERS)
    arguments = parser.parse_args()
    pages = sorted(path for path in arguments.folder.rglob("*") if NAME.search(path.name) and path.is_file())
    if not pages:
        parser.error(f"no pages below {arguments.folder}")
    size = sum(len(read(page)) for page in pages)
    print(f"{len(pages):,} pages, {size / 1e6:.1f} MB")
    good = True
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        write_warc(arguments.folder, pages, work / "site.warc.gz")
        (work / "loose.txt").write_text("\n".join(map(str, pages)))
        ours = {}
        for name, source, flags in (("loose pages", arguments.folder, ("--base-url", BASE)), ("WARC", work / "site.warc.gz", ())):
            start = time.monotonic()
            counted, ours[name] = extract(source, work / name, *flags)
            good &= counted == len(pages)
            print(f"ours, {name}: {counted:,} pages, {len(ours[name]):,} unique pairs, {time.monotonic() - start:.1f} s with start-up")
        good &= ours["WARC"] == ours["loose pages"]
        print(f"both ways the same: {ours['WARC'] == ours['loose pages']}")
        for name in arguments.parsers:
            command = [arguments.peer, PEER, "site", name, arguments.folder, BASE, work / "loose.txt"]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            theirs = unique([tuple(pair) for pair in found["pairs"]])
            good &= theirs == ours["WARC"]
            print(f"{name}: {len(found['pairs']):,} images with URL and text, {len(theirs):,} unique pairs, {found['seconds']:.1f} s; "
                  f"only there {len(theirs - ours['WARC'])}, only ours {len(ours['WARC'] - theirs)}", flush=True)
            for side, pairs in (("only there", theirs - ours["WARC"]), ("only ours", ours["WARC"] - theirs)):
                for pair in sorted(pairs)[:5]:
                    print(f"    {side}: {pair}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
