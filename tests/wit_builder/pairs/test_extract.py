import gzip
import json

import pytest
from crawls import members, metadata, record, response
from fastwarc.warc import WarcRecordType
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wit_builder.errors import UserError
from wit_builder.pairs.extract import Extract
from wit_builder.pairs.inputs import find_sources, make_tasks
from wit_builder.pairs.merge import merge

PAGE = '<base href="/b/"><img src="one.jpg" alt="One"><p><img src=two.png alt="Zwei ü"><img src="data:," alt=x>'


def extract(folder, name: str, data: bytes, **options) -> tuple[dict, list[dict]]:
    """What a task says of a file with these bytes, and the rows that it spilled."""
    (folder / name).write_bytes(data)
    (folder / "task-000000.json").unlink(missing_ok=True)
    (task,) = make_tasks(find_sources([str(folder / name)]))
    result = Extract(str(folder), partitions=1, **options)(None, task)
    return result, [row for table in merge(result["runs"], 0) for row in table.to_pylist()]


def wat(uri: str, url: str, alt: str) -> bytes:
    """A WAT record as a hostile page would have it: JSON escapes may name what has no UTF-8."""
    html = {"Links": [{"path": "IMG@/src", "url": url, "alt": alt}]}
    envelope = {"WARC-Header-Metadata": {"WARC-Target-URI": uri}, "Payload-Metadata": {"HTTP-Response-Metadata": {"HTML-Metadata": html}}}
    return record(WarcRecordType.metadata, "http://a.example/", "application/json", json.dumps({"Envelope": envelope}).encode())


def test_a_task_counts_and_spills(tmp_path):
    result, rows = extract(tmp_path, "a.warc.gz", members([response("http://a.example/", PAGE.encode())] * 2))
    assert result["counts"] == {"files": 1, "records": 2, "records_cut_at_16_MiB": 0, "pages": 2, "images": 6, "pairs_found": 4}
    assert result["drops"] == {"url_data": 2} and result["faults"] == []
    assert {(row["url"], row["text"]) for row in rows} == {("http://a.example/b/one.jpg", "One"), ("http://a.example/b/two.png", "Zwei ü")}
    assert {row["source_file"] for row in rows} == {"a.warc.gz"} and len(rows) == 2


def test_a_task_that_was_done_is_not_done_again(tmp_path):
    first, _ = extract(tmp_path, "a.warc.gz", members([response("http://a.example/", PAGE.encode())]))
    (task,) = make_tasks(find_sources([str(tmp_path / "a.warc.gz")]))
    (tmp_path / "a.warc.gz").write_bytes(b"gone")
    assert Extract(str(tmp_path), partitions=1)(None, task) == first


@pytest.mark.parametrize("broken", [b"{", b"\xff", b"[" * 100_000])
def test_a_broken_record_is_told_with_its_place(tmp_path, broken):
    records = [metadata("http://a.example/1", PAGE), record(WarcRecordType.metadata, "http://a.example/2", "application/json", broken)]
    records.append(metadata("http://a.example/3", PAGE))
    result, rows = extract(tmp_path, "a.wat.gz", members(records))
    assert result["faults"] == [("a.wat.gz", len(members(records[:1])), "broken record")]
    assert result["counts"]["pages"] == 2 and len(rows) == 2
    with pytest.raises(UserError, match="broken record at byte"):
        extract(tmp_path, "a.wat.gz", members(records), strict=True)


def test_lone_surrogates_and_nul_in_every_place(tmp_path):
    result, rows = extract(tmp_path, "a.wat.gz", members([wat("http://a.example/\ud800\0", "p\ud800\0.jpg", "\udfff\0 x")]))
    assert result["counts"]["pairs_found"] == 1
    assert rows[0]["url"] == "http://a.example/p%EF%BF%BD%00.jpg" and rows[0]["text"] == "\ufffd\ufffd x"
    assert rows[0]["page_url"] == "http://a.example/\ufffd\ufffd"


@pytest.mark.parametrize(
    ("data", "pages", "faults"),
    [
        (PAGE.encode(), 1, []),
        (gzip.compress(PAGE.encode(), mtime=0), 1, []),
        (PAGE.encode("utf-16"), 1, []),
        (b"", 1, []),
        (gzip.compress(PAGE.encode() * 100, mtime=0)[:-9], 1, ["cut off"]),
        (gzip.compress(b"", mtime=0)[:10] + b"\xff" * 40, 0, ["broken gzip member"]),
    ],
)
def test_loose_pages(tmp_path, data, pages, faults):
    result, rows = extract(tmp_path, "a.html", data, base_url="http://a.example/")
    assert result["counts"].get("pages", 0) == pages and [fault[2] for fault in result["faults"]] == faults
    assert {row["page_url"] for row in rows} <= {"http://a.example/a.html"}


ANY = st.text(st.characters(codec=None), max_size=8)
RECORDS = st.one_of(
    st.builds(wat, ANY, ANY, ANY),
    st.binary(max_size=80).map(lambda body: response("http://a.example/", body)),
    st.binary(max_size=40).map(lambda body: record(WarcRecordType.metadata, "http://a.example/", "application/json", body)),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(RECORDS, min_size=1, max_size=4), st.integers(0, 3000), st.binary(max_size=6), st.sampled_from(["a.warc.gz", "a.html"]))
@example([wat("\ud800", "http://a.example/", "x")], 0, b"", "a.warc.gz")
def test_any_file_is_read_or_is_no_archive(tmp_path_factory, records, place, damage, name):
    data = bytearray(members(records))
    data[place : place + len(damage)] = damage
    try:
        result, rows = extract(tmp_path_factory.mktemp("any"), name, bytes(data), text_sources=("alt", "title", "figcaption"))
    except UserError as error:
        assert "not a WARC file" in str(error)
        return
    assert result["counts"]["pairs_found"] >= len(rows)
