"""Many texts against many queries, by a brute force that shares no code with the project: regular expressions on NFKC."""

import bz2
import random
import unicodedata

import pytest
import regex

from wit_builder.match import QueryMatcher

TOKEN = regex.compile(r"[\p{L}\p{Nd}][\p{L}\p{Nd}\p{M}]*")
IGNORED = regex.compile(r"\p{Default_Ignorable_Code_Point}")
DECORATIONS = (
    ["{}", "({})", "“{}”", "{}'s", "{}-{}", "{},", "#{}", "{}™", "é{}", "{} 👍🏽"]
    + ["{}/{}", "…{}…", "<b>{}</b>", "３{}", "{}\u0301"]
)
SCRIPTS = (
    ["abcdefghij", "äöüßéèñçåø", "абвгдежзик", "αβγδεζηθςσ", "日本語東京都市中国", "한국어김치서울"]
    + ["हिन्दीकखगघ", "ไทยน้ำเงิน", "אבגדהוזחט", "عربيةسلام", "ｱｲｳABCﬁⅣ①½²"]
)


def independent_form(text):
    text = unicodedata.normalize("NFKC", IGNORED.sub("", text)).casefold()
    return f" {' '.join(TOKEN.findall(IGNORED.sub('', unicodedata.normalize('NFKC', text))))} "


def brute_force(queries, texts):
    forms = [independent_form(query) for query in queries]
    return [(t, q) for t, text in enumerate(map(independent_form, texts)) for q, form in enumerate(forms) if form.strip() and form in text]


def unruly(words, chance, number, longest):
    """Texts of neighbouring words, some decorated, in other case, or decomposed."""
    for _ in range(number):
        begin, length = chance.randrange(len(words) - longest), chance.randint(1, longest)
        some = words[begin : begin + length]
        text = " ".join(chance.choice(DECORATIONS).replace("{}", word) if chance.random() < 0.15 else word for word in some)
        yield chance.choice([str, str.upper, str.title, lambda each: unicodedata.normalize("NFD", each)])(text)


def check(words, texts, queries):
    chance = random.Random(0)
    made_queries = list(unruly(words, chance, queries, 3))
    made_texts = list(unruly(words, chance, texts, 20))
    found_texts, found_queries = QueryMatcher(made_queries).match(made_texts)
    expected = brute_force(made_queries, made_texts)
    assert list(zip(found_texts.tolist(), found_queries.tolist())) == expected
    assert len(expected) > texts


def test_made_words_of_many_scripts():
    chance = random.Random(1)
    vocabulary = ["".join(chance.choices(script, k=chance.randint(1, 9))) for script in SCRIPTS for _ in range(12)]
    check(chance.choices(vocabulary, weights=[1 / (rank + 1) for rank in range(len(vocabulary))], k=5_000), 1_200, 500)


def test_words_of_wikipedia(samples):
    with bz2.open(samples / "wikipedia" / "enwiki-sample.xml.bz2", "rt", encoding="utf-8") as stream:
        words = stream.read(3_000_000)[1_000_000:].split()
    check(words, 1_200, 800)


@pytest.mark.parametrize("text", ["dog", "…", "\u0301", "a\u0301\u0301b", "ﷺ", "㍿", "ß\u0301", "\u1e9e", "ŉ", "İ", "ǆ", "ͅα", "α\u0345"])
def test_forms_that_expand(text):
    words = TOKEN.findall(independent_form(text))
    assert len(QueryMatcher([" ".join(words)]).match([text])[0]) == bool(words)
