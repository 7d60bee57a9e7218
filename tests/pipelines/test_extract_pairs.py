import gzip
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest
from crawls import members, metadata, response

from wit_builder import tables

ROOT = Path(__file__).resolve().parents[2]


def extract(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipelines.extract_pairs", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def rows_of(folder: Path) -> list[dict]:
    return [row for path in tables.find(str(folder), "pairs") for row in tables.read_table(path).to_pylist()]


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


PAGES = {
    f"dir/page{number}.html": f"<title>{number}</title><p><img src='i{number % 40}.jpg' alt='Picture &amp; number {number % 50}'>"
    f"<img src=/logo.png alt=Logo><img src='data:,x' alt=inline><img src=n.png alt=''><img src=q.png title='T {number}'>"
    for number in range(300)
}
SITE = "http://site.example/docs"


class Reference(HTMLParser):
    """What Python's own parser finds: (src, alt) of every image."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[tuple[str | None, str | None]] = []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append((dict(attrs).get("src"), dict(attrs).get("alt")))


def expected() -> set[tuple[str, str]]:
    pairs = set()
    for name, page in PAGES.items():
        parser = Reference()
        parser.feed(page)
        pairs |= {(urljoin(f"{SITE}/{name}", src), alt) for src, alt in parser.images if alt and not src.startswith("data:")}
    return pairs


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """One site three ways: WARC files, WAT files and loose pages."""
    folder = tmp_path_factory.mktemp("site")
    items = [(f"{SITE}/{name}", page) for name, page in PAGES.items()]
    for kind in ("warc", "wat"):
        (folder / kind).mkdir()
        for part in range(3):
            chosen = items[part::3]
            records = [response(url, page.encode()) if kind == "warc" else metadata(url, page) for url, page in chosen]
            (folder / kind / f"{part}.{kind}.gz").write_bytes(members(records))
    for name, page in PAGES.items():
        path = folder / "html" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page)
    return folder


def test_a_site_gives_the_same_pairs_as_warc_wat_and_loose_pages(site, tmp_path):
    found = {}
    for kind in ("warc", "wat", "html"):
        flags = ("--base-url", SITE) if kind == "html" else ()
        done = extract("--input", site / kind, "--output", tmp_path / kind, "--workers", 1, *flags)
        assert done.returncode == 0, done.stderr
        rows = rows_of(tmp_path / kind)
        found[kind] = {(row["url"], row["text"]) for row in rows}
        counts = manifest_of(tmp_path / kind)["counts"]
        assert counts["pages"] == len(PAGES) and counts["pairs"] == len(rows) == len(found[kind])
        drops = manifest_of(tmp_path / kind)["drops"]
        assert counts["images"] == counts["pairs_found"] + sum(drops.values()) - drops["duplicate"]
    assert found["warc"] == found["wat"] == found["html"] == expected()


def test_bytes_do_not_depend_on_workers_or_on_the_order_of_files(site, tmp_path):
    files = sorted((site / "warc").iterdir())
    for name, inputs, workers in (("one", files, 1), ("two", files[::-1], 2)):
        done = extract("--input", *inputs, "--output", tmp_path / name, "--workers", workers)
        assert done.returncode == 0, done.stderr
    for path in (tmp_path / "one").iterdir():
        if path.name != "run.json":
            assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    again = extract("--input", *files, "--output", tmp_path / "one")
    assert again.returncode == 0 and "whole already" in again.stderr
    other = extract("--input", *files, "--output", tmp_path / "one", "--text-sources", "alt,title")
    assert other.returncode == 1 and "another run's output" in other.stderr.splitlines()[-1]


def test_a_cut_off_file_is_told_and_what_was_before_is_kept(site, tmp_path):
    (tmp_path / "in").mkdir()
    data = (site / "warc" / "0.warc.gz").read_bytes()
    (tmp_path / "in" / "0.warc.gz").write_bytes(data[:-100])
    strict = extract("--input", tmp_path / "in", "--output", tmp_path / "strict", "--strict", "--workers", 1)
    assert strict.returncode == 1 and "0.warc.gz: cut off at byte" in strict.stderr.splitlines()[-1]
    assert not list((tmp_path / "strict").glob("pairs-*")) and not (tmp_path / "strict" / "manifest.json").exists()
    done = extract("--input", tmp_path / "in", "--output", tmp_path / "out", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert "warning: 0.warc.gz: cut off at byte" in done.stderr
    manifest = manifest_of(tmp_path / "out")
    assert manifest["counts"]["pages"] == 99 and [fault["what"] for fault in manifest["faults"]] == ["cut off"]
    assert "0.warc.gz" in (tmp_path / "out" / "report.html").read_text()


def test_paths_files_name_archives_below_a_prefix(site, tmp_path):
    (tmp_path / "wat.paths.gz").write_bytes(gzip.compress(b"wat/0.wat.gz\nwat/1.wat.gz\n"))
    done = extract("--input", tmp_path / "wat.paths.gz", "--prefix", site, "--output", tmp_path / "out", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert {row["source_file"] for row in rows_of(tmp_path / "out")} <= {"wat/0.wat.gz", "wat/1.wat.gz"}
    assert manifest_of(tmp_path / "out")["counts"]["pages"] == 200


def test_other_text_sources_are_noted(site, tmp_path):
    done = extract("--input", site / "warc", "--output", tmp_path / "out", "--text-sources", "alt,title", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert {row["text_source"] for row in rows_of(tmp_path / "out")} == {"alt", "title"}


def test_wrong_input_is_told_in_one_line(tmp_path):
    (tmp_path / "no.warc.gz").write_bytes(b"hello")
    (tmp_path / "notes.txt").write_text("hello")
    for given, message in (
        ("missing.warc.gz", "no file there"),
        ("no.warc.gz", "not a WARC file"),
        ("notes.txt", "neither an archive"),
    ):
        done = extract("--input", tmp_path / given, "--output", tmp_path / "out", "--workers", 1)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/{given}: {message}")
        assert not (tmp_path / "out").exists()


def test_real_archives_give_the_pairs_counted_by_another_parser(samples, tmp_path):
    done = extract("--input", samples / "warc" / "*.warc.gz", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    counts = manifest_of(tmp_path / "out")["counts"]
    assert (counts["pages"], counts["pairs_found"]) == (141, 673)
    rows = rows_of(tmp_path / "out")
    assert len(rows) == counts["pairs"] == len({row["uid"] for row in rows})
