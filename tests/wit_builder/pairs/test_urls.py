from urllib.parse import urljoin, urlsplit

import can_ada
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wit_builder.pairs.urls import MAX_URL, base_url, host_of, image_url, is_normal, spell

PAGE = "http://example.org/a/b/page.html?q=1"


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("pic.jpg", "http://example.org/a/b/pic.jpg"),
        ("../pic.jpg", "http://example.org/a/pic.jpg"),
        ("/../../x/./y/../pic.jpg", "http://example.org/x/pic.jpg"),
        ("//cdn.example.com/pic.jpg", "http://cdn.example.com/pic.jpg"),
        ("?id=3", "http://example.org/a/b/page.html?id=3"),
        (" \n pic.jpg\t", "http://example.org/a/b/pic.jpg"),
        ("a\nb.jpg", "http://example.org/a/b/ab.jpg"),
        ("a b.jpg", "http://example.org/a/b/a%20b.jpg"),
        ("\\img\\pic.jpg", "http://example.org/img/pic.jpg"),
        ("HTTPS://EXAMPLE.com:443/Pic.JPG", "https://example.com/Pic.JPG"),
        ("http://example.com:8080/p", "http://example.com:8080/p"),
        ("http://example.com:80", "http://example.com/"),
        ("http://user:pass@example.com/p", "http://example.com/p"),
        ("http://example.com/p#top", "http://example.com/p"),
        ("http://bücher.example/ü.jpg?ü", "http://xn--bcher-kva.example/%C3%BC.jpg?%C3%BC"),
        ("http://faß.example/", "http://xn--fa-hia.example/"),
        ("http://ＥＸＡＭＰＬＥ.com/", "http://example.com/"),
        ("http://example.com/%7euser/%e4%2fx%2Ejpg", "http://example.com/~user/%E4%2Fx.jpg"),
        ("http://example.com/100%.jpg", "http://example.com/100%25.jpg"),
        ("http://example.com/%2e%2e/p", "http://example.com/p"),
        ("http://[2001:DB8::0:1]/p", "http://[2001:db8::1]/p"),
        ("http://0x7f.1/p", "http://127.0.0.1/p"),
        ("http://example.com/\ud800.jpg", "http://example.com/%EF%BF%BD.jpg"),
    ],
)
def test_one_spelling(raw, wanted):
    assert image_url(raw, base_url(PAGE)) == (wanted, "")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "url_empty"),
        ("  \n", "url_empty"),
        ("#top", "url_empty"),
        ("data:image/gif;base64,R0lGODlhAQABAAAAACw=", "url_data"),
        (" DATA:,x", "url_data"),
        ("javascript:void(0)", "url_not_http"),
        ("ftp://example.com/p", "url_not_http"),
        ("file:///etc/passwd", "url_not_http"),
        ("blob:http://example.com/1", "url_not_http"),
        ("http://", "url_invalid"),
        ("http://exa mple.com/", "url_invalid"),
        ("http://example.com:99999/", "url_invalid"),
        ("http://[::1/", "url_invalid"),
        ("http://xn--a/", "url_invalid"),
        ("a" * (MAX_URL + 1), "url_too_long"),
        ("ü" * (MAX_URL // 2), "url_too_long"),  # six characters each, once encoded
    ],
)
def test_reasons(raw, reason):
    assert image_url(raw, base_url(PAGE)) == ("", reason)


def test_without_a_base_only_whole_urls_are_taken():
    assert base_url("") is None and base_url("pages/index.html") is None and base_url("file:///a/b.html") is None
    assert image_url("pic.jpg", None) == ("", "url_relative_without_base")
    assert image_url("http://example.org/pic.jpg", None) == ("http://example.org/pic.jpg", "")
    assert image_url("//example.org/pic.jpg", None) == ("http://example.org/pic.jpg", "")


@pytest.mark.parametrize(
    ("href", "wanted"),
    [
        ("/other/", "http://example.org/other/pic.jpg"),
        ("https://cdn.example.com/x/y", "https://cdn.example.com/x/pic.jpg"),
        ("//cdn.example.com", "http://cdn.example.com/pic.jpg"),
        ("", "http://example.org/a/b/pic.jpg"),
        ("http://[", "http://example.org/a/b/pic.jpg"),  # unusable: the page's own URL stands
    ],
)
def test_base_href(href, wanted):
    assert image_url("pic.jpg", base_url(PAGE, href)) == (wanted, "")


def test_base_href_alone_is_enough():
    assert image_url("pic.jpg", base_url("", "http://example.org/x/")) == ("http://example.org/x/pic.jpg", "")


@given(st.one_of(st.text(), st.text("/.%2e7E:@#?[]\\ aé\ud800", max_size=40).map("http://h/".__add__)))
@example("http://h/%%3441")
@example("http:")
@example("///")
def test_normal_urls_stay_as_they_are(raw):
    url, reason = image_url(raw, base_url(PAGE))
    assert bool(url) != bool(reason)
    if url:
        parts = urlsplit(url)
        assert url.isascii() and parts.scheme in ("http", "https") and parts.hostname
        assert not parts.fragment and "@" not in parts.netloc and not {".", ".."} & set(parts.path.split("/"))
        assert host_of(url) == parts.netloc
        assert image_url(url, None) == (url, "")


NORMAL_PIECES = st.lists(
    st.sampled_from([*"aZ09-_.~!$&'()*+,;=:@/?%#|^[]\\ é", "..", "/.", "%2e", "xn--", "1.2.3.4", ".0x1", ".com", ":80", "www."]),
    max_size=12,
).map("".join)


@settings(max_examples=500)
@given(st.sampled_from(["http://a.example", "https://", "http://www.", "http://a.example/", "https://a-b.co/p/", ""]), NORMAL_PIECES)
@example("http://a.example/p", "/q.r?x=/./y&z=%")
@example("http://a.0x1", "/p")
@example("http://a.xn--a", "/p")
def test_urls_that_need_no_parser_come_out_as_the_parser_would_leave_them(start, rest):
    raw = start + rest
    if is_normal(raw):
        assert spell(can_ada.parse(raw)) == raw


@pytest.mark.parametrize("raw", ["http://a.example/p.jpg", "https://www.a-b.example/x/y.png?w=1&h=/2", "http://a1.b2.co/a/b/"])
def test_plain_urls_need_no_parser(raw):
    assert is_normal(raw)


SEGMENT = st.text("abcXYZ019-_~", min_size=1, max_size=5)


@settings(max_examples=200)
@given(st.lists(st.one_of(SEGMENT, st.sampled_from(["..", "."])), min_size=1, max_size=6).map("/".join), st.booleans())
def test_plain_relative_urls_agree_with_urllib(path, absolute):
    raw = "/" * absolute + path
    if raw.rsplit("/", 1)[-1] not in (".", ".."):
        assert image_url(raw, base_url(PAGE)) == (urljoin(PAGE, raw), "")
