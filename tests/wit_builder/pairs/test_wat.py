import json

import pytest
from crawls import wat_json
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wit_builder.pairs.html import read_page
from wit_builder.pairs.rules import pairs_of
from wit_builder.pairs.wat import read_wat

PAGE = """<html><head><base href="/b/"><title>x</title></head><body>
<img src="one.jpg" alt="One &amp; only"><img alt="Two" src="http://u@Other.example:80/%7etwo.jpg#x" title="T">
<img src="three.jpg"><img src="" alt="four"><img src="data:,x" alt="five"><img src="/blank.gif" alt="six"><a href="x"><img src=y alt=y></a>
<img src="?a=1&amp;copy=2&reg=3" alt="  "></body></html>"""


def test_a_wat_gives_the_pairs_of_its_page():
    url = "http://a.example/x/y.html"
    from_wat = read_wat(wat_json(url, PAGE))
    from_html = read_page(url, PAGE.encode())
    for sources in (("alt",), ("alt", "title")):
        assert pairs_of(from_wat, sources) == pairs_of(from_html, sources)
    assert pairs_of(from_wat)[0] == [
        ("http://a.example/b/one.jpg", "One & only", "alt"),
        ("http://other.example/~two.jpg", "Two", "alt"),
        ("http://a.example/b/y", "y", "alt"),
    ]


TEXT = st.text("ab &;<>'é日\n", max_size=8)
TAGS = st.builds(
    lambda src, alt, title: "<p>" + "".join(
        ["<img", f' src="{src}"', *(f' {n}="{v}"' for n, v in (("alt", alt), ("title", title)) if v is not None), ">"]
    ),
    st.text("abc/.?#:& é", max_size=10).map(lambda text: text.replace("&", "&amp;")),
    st.one_of(st.none(), TEXT.map(lambda text: text.replace("&", "&amp;").replace('"', ""))),
    st.one_of(st.none(), TEXT.map(lambda text: text.replace("&", "&amp;"))),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(TAGS, max_size=6).map("".join), st.sampled_from(["", '<base href="http://b.example/z/">', "<base href='../q/'>"]))
def test_generated_pages_give_the_same_both_ways(page, base):
    url = "http://a.example/x/y.html"
    from_wat, from_html = read_wat(wat_json(url, base + page)), read_page(url, (base + page).encode())
    assert pairs_of(from_wat, ("alt", "title")) == pairs_of(from_html, ("alt", "title"))


def wat(html: object, uri: object = "http://a.example/") -> bytes:
    envelope = {"WARC-Header-Metadata": {"WARC-Target-URI": uri}, "Payload-Metadata": {"HTTP-Response-Metadata": {"HTML-Metadata": html}}}
    return json.dumps({"Envelope": envelope}).encode()


LINK = {"path": "IMG@/src", "url": "p.jpg", "alt": "t"}


@pytest.mark.parametrize(
    "html",
    [
        {"Links": [LINK]},
        {"Links": [LINK], "Head": {"Base": None}},
        {"Links": [LINK], "Head": ["x"]},
        {"Links": [{"path": 5}, None, [], {"path": ["IMG@/src"]}, LINK, {"path": "A@/href", "alt": 1}]},
        {"Links": [LINK | {"title": {"x": 1}}]},
        {"Head": {"Base": 5, "Metas": []}, "Links": [LINK]},
    ],
)
def test_values_of_the_wrong_type_are_left_out(html):
    assert pairs_of(read_wat(wat(html))) == ([("http://a.example/p.jpg", "t", "alt")], {})


def test_lone_surrogates_and_broken_utf8_are_read():
    page = read_wat(wat({"Links": [LINK | {"alt": "\ud800x"}]}))
    assert pairs_of(page)[0] == [("http://a.example/p.jpg", "\ufffdx", "alt")]
    page = read_wat(wat({"Links": [LINK | {"alt": "QQ"}]}).replace(b"QQ", b"\xff"))
    assert pairs_of(page)[0] == [("http://a.example/p.jpg", "\ufffd", "alt")]


def test_records_that_are_not_about_a_page():
    for record in (b"{}", b"[]", b"null", b'{"Envelope": {"Payload-Metadata": {"HTTP-Request-Metadata": {}}}}', wat(None)):
        assert read_wat(record) is None


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b'{"Envelope": ', b"\xff\xfe", wat({"Links": [LINK]})[:-3]])
def test_what_is_not_json_is_an_error(data):
    with pytest.raises(ValueError):
        read_wat(data)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4), st.just("IMG@/src")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["Links", "Head", "Base", "path", "url", "alt", "title", "x"]), inner, max_size=4),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.one_of(JSON.map(wat), JSON.map(lambda value: json.dumps({"Envelope": value}).encode()), st.binary()), JSON)
@example(wat({"Links": [{"path": "IMG@/src", "url": 1e400}]}), None)
def test_any_record_is_read_or_a_value_error(data, _):
    try:
        page = read_wat(data)
    except ValueError:
        return
    if page is not None:
        pairs_of(page, ("alt", "title"))


def test_the_real_record_holds_a_request_only(samples):
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    path = str(samples / "warc" / "whirlwind.warc.wat.gz")
    records = [record.reader.read() for record in ArchiveIterator(path, record_types=WarcRecordType.metadata)]
    assert records and all(read_wat(record) is None for record in records)
