"""The matcher against the definition: a query matches where its tokens stand next to each other in the text's tokens."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wit_builder.errors import UserError
from wit_builder.match import QueryMatcher
from wit_builder.text import tokens


def brute_force(queries, texts):
    found = []
    for t, text in enumerate(texts):
        spaced = f" {' '.join(tokens(text or ''))} "
        found += [(t, q) for q, query in enumerate(queries) if tokens(query) and f" {' '.join(tokens(query))} " in spaced]
    return found


def matches(queries, texts):
    found_texts, found_queries = QueryMatcher(queries).match(texts)
    return list(zip(found_texts.tolist(), found_queries.tolist()))


CASES = {
    "punctuation": (["dog", "st louis", "dog cat"], ["(dog)", "dog/cat", "St. Louis!", "hotdog", "dog... cat", "…dog"]),
    "case": (["straße", "İstanbul", "ΣΑΣ"], ["STRASSE", "i̇stanbul", "σας", "Straße"]),
    "accents": (["café", "cafe\u0301 noir", "naïve"], ["CAFE\u0301 NOIR", "café noir", "cafe noir", "nai\u0308ve"]),
    "cjk": (["東京", "ｶﾞ", "東京 タワー", "김치"], ["東京 タワー", "東京タワー", "ガ", "\u1100\u1175\u11b7\u110e\u1175"]),
    "emoji": (["dog", "👍", "red heart"], ["dog👍🏽dog", "👨‍👩‍👧 red ❤️ heart", "👍"]),
    "apostrophes and hyphens": (["don t", "don't", "x ray", "X-ray", "o’clock"], ["DON’T", "xray", "x‐ray at 5 o'clock", "x--ray"]),
    "numbers": (["42", "3 14", "٣", "x2", "½"], ["42.0", "3.14", "142", "٣ cats", "x²", "1⁄2"]),
    "queries in each other": (
        ["new", "new york", "new york city", "york city", "york", "a a", "a a a"],
        ["New York City", "a a a a", "new new york"],
    ),
    "the same query twice": (["Dog", "dog", "DOG!", "", "..."], ["dog", ""]),
    "long tokens": (
        ["internationalization", "internationalizations", "pneumono" * 9],
        ["Internationalization", "pneumono" * 9, "pneumono" * 8],
    ),
    "very long texts": (["dog", "end of text"], ["dog " * 60_000 + "end of text", "x" * 300_000 + " dog"]),
    "marks and invisible": (["हिन्दी", "น้ำ", "coop"], ["हिन्दी", "น้ำ!", "co\u00adop", "\u0301dog", "co\u200dop"]),
    "broken": (["a b", "b"], ["a\ud800b", "a\0b"]),
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name):
    queries, texts = CASES[name]
    found = matches(queries, texts)
    assert found == brute_force(queries, texts)
    assert found


WORDS = ["a", "b", "aa", "É", "e\u0301", "x²", "internationalization", "ﬁ", "हि", "東", "-", "\u0301", "\u200d", "ǰ", "\u05b0"]
TEXT = st.builds(str.join, st.sampled_from(["", " "]), st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=3)), max_size=8))
TEXTS = st.lists(TEXT, max_size=12)


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS)
def test_any_texts_and_queries(queries, texts):
    assert matches(queries, texts) == brute_force(queries, texts)


def test_arrow_arrays_of_all_kinds():
    queries, texts = ["dog", "hot dog"], ["x", "hot dog", None, "dog", "été dog"]
    expected = brute_force(queries, texts)
    matcher = QueryMatcher(pa.array(queries))
    for array in (
        pa.array(texts),
        pa.array(["dog", *texts]).slice(1),
        pa.chunked_array([texts[:2], texts[2:]], pa.string()),
        pa.array(texts, pa.large_string()),
        pa.array(texts).dictionary_encode(),
        pa.array(texts, pa.string_view()),
    ):
        found_texts, found_queries = matcher.match(array)
        assert list(zip(found_texts.tolist(), found_queries.tolist())) == expected
    assert [len(part) for part in matcher.match(pa.array([], pa.string()))] == [0, 0]


def test_broken_utf8_is_read_as_separators():
    data = [b"dog\xff\xfedog", b"\xe2\x82dog \xc3", b"\xed\xa0\x80dog", b"e\xcc\x81\xff dog", b"dog\xf0\x9f"]
    buffers = pa.array(data, pa.large_binary()).buffers()
    array = pa.Array.from_buffers(pa.large_string(), len(data), buffers)
    texts = [value.decode("utf-8", "replace") for value in data]
    found_texts, found_queries = QueryMatcher(["dog", "é"]).match(array)
    assert list(zip(found_texts.tolist(), found_queries.tolist())) == brute_force(["dog", "é"], texts)


def test_saved_matcher_is_the_same(tmp_path):
    path = str(tmp_path / "matcher.npz")
    matcher = QueryMatcher(["dog", "hot dog", "Dog"])
    matcher.save(path)
    loaded = QueryMatcher.load(path)
    assert len(loaded) == 3
    assert [part.tolist() for part in loaded.match(["hot dog"])] == [part.tolist() for part in matcher.match(["hot dog"])]
    again = str(tmp_path / "again.npz")
    loaded.save(again)
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "matcher.npz").read_bytes()
    (tmp_path / "matcher.npz").write_bytes(b"PK torn")
    with pytest.raises(UserError, match="not a whole matcher file"):
        QueryMatcher.load(path)
