from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.metrics import BigramAssocMeasures

from queries import spill
from queries.bigrams import CountBigrams, MergeBigrams, pairs, pmi
from queries.wikitext import to_text
from tests.queries.dumps import dump, page
from tests.queries.test_words import count_words
from wit_builder.text import tokens

COUNTS = st.integers(1, 10**9)


@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS), min_size=1), st.integers(10**9, 10**12))
def test_pmi_is_nltk_s(rows, total):
    wanted = [BigramAssocMeasures.pmi(both, (first, second), total) for both, first, second in rows]
    assert pmi(*map(np.array, zip(*rows)), total) == pytest.approx(wanted, abs=1e-9)


@given(st.lists(st.integers(-1, 5)))
def test_pairs_are_neighbours_that_both_count(numbers):
    wanted = Counter(a * 6 + b for a, b in zip(numbers, numbers[1:]) if a >= 0 and b >= 0)
    pair, count = pairs(np.array(numbers, np.int32), 6)
    assert dict(zip(pair.tolist(), count.tolist())) == wanted and pair.tolist() == sorted(wanted)


def test_bigrams_of_a_dump_against_a_plain_count(tmp_path):
    texts = [f"The golden gate of town {number % 3}, the golden town. {'gate ' * (number % 4)}" for number in range(150)]
    (tmp_path / "a.xml").write_bytes(dump([page(f"T{number}", text) for number, text in enumerate(texts)]))
    work = str(tmp_path / "work")
    parts, _ = count_words(tmp_path / "a.xml", work, 9_000, 60)
    for index in range(len(parts)):
        CountBigrams(work, 3)(None, index)
    streams = [tokens(to_text(text)) for text in texts]
    words = Counter(token for stream in streams for token in stream)
    plain = Counter(pair for stream in streams for pair in zip(stream, stream[1:]))
    total = sum(words.values())
    wanted = {pair: count for pair, count in plain.items() if count >= 40 and min(words[word] for word in pair) >= 60}
    found = {}
    for partition in range(3):
        MergeBigrams(work, len(parts), 40, None, 4)(None, (partition, total))
        for row in spill.read_all(f"{work}/{spill.name('all-bigrams', partition)}").to_pylist():
            found[row["first"], row["second"]] = row["count"]
            first, second = words[row["first"]], words[row["second"]]
            assert row["pmi"] == pytest.approx(BigramAssocMeasures.pmi(row["count"], (first, second), total))
        scores = spill.read_all(f"{work}/{spill.name('bigram-candidates', partition)}")["score"].to_pylist()
        assert scores == sorted(scores, reverse=True)
    assert found == wanted and len(wanted) > 5
