from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from queries import spill
from queries.parts import plan
from queries.wikitext import to_text
from queries.words import PAGE_BREAK, ReadArticles, TokenStream, read_tokens, read_vocabulary
from tests.queries.dumps import count_words, dump, page
from wit_builder.text import tokens

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" -é\u0301\u0338=<ſßﬁ½dogDOG")), max_size=6)


@given(TEXTS)
def test_token_stream_is_the_normal_form_of_each_text(texts):
    stream = TokenStream()
    for text in texts:
        stream.add(text)
    words, numbers = stream.finish()
    found, under_way = [], []
    for number in numbers.tolist():
        if number == PAGE_BREAK:
            found.append(under_way)
            under_way = []
        else:
            under_way.append(words[number])
    assert found == [tokens(text) for text in texts] and not under_way
    assert words == sorted(set(words))


def test_counts_and_token_streams_of_a_dump(tmp_path):
    texts = [f"Dog dog number {number % 5}. [[Cat|The cat]] é" for number in range(200)]
    (tmp_path / "a.xml").write_bytes(dump([page(f"T{number}", text) for number, text in enumerate(texts)]))
    parts, merged = count_words(tmp_path / "a.xml", tmp_path / "work", 9_000, 41)
    assert len(parts) > 3
    wanted = Counter(token for text in texts for token in tokens(to_text(text)))
    every = pa.concat_tables([spill.read_all(str(tmp_path / "work" / spill.name("all-words", index))) for index in range(3)])
    assert dict(zip(every["word"].to_pylist(), every["count"].to_pylist())) == wanted
    frequent = read_vocabulary(str(tmp_path / "work"))
    assert frequent["word"].to_pylist() == sorted(word for word, count in wanted.items() if count >= 41)
    assert sum(result["distinct words"] for result in merged) == len(wanted)
    for index in range(len(parts)):
        words, numbers = read_tokens(str(tmp_path / "work"), index)
        assert len(numbers) == 8 * np.count_nonzero(numbers == PAGE_BREAK)
        assert words[int(numbers[0])].as_py() == "dog"


def test_an_interrupted_part_is_done_again_and_a_whole_one_is_not(tmp_path):
    (tmp_path / "a.xml").write_bytes(dump([page("Dog", "dog")]))
    part = plan(str(tmp_path / "a.xml"), 1 << 20)[0]
    work = ReadArticles(str(tmp_path / "work"), 1)
    first = work(None, (0, part))
    (tmp_path / "a.xml").unlink()
    assert work(None, (0, part)) == first
