import gzip
import os
import random

import boto3
import pytest
from crawls import members, response
from hypothesis import given
from hypothesis import strategies as st
from s3 import bucket

from wit_builder import remote
from wit_builder.errors import UserError
from wit_builder.pairs.inputs import HTML_TASK_BYTES, HTML_TASK_FILES, Source, find_sources, make_tasks

WARC = members([response("http://a.example/", b"<img src=a alt=b>")])


@pytest.fixture
def crawl(tmp_path):
    """A folder with archives and pages at several depths, and things that are neither."""
    for name in ("b.warc.gz", "deep/a.wat.gz", "deep/deeper/c.WARC"):
        path = tmp_path / "crawl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(WARC if name.endswith("gz") else gzip.decompress(WARC))
    for name in ("index.html", "deep/x.htm", "deep/y.xhtml.gz", "notes.txt", "deep/picture.png", "a.warc.gz.tmp", "x.wet.gz"):
        (tmp_path / "crawl" / name).write_bytes(b"<p>")
    return tmp_path / "crawl"


NAMES = ["b.warc.gz", "deep/a.wat.gz", "deep/deeper/c.WARC", "deep/x.htm", "deep/y.xhtml.gz", "index.html"]


def names_of(*patterns, prefix=None):
    return [source.name for source in find_sources([str(pattern) for pattern in patterns], prefix and str(prefix))]


def test_a_folder_stands_for_all_that_can_be_read_below_it(crawl):
    sources = find_sources([str(crawl)])
    assert [source.name for source in sources] == NAMES
    assert [source.archive for source in sources] == [True] * 3 + [False] * 3
    assert all(source.bytes == os.path.getsize(source.path) and source.path == str(crawl / source.name) for source in sources)


def test_files_and_patterns_are_named_from_their_root_and_taken_once(crawl):
    assert names_of(crawl / "b.warc.gz") == ["b.warc.gz"]
    assert names_of(crawl / "*.warc.gz", crawl / "b.warc.gz", crawl / "index.html") == ["b.warc.gz", "index.html"]
    assert names_of(crawl / "**" / "*.wat.gz") == ["deep/a.wat.gz"]


def test_names_of_any_bytes(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.html")
    with open(path, "wb"):
        (source,) = find_sources([str(tmp_path)])
    assert source == Source(path, "\ufffd.html", False, 0)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_patterns_plays_no_part(crawl, seed):
    patterns = [crawl, crawl / "deep", crawl / "deep" / "*.htm", crawl / "b.warc.gz"]
    wanted = find_sources([str(pattern) for pattern in patterns])
    random.Random(seed).shuffle(patterns)
    assert find_sources([str(pattern) for pattern in patterns]) == wanted and len(wanted) == 6


def test_paths_files(crawl, tmp_path):
    lines = b"b.warc.gz\ndeep/a.wat.gz\r\n\n"
    (crawl / "warc.paths").write_bytes(lines)
    assert names_of(crawl / "warc.paths") == ["b.warc.gz", "deep/a.wat.gz"]
    (tmp_path / "wat.paths.gz").write_bytes(gzip.compress(lines))
    assert names_of(tmp_path / "wat.paths.gz", prefix=crawl) == ["b.warc.gz", "deep/a.wat.gz"]
    assert names_of(tmp_path / "wat.paths.gz", prefix=f"{crawl}/") == ["b.warc.gz", "deep/a.wat.gz"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"b.warc.gz\nno.warc.gz\nnor.warc.gz\n", "crawl/no.warc.gz: not there, and 1 others neither"),
        (b"x.wet.gz\n", "lists x.wet.gz, neither"),
        (b"", "lists nothing"),
        (b"\xff\xfe", "not a list of paths"),
    ],
)
def test_paths_files_that_cannot_be_followed(crawl, data, message):
    (crawl / "a.paths").write_bytes(data)
    with pytest.raises(UserError, match=message):
        find_sources([str(crawl / "a.paths")])


@pytest.mark.parametrize("damage", ["not gzip", "cut off", "broken"])
def test_damaged_paths_files(tmp_path, damage):
    whole = gzip.compress(random.Random(0).randbytes(500).hex().encode())
    data = {"not gzip": b"a.warc.gz\n", "cut off": whole[:-20], "broken": whole[:40] + b"\0" * 40 + whole[80:]}[damage]
    (tmp_path / "a.paths.gz").write_bytes(data)
    with pytest.raises(UserError, match="not a list of paths"):
        find_sources([str(tmp_path / "a.paths.gz")])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no", "no file there"),
        ("notes.txt", "neither an archive"),
        ("x.wet.gz", "neither an archive"),
        ("empty", "no WARC, WAT or HTML files"),
        ("fake.warc", "not a WARC file"),
    ],
)
def test_what_cannot_be_read_is_told(crawl, name, message):
    (crawl / "empty").mkdir()
    (crawl / "fake.warc").write_bytes(b"hello")
    with pytest.raises(UserError, match=message):
        find_sources([str(crawl / name)])


def test_a_link_to_nowhere_is_told(crawl):
    (crawl / "deep" / "gone.html").symlink_to(crawl / "nowhere")
    with pytest.raises(UserError, match="gone.html: not there"):
        find_sources([str(crawl)])


def test_the_same_on_object_storage(crawl, tmp_path):
    with bucket(tmp_path) as flags:
        remote.set_options(flags)
        try:
            endpoint = flags[0].partition("=")[2]
            storage = boto3.client("s3", "us-east-1", endpoint_url=endpoint, aws_access_key_id="x", aws_secret_access_key="y")
            many = [f"many/{number}.warc.gz" for number in range(12)]
            for name in [f"crawl/{name}" for name in NAMES] + many:
                data = (tmp_path / name).read_bytes() if name.startswith("crawl") else WARC
                storage.put_object(Bucket="wit", Key=name, Body=data)
            sources = find_sources(["s3://wit/crawl"])
            assert [(source.name, source.bytes) for source in sources] == [(name, os.path.getsize(crawl / name)) for name in NAMES]
            assert names_of("s3://wit/crawl/*.warc.gz", "s3://wit/crawl/b.warc.gz") == ["b.warc.gz"]
            (tmp_path / "warc.paths").write_text("\n".join([*many, "crawl/b.warc.gz"]))
            assert names_of(tmp_path / "warc.paths", prefix="s3://wit/") == sorted([*many, "crawl/b.warc.gz"])
            (tmp_path / "warc.paths").write_text("\n".join([*many, "many/no.warc.gz"]))
            with pytest.raises(UserError, match="s3://wit/many/no.warc.gz: not there"):
                names_of(tmp_path / "warc.paths", prefix="s3://wit")
        finally:
            remote.set_options(())


SOURCES = st.lists(st.tuples(st.booleans(), st.integers(0, HTML_TASK_BYTES)), max_size=600)


@given(SOURCES)
def test_tasks_hold_every_source_once_in_order_and_are_of_bounded_size(made):
    sources = [Source(f"p{number}", f"n{number}", archive, size) for number, (archive, size) in enumerate(made)]
    tasks = make_tasks(sources)
    assert [task.number for task in tasks] == list(range(len(tasks)))
    given_to = [source for task in tasks for source in task.sources]
    for archive in (True, False):
        assert [source for source in given_to if source.archive == archive] == [source for source in sources if source.archive == archive]
    for task in tasks:
        assert len(task.sources) == 1 or (
            not any(source.archive for source in task.sources) and len(task.sources) <= HTML_TASK_FILES and task.bytes <= HTML_TASK_BYTES
        )


def test_many_small_pages_share_tasks():
    sources = [Source(f"p{number}", f"n{number}", False, 10) for number in range(HTML_TASK_FILES * 2 + 1)]
    assert [len(task.sources) for task in make_tasks(sources)] == [HTML_TASK_FILES, HTML_TASK_FILES, 1]
