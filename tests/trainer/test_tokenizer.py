"""The tokenizer against OpenAI's published algorithm, written here plainly from its description."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.tokenizer import END, START, WORD_END, Tokenizer, byte_characters, clean, load_tokenizer, train_tokenizer, words
from wit_builder.errors import UserError

TEXTS = [
    "a photo of a dog running on the beach",
    "A photograph of the dogs' running track, it's 2019",
    "Überfluß in Zürich: 20% naïve “quotes”",
    "猫の写真 cat photos",
    "photo photo photographer's dogs & cats",
] * 3


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 700)


def plain_bpe(word: str, tokenizer: Tokenizer) -> list[int]:
    """OpenAI's loop: merge the pair of lowest rank wherever it occurs, until none is known."""
    ranks = {merge: rank for rank, merge in enumerate(tokenizer.merges)}
    shown_bytes = byte_characters()
    symbols = [*shown_bytes, *(c + WORD_END for c in shown_bytes), *("".join(m) for m in tokenizer.merges), START, END]
    ids = {symbol: index for index, symbol in enumerate(symbols)}
    if word in (START, END):
        return [ids[word]]
    order = [b for b in range(256) if chr(b) in shown_bytes] + [b for b in range(256) if chr(b) not in shown_bytes]
    shown = dict(zip(order, shown_bytes))
    parts = [shown[byte] for byte in word.encode()]
    parts[-1] += WORD_END
    while len(parts) > 1:
        best = min(zip(parts, parts[1:]), key=lambda pair: ranks.get(pair, 1 << 30))
        if best not in ranks:
            break
        merged, index = [], 0
        while index < len(parts):
            if tuple(parts[index : index + 2]) == best:
                merged.append("".join(best))
                index += 2
            else:
                merged.append(parts[index])
                index += 1
        parts = merged
    return [ids[part] for part in parts]


PIECES = ["<|endoftext|>", "<|ENDOFTEXT|>", "!<|endoftext|>", "dog", "photo's", "&amp;", "é", "ﬁ", "'S", "1", "²", "\u2028", "猫", "\x00"]


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=8).map("".join)))
def test_ids_are_those_of_the_published_algorithm(tokenizer, text):
    assert tokenizer.ids([text])[0] == [index for word in words(text) for index in plain_bpe(word, tokenizer)]


def test_cleaning():
    assert clean("  A  &amp;amp;\tB\n“C” ") == 'a & b "c"'
    assert clean("donâ€™t") == "don't"
    assert words("It's 20, cats!!") == ["it", "'s", "2", "0", ",", "cats", "!!"]


def test_rows_start_end_and_are_cut(tokenizer):
    rows = tokenizer.encode(["a dog", "", "cat " * 50], context=10)
    assert rows.shape == (3, 10)
    assert (rows[:, 0] == tokenizer.start).all()
    assert list(rows[1]) == [tokenizer.start, tokenizer.end] + [0] * 8
    assert rows[2, -1] == tokenizer.end
    assert (rows.argmax(axis=1) == [list(row).index(tokenizer.end) for row in rows]).all()
    assert tokenizer.decode(rows[0]) == "a dog"
    assert tokenizer.decode(tokenizer.encode(["Zürich 猫"], 40)[0]) == "zürich 猫"


def test_training_gives_the_same_merges_in_every_process(tokenizer):
    code = f"import json; from trainer.tokenizer import train_tokenizer as t; print(json.dumps(t({TEXTS!r}, 700).to_json()))"
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout for _ in range(2)}
    assert [json.loads(run) for run in runs] == [tokenizer.to_json()]


def test_files(tokenizer, tmp_path):
    path = str(tmp_path / "tokenizer.json")
    tokenizer.save(path)
    assert load_tokenizer(path).merges == tokenizer.merges
    from tokenizers import Tokenizer as Library

    sample = "A photo of the dogs, it's 2019!"
    expected = [tokenizer.start, *tokenizer.ids([sample])[0], tokenizer.end]
    assert Library.from_file(path).encode(sample).ids == expected
    merges = tmp_path / "bpe.txt"
    merges.write_text("#version: 0.2\n" + "\n".join(" ".join(merge) for merge in tokenizer.merges) + "\n")
    assert load_tokenizer(str(merges)).merges == tokenizer.merges
    (tmp_path / "bad.json").write_text('{"model": {}}')
    (tmp_path / "empty.txt").write_text("#version: 0.2\n")
    for bad in ("bad.json", "tokenizer.png", "empty.txt"):
        (tmp_path / "tokenizer.png").write_bytes(b"\x89PNG\xff")
        with pytest.raises(UserError, match="not a BPE tokenizer"):
            load_tokenizer(str(tmp_path / bad))


def test_too_small_a_vocabulary_and_no_text_are_refused():
    with pytest.raises(UserError, match="515"):
        train_tokenizer(TEXTS, 300)
    with pytest.raises(UserError, match="no text"):
        train_tokenizer([], 700)
