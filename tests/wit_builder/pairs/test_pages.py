import gzip
import io
import random
import subprocess
import sys
import zlib

import brotli
import pytest
import zstandard
from crawls import metadata, record, response
from fastwarc.warc import WarcRecordType
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wit_builder.pairs.archives import read_records
from wit_builder.pairs.extract import KINDS
from wit_builder.pairs.pages import MAX_PAGE, is_html, media_type, page_of
from wit_builder.pairs.rules import Page, pairs_of

URL = "http://a.example/dir/page.html"
BODY = b"<title>x</title><p><img src=one.jpg alt=One><figure><img src=/two.jpg alt=Two><figcaption>Both</figcaption></figure>"
PAIRS = [("http://a.example/dir/one.jpg", "One", "alt"), ("http://a.example/two.jpg", "Two", "alt")]


def page_in(data: bytes, **options) -> Page | None:
    """The page of the only record in a WARC file that is not compressed."""
    (found,) = read_records(io.BytesIO(data), KINDS, pytest.fail)
    return page_of(found, **options)


def chunked(body: bytes, size: int = 50) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def deflated(body: bytes) -> bytes:
    """zlib's format, which is what HTTP means by deflate."""
    return zlib.compress(body)


ENCODED = {
    "none": (BODY, ""),
    "identity": (BODY, "Content-Encoding: identity"),
    "gzip": (gzip.compress(BODY), "Content-Encoding: gzip"),
    "x-gzip in capitals": (gzip.compress(BODY), "CONTENT-ENCODING: X-GZIP"),
    "deflate": (deflated(BODY), "Content-Encoding: deflate"),
    "br": (brotli.compress(BODY), "Content-Encoding: br"),
    "zstd": (zstandard.compress(BODY), "Content-Encoding: zstd"),
    "chunked": (chunked(BODY), "Transfer-Encoding: chunked"),
    "chunked gzip": (chunked(gzip.compress(BODY)), "Transfer-Encoding: chunked\r\nContent-Encoding: gzip"),
    "two, the last one outermost": (gzip.compress(brotli.compress(BODY)), "Content-Encoding: br, gzip"),
    "decoded by the crawler": (BODY, "Transfer-Encoding: chunked\r\nContent-Encoding: gzip"),
    "unknown": (BODY, "Content-Encoding: utf-8"),
}


@pytest.mark.parametrize("form", ENCODED)
def test_bodies_are_decoded(form):
    body, header = ENCODED[form]
    page = page_in(response(URL, body, "Content-Type: text/html" + (header and f"\r\n{header}")))
    assert pairs_of(page)[0] == PAIRS and page.url == URL


@pytest.mark.parametrize("form", ["gzip", "deflate", "br", "zstd", "chunked"])
def test_a_body_cut_off_keeps_its_beginning(form):
    noise = b"<!--" + random.Random(0).randbytes(200_000).hex().encode() + b"-->"
    encode = {"gzip": gzip.compress, "deflate": deflated, "br": brotli.compress, "zstd": zstandard.compress, "chunked": chunked}[form]
    whole = encode(BODY + noise)
    header = ENCODED[form][1]
    page = page_in(response(URL, whole[: len(whole) * 2 // 3], f"Content-Type: text/html\r\n{header}"))
    assert pairs_of(page)[0] == PAIRS


def test_a_body_that_inflates_without_end_is_read_to_the_limit():
    bomb = gzip.compress(BODY + b" " * (MAX_PAGE * 4))
    page = page_in(response(URL, bomb, "Content-Type: text/html\r\nContent-Encoding: gzip"))
    assert pairs_of(page)[0] == PAIRS


@pytest.mark.parametrize(
    ("http", "body", "wanted"),
    [
        ("Content-Type: text/html; charset=utf-8", BODY, True),
        ("content-type:TEXT/HTML", BODY, True),
        ("Content-Type: application/xhtml+xml", BODY, True),
        ("Content-Type: text/plain", b"<html>" + BODY, False),
        ("Content-Type: image/png", BODY, False),
        ("X: y", b"<!DOCTYPE html>" + BODY, True),
        ("X: y", b"\xef\xbb\xbf \n<!-- a --><!-- b -->\n<HTML>" + BODY, True),
        ("X: y", b"%PDF-1.4 <html>", False),
    ],
)
def test_what_is_a_page(http, body, wanted):
    assert (page_in(response(URL, body, http)) is not None) == wanted


def test_other_records():
    assert page_in(metadata(URL, BODY.decode())).url == URL
    assert page_in(record(WarcRecordType.metadata, URL, "application/warc-fields", b"fetchTimeMs: 5")) is None
    assert pairs_of(page_in(record(WarcRecordType.resource, URL, "text/html", BODY)))[0] == PAIRS
    assert page_in(record(WarcRecordType.response, "dns:a.example", "text/dns", b"a.example 1 IN A 127.0.0.1")) is None
    with pytest.raises(ValueError):
        page_in(record(WarcRecordType.metadata, URL, "application/json", b"{"))


def test_the_type_that_the_crawler_found_out_counts_more_than_the_server_s():
    made = response(URL, BODY, "Content-Type: text/plain")
    assert page_in(made) is None
    assert page_in(made.replace(b"\r\nContent-Type: app", b"\r\nWARC-Identified-Payload-Type: text/html\r\nContent-Type: app")) is not None


def test_urls_in_angle_brackets():
    assert page_in(response(f"<{URL}>", BODY)).url == URL


def test_captions_where_they_are_wanted():
    assert pairs_of(page_in(response(URL, BODY), captions=True), ("figcaption",))[0] == [("http://a.example/two.jpg", "Both", "figcaption")]


def test_headers_too_long_for_a_browser_are_a_broken_record():
    with pytest.raises(ValueError):
        page_in(response(URL, BODY, "X: " + "y" * 100_000))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("headers", ["", "Content-Type: text/html; charset=latin-1{0}X: y{0}"])
def test_http_headers_with_either_end_of_line(end, headers):
    http = f"HTTP/1.1 200 OK{end}{headers.format(end)}{end}".encode()
    page = page_in(record(WarcRecordType.response, URL, "application/http; msgtype=response", http + b"<html>" + BODY))
    assert pairs_of(page)[0] == PAIRS


def test_media_types():
    assert media_type(" Text/HTML ; charset=x") == "text/html" and media_type("") == ""


def test_sniffing_never_hangs():
    """In a process of its own: a regular expression that backtracks without end cannot be interrupted."""
    starts = [b"<!---->" * 500, b"<!--" * 2000, b" " * 100_000, b"<!-- -->\n" * 500 + b"<!--"]
    check = f"from wit_builder.pairs.pages import is_html; print([is_html('', start + b'x') for start in {starts}])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[False, False, False, False]\n", done.stderr


HEADERS = st.lists(
    st.sampled_from(
        [*{header for _, header in ENCODED.values() if header}, "Content-Type: text/html", "Content-Type: text/html; charset=utf-16",
         "Content-Type:", "Content-Encoding: " + "gzip," * 50, ": x", "no colon", "X: é", " folded", "Content-Length: 5"]
    ),
    max_size=4,
).map("\r\n".join)  # fmt: skip
BODIES = st.one_of(st.binary(max_size=60), st.sampled_from([body for body, _ in ENCODED.values()]))


@settings(deadline=None)
@given(HEADERS, BODIES, st.integers(0, 400), st.binary(max_size=4), st.booleans())
@example("", b"", 0, b"", True)
def test_any_response_is_read_or_a_broken_record(http, body, place, damage, captions):
    made = bytearray(response(URL, body, http))
    if damage:  # anywhere after the WARC header, so that the record is still found
        start = made.index(b"\r\n\r\n") + 4
        place = start + place % (len(made) - 4 - start)
        made[place : place + len(damage)] = damage[: len(made) - 4 - place]
    try:
        page = page_in(bytes(made), captions=captions)
    except ValueError:
        return
    if page is not None:
        pairs_of(page, ("alt", "title", "figcaption", "aria-label"))


@given(st.text(max_size=20), st.binary(max_size=60))
def test_any_type_and_start_is_a_page_or_is_not(content_type, body):
    assert is_html(content_type, body) in (True, False)
