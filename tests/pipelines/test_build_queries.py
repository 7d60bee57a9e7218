import bz2
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.queries import wordnet_folder
from tests.queries.dumps import dump, multistream, page

ROOT = Path(__file__).resolve().parent.parent.parent

PAGES = [
    page("Golden Gate Bridge", "The golden gate bridge is a suspension bridge. " * 12),
    page("Dog", "A '''dog''' is an [[animal|animals]]. {{Infobox}} The dog and the golden gate. " * 9),
    page("Mercury (disambiguation)", "Mercury may be a planet, or a [[metal]]."),
    page("Hound", "#REDIRECT [[Dog]]", redirect=True),
    page("Talk:Dog", "Talk.", namespace=1),
    *[page(f"Town {number}", f"Town {number} is a town in the golden state. " * 3) for number in range(60)],
]
VIEWS = b"".join(
    [
        b"en Golden_Gate_Bridge 70 0\nen.m Golden%20Gate_Bridge 40 0\nen Mercury_(disambiguation) 30 0\nde Dog 999 0\n",
        b"en Town_7 25 0\nen Special:Search 9999 0\nen Hound 500 0\nen Town_8 5 0\n",
    ]
)


def command(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "pipelines.build_queries", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=200
    )


def contents(folder, without=("run.json", "manifest.json")):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in without}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "one.xml.bz2").write_bytes(bz2.compress(dump(PAGES)))
    (folder / "many.xml.bz2").write_bytes(multistream(PAGES, 10)[0])
    (folder / "pageviews-20260401-000000.gz").write_bytes(gzip.compress(VIEWS))
    wordnet_folder.write(folder / "wordnet")
    return folder


def run(inputs, output, dump_name, *more):
    return command(
        "--wikipedia", inputs / dump_name, "--pageviews", inputs / "pageviews-*.gz", "--wordnet", inputs / "wordnet",
        "--min-count", 12, "--min-bigram-count", 5, "--output", output, *more,
    )  # fmt: skip


def test_the_command_makes_the_list_that_was_asked_for(inputs, tmp_path):
    done = run(inputs, tmp_path / "a", "one.xml.bz2", "--size", 26)
    assert done.returncode == 0, done.stderr
    assert "26 queries" in done.stderr and done.stdout == ""
    table = pq.read_table(tmp_path / "a" / "queries.parquet").to_pylist()
    assert [row["query_id"] for row in table] == list(range(26))
    by_source = {source: [row["query"] for row in table if row["source"] == source] for source in ("unigram", "bigram", "title", "wordnet")}
    assert by_source["unigram"][:3] == ["a", "the", "is"] or by_source["unigram"][0] in ("a", "is", "the", "town")
    assert by_source["title"][:2] == ["Golden Gate Bridge", "Mercury"], by_source
    assert "suspension bridge" in by_source["bigram"]
    assert "dog" in by_source["unigram"] and "dog" not in by_source["wordnet"] and "st. louis" in by_source["wordnet"]
    views = {row["query"]: row["count"] for row in table if row["source"] == "title"}
    assert views["Golden Gate Bridge"] == 110
    texts = [row["query"] for row in table]
    assert (tmp_path / "a" / "queries.txt").read_text().splitlines() == texts
    assert json.loads((tmp_path / "a" / "metadata.json").read_text()) == texts
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["counts"]["articles"] == 63 and manifest["drops"]["redirect"] == 1
    assert manifest["chosen"]["size"] == 26
    assert not (tmp_path / "a" / ".work").exists()

    again = run(inputs, tmp_path / "a", "one.xml.bz2", "--size", 26)
    assert again.returncode == 0 and "nothing to do" in again.stderr
    before = contents(tmp_path / "a", ())
    other = run(inputs, tmp_path / "a", "one.xml.bz2", "--size", 27)
    assert other.returncode == 1 and "another run's output" in other.stderr and "size" in other.stderr
    assert contents(tmp_path / "a", ()) == before


def test_workers_and_the_dump_s_form_change_no_byte(inputs, tmp_path):
    for name, dump_name, workers in (("a", "one.xml.bz2", 1), ("b", "many.xml.bz2", 2)):
        done = run(inputs, tmp_path / name, dump_name, "--size", 26, "--workers", workers)
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--wikipedia", "none.xml.bz2"], "none.xml.bz2: no dump there"),
        (["--wikipedia", "bad.xml.bz2"], "bad.xml.bz2: not a bz2 file"),
        (["--wordnet", "."], "no data.noun in this folder"),
        (["--wordnet", "none"], "nothing to make queries from"),
    ],
)
def test_wrong_input_is_told_in_one_line(arguments, message, tmp_path):
    (tmp_path / "bad.xml.bz2").write_bytes(b"<mediawiki>")
    arguments = [str(tmp_path / word) if word[-1] in "2." else word for word in arguments]
    done = command(*arguments, "--output", tmp_path / "out")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0] and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
