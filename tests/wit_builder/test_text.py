import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wit_builder.text import clean, fold, normal_form, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("St. Louis", ["st", "louis"]),
        ("(dog)", ["dog"]),
        ("dog/cat", ["dog", "cat"]),
        ("", []),
        ("...", []),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("don't", ["don", "t"]),
        ("e\u0301te\u0301", ["été"]),
        ("ﬁne ½", ["fine", "1", "2"]),
        ("x² Ⅷ", ["x2", "viii"]),
        ("東京 タワー", ["東京", "タワー"]),
        ("co\u00adop zero\u200bwidth", ["coop", "zerowidth"]),
        ("👍🏽 ok", ["ok"]),
        ("\u0301stray", ["stray"]),
        ("हिन्दी", ["हिन्दी"]),
        ("٣ cats", ["٣", "cats"]),
        ("snake_case", ["snake", "case"]),
        ("a\ud800b", ["a", "b"]),
    ],
)
def test_tokens(text, expected):
    assert tokens(text) == expected


@given(st.text())
def test_normal_form_is_stable(text):
    assert normal_form(normal_form(text)) == normal_form(text)


@given(st.text())
def test_composed_and_decomposed_are_the_same(text):
    assert tokens(unicodedata.normalize("NFC", text)) == tokens(unicodedata.normalize("NFD", text))


@given(st.text(alphabet=st.characters(max_codepoint=0x2FF)))
def test_fold_agrees_with_python(text):
    visible = text.replace("\u00ad", "")
    assert fold(text) == unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())


@given(st.text(st.characters(exclude_categories=[])))
def test_clean_always_encodes_and_is_stable(text):
    cleaned = clean(text)
    cleaned.encode()
    assert "\0" not in cleaned
    assert clean(cleaned) == cleaned
