import html
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from wit_builder.pairs.tokenizer import IMG, attributes, tags, unescape

WANTED = frozenset((b"src", b"alt"))


def images(page: bytes) -> list[tuple[str | None, str | None]]:
    found = [attributes(page[name_end : end - 1], WANTED) for kind, _, name_end, end in tags(page) if kind == IMG]
    return [(values.get("src"), values.get("alt")) for values in found]


def images_of_lexbor(page: str) -> list[tuple[str | None, str | None]]:
    return [(node.getattr("src"), node.getattr("alt")) for node in HTMLTree.parse(page).document.get_elements_by_tag_name("img")]


@pytest.mark.parametrize(
    ("page", "wanted"),
    [
        ("<img src=a alt=b>", [("a", "b")]),
        ("<IMG\nSRC='a'\tALT=\"b > c\"/>", [("a", "b > c")]),
        ("<img src=a/b/ alt=x/>", [("a/b/", "x/")]),
        ("<img src = a alt\n=\n'b'>", [("a", "b")]),
        ("<img src=a src=b alt alt=c>", [("a", "")]),
        ("<img =src src=a/>", [("a/", None)]),
        ("<img/src=a/alt=b>", [("a/alt=b", None)]),
        ('<img src="a"alt="b">', [("a", "b")]),
        ("<img src=a", []),
        ('<img src="a>', []),
        ("<imgx src=a><im g><img>", [(None, None)]),
        ("</img src=a><img src=b>", [("b", None)]),
        ("< img src=a><img src=b>", [("b", None)]),
        ('<a title="<img src=a>"><img src=b>', [("b", None)]),
        ("<!-- <img src=a> --><img src=b>", [("b", None)]),
        ("<!--><img src=a>", [("a", None)]),
        ("<!---><img src=a>", [("a", None)]),
        ("<!-- --!><img src=a>", [("a", None)]),
        ("<!-- <img src=a>", []),
        ("<!doctype html><?php <img src=a> ?><img src=b>", [("b", None)]),
        ("<!doctype x><![CDATA[ <img src=a> ]]><img src=b>", [("b", None)]),
        ("<script>'<img src=a>'</script><img src=b>", [("b", None)]),
        ("<script><!-- <script> </script> <img src=a> --></script><img src=b>", [("b", None)]),
        ("<script><!-- </script><img src=b>", [("b", None)]),
        ("<script><!--></script><img src=b>", [("b", None)]),
        ("<script></scriptx><img src=a></SCRIPT ><img src=b>", [("b", None)]),
        ("<style><img src=a></style><img src=b>", [("b", None)]),
        ("<title><img src=a></title><img src=b>", [("b", None)]),
        ("<textarea><img src=a></textarea><img src=b>", [("b", None)]),
        ("<iframe><img src=a></iframe><img src=b>", [("b", None)]),
        ("<noscript><img src=a></noscript><img src=b>", [("a", None), ("b", None)]),
        ("<table><img src=a><tr><img src=b></table>", [("a", None), ("b", None)]),
        ("<plaintext><img src=a>", []),
        ("<script>", []),
        ("<", []),
        ("</", []),
        ("<!", []),
        ("", []),
    ],
)
def test_images_are_those_that_a_browser_s_parser_finds(page, wanted):
    assert images(page.encode()) == wanted
    if page.startswith("<noscript>") or "CDATA" in page:
        return  # lexbor keeps other rules there, below
    assert sorted(images_of_lexbor(page), key=str) == sorted(wanted, key=str)  # a tree moves images out of tables


VALUE = st.text("ab /&;=<>'\"\n#xc1é", max_size=8)
ATTRIBUTE = st.builds(
    lambda name, value, form: {
        "none": f" {name}",
        "double": f' {name}="{value.replace(chr(34), "")}"',
        "single": f" {name}='{value.replace(chr(39), '')}'",
        "bare": f" {name}={''.join(value.split()).strip(chr(34) + chr(39) + '>=<') or 'v'} ",
    }[form],
    st.sampled_from(["src", "alt", "ALT", "class", "data-src"]),
    VALUE,
    st.sampled_from(["none", "double", "single", "bare"]),
)
TAG = st.builds(
    lambda name, inside, end: f"<{name}{''.join(inside)}{end}",
    st.sampled_from(["img", "IMG", "p", "b", "span", "a", "/p", "/b", "/div", "div"]),
    st.lists(ATTRIBUTE, max_size=4),
    st.sampled_from([">", "/>", " >", "\n>"]),
)
RAW = st.builds(
    lambda name, inside: f"<{name}>{inside}</{name}>",
    st.sampled_from(["script", "style", "textarea", "SCRIPT", "xmp"]),
    st.text("<!->/imgscriptsyletarea =", max_size=24),
)
OTHER = st.sampled_from(["<!-- x -->", "<!--<img>-->", "<!x>", "<?y>", "&lt;img&gt;"])
PIECE = st.one_of(TAG, TAG, RAW, OTHER, st.text("a<>&!-/ é", max_size=6))


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECE, max_size=12).map("".join))
def test_generated_pages_give_what_lexbor_gives(page):
    page = "<!doctype html><body>" + page
    assert images(page.encode()) == images_of_lexbor(page)


class Reference(HTMLParser):
    """Python's own parser: another grammar and another author."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str | None, str | None]] = []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            values: dict = {}
            for name, value in attrs:
                values.setdefault(name, value or "")
            self.found.append((values.get("src"), values.get("alt")))


@given(st.lists(st.tuples(st.text("ab c&é<>'", max_size=8), st.text("ab c&é<>'", max_size=8)), max_size=8))
def test_quoted_attributes_agree_with_the_standard_library(pairs):
    page = "".join(f'<p><img src="{html.escape(src)}" alt="{html.escape(alt)}" /> text' for src, alt in pairs)
    reference = Reference()
    reference.feed(page)
    assert images(page.encode()) == reference.found == pairs


@settings(deadline=None)
@given(st.one_of(st.binary(), st.text("<>!-/=\"'aimgscriptsrct \n", max_size=60).map(str.encode)))
@example(b"<img \xff\x00=\xff>")
def test_any_bytes_are_read_to_their_end(page):
    places = [0]
    for every in (False, True):
        for _, start, name_end, end in tags(page, every=every):
            assert 0 <= start < name_end <= end <= len(page)
            places.append(start)
        assert places == sorted(places)
        places = [0]
    images(page)


def test_more_tags_than_are_reported_at_once():
    page = b"".join(b"<p><img alt=%d>" % number for number in range(10_000))
    assert images(page) == [(None, str(number)) for number in range(10_000)]


@pytest.mark.parametrize(
    ("text", "in_attribute", "in_text"),
    [
        ("?a=1&copy=2", "?a=1&copy=2", "?a=1©=2"),
        ("&copy2", "&copy2", "©2"),
        ("&copy;2 &copy", "©2 ©", "©2 ©"),
        ("&notit; &notin;", "&notit; ∉", "¬it; ∉"),
        ("&amp;amp; &AMP", "&amp; &", "&amp; &"),
        ("&#65;&#x42;&#X43 &#0000000000068;", "ABC D", "ABC D"),
        ("&#128;&#x81;&#0;&#xD800;&#x110000;&#99999999999;", "€\x81\ufffd\ufffd\ufffd\ufffd", "€\x81\ufffd\ufffd\ufffd\ufffd"),
        ("& &; &# &#x; &unknown; &", "& &; &# &#x; &unknown; &", "& &; &# &#x; &unknown; &"),
        ("&NotEqualTilde;", "≂̸", "≂̸"),
    ],
)
def test_character_references(text, in_attribute, in_text):
    assert unescape(text, attribute=True) == in_attribute
    assert unescape(text, attribute=False) == in_text == html.unescape(text)
    assert images_of_lexbor(f'<img alt="{text}">') == [(None, in_attribute)]


REFERENCE = st.sampled_from(["&", "#", "x", ";", "1", "41", "amp", "lt", "not", "in", "copy", "=", "é", " ", "D800"])


@given(st.lists(REFERENCE, max_size=8).map("".join))
def test_references_agree_with_the_standard_library_and_lexbor(text):
    if "&#x" not in text and "&#1" not in text and "&#4" not in text:  # html.unescape drops some control characters
        assert unescape(text, attribute=False) == html.unescape(text)
    assert [(None, unescape(text, attribute=True))] == images_of_lexbor(f'<img alt="{text}">')
