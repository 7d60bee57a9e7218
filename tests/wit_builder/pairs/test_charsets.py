import pytest
from hypothesis import given
from hypothesis import strategies as st

from wit_builder.pairs.charsets import to_utf8


@pytest.mark.parametrize(
    ("text", "encoding", "header", "meta"),
    [
        ("Größe", "utf-8", "text/html; charset=utf-8", ""),
        ("Größe", "latin-1", "text/html; charset=ISO-8859-1", ""),
        ("„Größe“", "cp1252", "text/html; charset=iso-8859-1", ""),  # as browsers read that label
        ("Größe", "latin-1", "text/html", '<meta charset="iso-8859-1">'),
        ("Größe", "latin-1", None, '<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1">'),
        ("Größe", "utf-8", "text/html; charset=utf-8", "<meta charset=iso-8859-1>"),  # the header wins
        ("Größe", "utf-8", "text/html; charset=none-such", "<meta charset=utf-8>"),
        ("Größe", "utf-8", None, "<meta charset=utf-16>"),  # it could not have been read
        ("日本語のページ", "shift_jis", 'text/html;charset="Shift_JIS"', ""),
        ("日本語のページ", "euc_jp", None, "<META CHARSET='euc-jp'>"),
        ("中文网页", "gb18030", "text/html; charset=gb2312", ""),
        ("Русский", "koi8-r", "text/html; charset=koi8-r", ""),
        ("Größe", "utf-8", None, ""),
        ("Größe", "utf-8-sig", "text/html; charset=iso-8859-1", ""),  # a byte order mark wins over all
        ("Größe", "utf-16", "text/html; charset=utf-8", ""),
    ],
)
def test_character_sets(text, encoding, header, meta):
    assert to_utf8((meta + text).encode(encoding), header).decode() == meta + text


def test_detection_where_nothing_says():
    text = "<p>Съешь же ещё этих мягких французских булок, да выпей чаю. Широкая электрификация южных губерний.</p>" * 5
    assert to_utf8(text.encode("cp1251")).decode() == text


def test_broken_sequences_become_replacement_characters():
    assert to_utf8(b"a\xffb", "text/html; charset=utf-8").decode("utf-8", "replace") == "a\ufffdb"
    assert to_utf8(b"a\xffb", "text/html; charset=us-ascii").decode() == "a\u00ffb"  # browsers take it for windows-1252
    assert to_utf8(b"\x83", "text/html; charset=shift_jis").decode() == "\ufffd"


LABELS = st.one_of(st.text(max_size=8), st.sampled_from(["utf-7", "utf-16be", "hz-gb-2312", "iso-2022-jp", "x-user-defined", "rot13"]))


@given(st.binary(), LABELS, LABELS)
def test_any_bytes_and_labels_are_read(data, header, meta):
    to_utf8(b"<meta charset=" + meta.encode("utf-8", "replace") + b">" + data, f"text/html; charset={header}").decode("utf-8", "replace")
