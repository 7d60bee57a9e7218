"""The stages on real data that nobody here wrote, one on the other's output, as a user runs them; skipped where it is absent."""

import bz2
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest
import webdataset
from fastwarc.warc import ArchiveIterator, WarcRecordType

from sample_world.wordnet import write_wordnet

ROOT = Path(__file__).resolve().parents[2]


def run(stage, *arguments):
    command = [sys.executable, "-m", f"pipelines.{stage}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def rows(folder, name):
    return [row for path in sorted(folder.glob(f"{name}-*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def queries(samples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    write_wordnet(str(folder / "wordnet"))
    dump = samples / "wikipedia" / "enwiki-sample.xml.bz2"
    run("build_queries", "--wikipedia", dump, "--wordnet", folder / "wordnet", "--size", 1000, "--output", folder / "queries")
    return folder / "queries"


@pytest.fixture(scope="module")
def balanced(samples, queries, tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    run("extract_pairs", "--input", samples / "warc" / "archive-org.warc.gz", "--output", folder / "pairs")
    run("balance_pairs", "--pairs", folder / "pairs", "--queries", queries / "queries.parquet", "--output", folder / "balanced")
    return folder


def test_queries_of_the_wikipedia_sample(samples, queries):
    export = "{http://www.mediawiki.org/xml/export-0.10/}"
    root = ElementTree.fromstring(bz2.decompress((samples / "wikipedia" / "enwiki-sample.xml.bz2").read_bytes()))
    pages = root.findall(f"{export}page")
    articles = [page for page in pages if page.findtext(f"{export}ns") == "0" and page.find(f"{export}redirect") is None]
    found = manifest(queries)
    assert found["counts"]["pages"] == len(pages)
    assert found["counts"]["articles"] == len(articles) > 100
    assert found["counts"]["tokens"] > 400_000
    listed = pq.read_table(queries / "queries.parquet").to_pylist()
    assert len(listed) == found["counts"]["queries"] == 1000
    assert {"the", "history", "war"} <= {row["query"] for row in listed if row["source"] == "unigram"}
    assert all(row["count"] >= 100 for row in listed if row["source"] == "unigram")


def test_pairs_of_the_archive_sample_match_those_queries(samples, balanced):
    found = manifest(balanced / "pairs")
    pages = 0
    with open(samples / "warc" / "archive-org.warc.gz", "rb") as stream:
        for record in ArchiveIterator(stream, parse_http=True, record_types=WarcRecordType.response):
            pages += (record.http_content_type or "").startswith("text/html")
    assert found["counts"]["pages"] == pages
    assert found["counts"]["pairs_found"] > 600 and found["faults"] == []
    pairs, kept = rows(balanced / "pairs", "pairs"), rows(balanced / "balanced", "balanced-pairs")
    assert len({row["uid"] for row in pairs}) == len(pairs) == found["counts"]["pairs"]
    assert {row["uid"] for row in kept} < {row["uid"] for row in pairs}
    assert all(row["query_ids"] and set(row["selected_by"]) <= set(row["query_ids"]) for row in kept)


def test_images_of_the_archive_sample_are_saved_from_its_own_records(samples, balanced):
    archive = samples / "warc" / "archive-org.warc.gz"
    shards = balanced / "shards"
    command = [sys.executable, str(ROOT / "tests" / "archive_site.py"), str(archive)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as site:
        hosts = site.stdout.readline().split()
        arguments = ("--pairs", balanced / "balanced", "--output", shards, "--allow-private-hosts", "--host-rate", 0, "--retries", 0)
        run("download_images", *arguments, *hosts)
        site.stdin.close()
    images = set()
    with open(archive, "rb") as stream:
        for record in ArchiveIterator(stream, parse_http=True, record_types=WarcRecordType.response):
            if (record.http_content_type or "").startswith("image/"):
                images.add(record.headers["WARC-Target-URI"])
    kept = rows(balanced / "balanced", "balanced-pairs")
    tried = pq.read_table(shards / "00000.parquet").to_pylist()
    assert {row["uid"] for row in tried} == {row["uid"] for row in kept} and len(tried) == len(kept)
    saved = {row["uid"]: row["url"] for row in tried if row["status"] == "success"}
    assert len(saved) > 50
    assert set(saved.values()) <= images
    # What the archive holds and was not saved was forbidden by the robots.txt that stands in it.
    left = Counter(row["error_message"] for row in tried if row["url"] in images and row["uid"] not in saved)
    assert set(left) <= {"robots_txt_forbids"}
    samples_read = list(webdataset.WebDataset(str(shards / "00000.tar"), shardshuffle=False).decode("pil").to_tuple("jpg", "txt", "json"))
    assert {described["uid"] for _, _, described in samples_read} == set(saved)
    assert all(picture.size == (256, 256) and text for picture, text, _ in samples_read)
