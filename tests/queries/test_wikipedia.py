import bz2
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries import wikipedia
from queries.parts import plan
from tests.queries.dumps import HEAD, dump, multistream, page
from wit_builder.errors import UserError

PAGES = [
    page("Dog", "A dog & a <b>cat</b>. " * 40),
    page("Hund", "", redirect=True),
    page("Talk:Dog", "No.", namespace=1),
    page("Zoë's “café”", "Line\nline é 東京 \U0001f600"),
    page("Dog.js", "var dog;", model="javascript"),
    *[page(f"Page {number}", f"text {number} " * (number * 7 % 90)) for number in range(40)],
]


def read(path, part_bytes, streams=()):
    counts = Counter()
    return [found for part in plan(str(path), part_bytes, streams) for found in wikipedia.articles(part, counts)], counts


@pytest.fixture(scope="module")
def dumps_of_all_forms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dumps")
    many, index = multistream(PAGES, 7)
    for name, data in {"a.xml": dump(PAGES), "a.xml.bz2": bz2.compress(dump(PAGES)), "m.xml.bz2": many, "m-index.txt": index}.items():
        (folder / name).write_bytes(data)
    return folder


@settings(max_examples=30, deadline=None)
@given(part_bytes=st.integers(20, 40_000))
def test_articles_are_the_same_however_the_dump_is_stored_and_cut(dumps_of_all_forms, part_bytes):
    wanted, counts = read(dumps_of_all_forms / "a.xml", 1 << 30)
    assert [title for title, _ in wanted[:2]] == ["Dog", "Zoë's “café”"] and wanted[1][1] == "Line\nline é 東京 \U0001f600"
    assert counts == {
        "pages": 45, "articles": 42, "drop: redirect": 1, "drop: not an article (other namespace)": 1, "drop: not wikitext": 1,
    }  # fmt: skip
    for name in ("a.xml", "a.xml.bz2", "m.xml.bz2"):
        wikipedia.check_dump(str(dumps_of_all_forms / name))
        assert read(dumps_of_all_forms / name, part_bytes) == (wanted, counts), name
    streams = wikipedia.read_index(str(dumps_of_all_forms / "m-index.txt"))
    assert read(dumps_of_all_forms / "m.xml.bz2", part_bytes, streams) == (wanted, counts)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", b"x", "neither .xml nor .xml.bz2"),
        ("a.xml", b"PK\x03\x04 zip", "not a MediaWiki dump"),
        ("a.xml", b"", "not a MediaWiki dump"),
        ("a.xml", dump(PAGES)[:-400], "ends too early"),
        ("a.xml.bz2", dump(PAGES), "not a bz2 file"),
        ("a.xml.bz2", bz2.compress(b"<html>"), "not a MediaWiki dump"),
        ("a.xml.bz2", bz2.compress(dump(PAGES))[:-1], "ends too early"),
    ],
)
def test_what_is_no_whole_dump_is_told_before_anything_is_read(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        wikipedia.check_dump(str(tmp_path / name))
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_dump_that_ends_inside_a_page_is_told(tmp_path):
    (tmp_path / "a.xml.bz2").write_bytes(bz2.compress(dump(PAGES)[:-400]))
    with pytest.raises(UserError, match=r"a\.xml\.bz2: the dump ends inside a page"):
        read(tmp_path / "a.xml.bz2", 1 << 20)


def test_hostile_xml_is_dropped_page_by_page(tmp_path, monkeypatch):
    monkeypatch.setattr(wikipedia, "MAX_PAGE_BYTES", 20_000)
    bomb = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>\n'
    entity = page("Bomb", "x").replace(">x<", ">&b;<")
    broken = page("Broken", "x").replace("</title>", "<title>")
    endless = page("Endless", "x" * 3_000_000)
    (tmp_path / "a.xml").write_bytes((bomb + HEAD + entity + page("Ok", "fine") + broken + endless + page("Too", "ok")).encode())
    found, counts = read(tmp_path / "a.xml", 1 << 30)
    assert found == [("Ok", "fine"), ("Too", "ok")]
    assert counts["drop: page is not well-formed XML"] == 2 and counts["drop: page too long"] == 1
