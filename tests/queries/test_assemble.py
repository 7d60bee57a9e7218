"""The choice of the list, against a slow reading of its definition."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.assemble import BIGRAM_SHARE, TITLE_SHARE, Cuts, Query, candidates, choose, to_table
from wit_builder.errors import UserError
from wit_builder.records import QUERIES

KEYS = [f"{first} {second}" for first in "abcde" for second in "abcde"]


def queries(keys, score=1000.0):
    return [Query(key, key, 1, score - number) for number, key in enumerate(keys)]


def texts(chosen):
    return {source: [query.key for query in found] for source, found in chosen.queries.items()}


def slow_list(words, bigrams, titles, wordnet, picks):
    """The list after so many picks, straight from the definition: each source net of the ones before."""
    bigram_count, title_count = picks
    taken_bigrams = bigrams[:bigram_count]
    net_titles = [key for key in titles if key not in words and key not in taken_bigrams][:title_count]
    rest = [key for key in wordnet if key not in {*words, *taken_bigrams, *net_titles}]
    return {"unigram": words, "bigram": taken_bigrams, "title": net_titles, "wordnet": rest}


def picks_in_shares():
    """How many bigrams and titles are picked, pick by pick."""
    bigrams = titles = 0
    while True:
        yield bigrams, titles
        if bigrams * TITLE_SHARE <= titles * BIGRAM_SHARE:
            bigrams += 1
        else:
            titles += 1


@settings(max_examples=300, deadline=None)
@given(
    st.permutations(KEYS), st.permutations(KEYS), st.lists(st.sampled_from(KEYS), unique=True), st.integers(0, 5), st.integers(0, 45),
)  # fmt: skip
def test_size_is_met_in_the_reference_shares(bigrams, titles, wordnet, word_count, extra):
    words = [f"w{number}" for number in range(word_count)]
    size = len(words) + len(wordnet) + extra
    titles = [*words, *titles]
    found = choose(queries(words), queries(bigrams), queries(titles), queries(wordnet), Cuts(size))
    if found.short:
        assert found.size() + sum(found.short.values()) == size
        return
    assert found.size() == size
    for picks in picks_in_shares():
        wanted = slow_list(words, bigrams, titles, wordnet, picks)
        if sum(map(len, wanted.values())) == size:
            break
    assert {source: set(keys) for source, keys in texts(found).items()} == {source: set(keys) for source, keys in wanted.items()}


def test_sources_that_run_out_are_named_and_not_filled_up():
    found = choose(queries(["w"]), queries(KEYS[:4]), queries(KEYS[10:]), queries(["x y"]), Cuts(1000))
    assert found.size() == 1 + 4 + 15 + 1
    assert found.short == {"bigram": found.asked["bigram"] - 4, "title": found.asked["title"] - 15}
    assert sum(found.short.values()) == 1000 - found.size()
    assert abs(found.asked["bigram"] / found.asked["title"] - BIGRAM_SHARE / TITLE_SHARE) < 0.01


def test_given_thresholds_override_the_size():
    both = choose(queries(["w"]), queries(KEYS[:6]), queries(KEYS[4:9]), [], Cuts(2, min_pmi=1.0, min_views=5))
    assert texts(both) == {"unigram": ["w"], "bigram": KEYS[:6], "title": KEYS[6:9], "wordnet": []}
    one = choose(queries(["w"]), queries(KEYS[:6]), queries(KEYS[4:]), [], Cuts(12, min_pmi=1.0))
    assert one.size() == 12 and texts(one)["bigram"] == KEYS[:6] and texts(one)["title"] == KEYS[6:11]


def test_words_and_wordnet_beyond_the_size_are_an_error():
    with pytest.raises(UserError, match=r"words and WordNet names alone are 3, more than --size 2"):
        choose(queries(["a", "b"]), [], [], queries(["b", "c d"]), Cuts(2))


def test_order_numbers_and_empty_queries():
    words = [Query("b", "b", 5, 5.0), Query("a", "a", 5, 5.0), Query("c", "c", 9, 9.0), Query("!", "", 7, 7.0)]
    table = to_table(choose(words, [], [], queries(["x"]), Cuts(None)))
    assert table.schema == QUERIES
    assert table["query"].to_pylist() == ["c", "a", "b", "x"] and table["query_id"].to_pylist() == [0, 1, 2, 3]


def test_candidates_of_partitions_are_merged_by_score_then_string():
    tables = [
        pa.table({"query": ["b", "z"], "count": [1, 1], "score": [3.0, 1.0]}),
        pa.table({"query": ["A. C", "y"], "count": [2, 1], "score": [3.0, 2.0]}),
    ]
    assert [(query.text, query.key) for query in candidates(tables, keys=False)] == [("A. C", "a c"), ("b", "b"), ("y", "y"), ("z", "z")]
