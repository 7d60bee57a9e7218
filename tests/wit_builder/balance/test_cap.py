"""The cap's rule against a plain reading of it in Python."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import pair_hash

from wit_builder.balance import cap, kernel
from wit_builder.hashing import hash64


def published_vectors():
    """Rows of the table of test vectors: seed, tokens, salt, uid, hash."""
    document = (Path(__file__).resolve().parents[3] / "docs" / "data-formats.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `([^`]+)` \| `(\w{16})` \| `(\w{32})` \| `(\w{16})` \|$", document, re.MULTILINE)
    assert len(rows) == 5
    return rows


@pytest.mark.parametrize(("seed", "form", "salt", "uid", "value"), published_vectors())
def test_hashes_are_the_published_ones(seed, form, salt, uid, value):
    salts = cap.salts(int(seed), [form])
    halves = np.array([[int(uid[:16], 16), int(uid[16:], 16)]], np.uint64)
    got = kernel.pair_hashes(salts, np.zeros(1, np.int32), halves)
    assert [f"{number:016x}" for number in (*salts.tolist(), *got.tolist())] == [salt, value]
    assert pair_hash(int(seed), form, uid) == int(value, 16)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.floats(0.1, 6), st.lists(st.lists(st.integers(0, 3), unique=True), max_size=60), st.booleans())
def test_limits_select_exactly_the_smallest(limit, width, rows, collide):
    """Windows of any width: those that miss are reported, the others are exact; also where all hashes are equal."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    queries = np.array([q for row in rows for q in row], np.int32)
    uids = np.array([[0 if collide else hash64(i), i] for i in range(len(rows))], np.uint64).reshape(-1, 2)
    salts = cap.salts(0, ["a", "b", "c", "d"])
    matched = np.bincount(queries, minlength=4)
    low, high = cap.windows(matched, limit, width)
    limits, missed = cap.limits_of_windows(
        matched, limit, *kernel.window(uids, offsets, queries, salts, low, high, matched > limit)
    )
    chosen = kernel.select(uids, offsets, queries, salts, limits)
    hashes = kernel.pair_hashes(salts, queries, np.repeat(uids, np.diff(offsets), axis=0))
    owners = np.repeat(np.arange(len(rows)), np.diff(offsets))
    for query in set(range(4)) - set(missed.tolist()):
        of_query = queries == query
        ranked = sorted(zip(hashes[of_query].tolist(), uids[owners[of_query]].tolist(), owners[of_query].tolist()))
        assert sorted(owners[of_query & chosen].tolist()) == sorted(owner for _, _, owner in ranked[:limit])
    assert not set(missed.tolist()) - set(np.flatnonzero(matched > limit).tolist())


def test_wide_windows_do_not_miss():
    matched = np.array([100_000])
    uids = np.array([[hash64("u", i), i] for i in range(100_000)], np.uint64)
    offsets, queries = np.arange(100_001), np.zeros(100_000, np.int32)
    salts = cap.salts(0, ["dog"])
    low, high = cap.windows(matched, 5_000, 6.0)
    sure, found, keys = kernel.window(uids, offsets, queries, salts, low, high, matched > 5_000)
    assert len(found) < 2_000, "only the neighbourhood of the cap is kept"
    limits, missed = cap.limits_of_windows(matched, 5_000, sure, found, keys)
    assert not len(missed)
    assert kernel.select(uids, offsets, queries, salts, limits).sum() == 5_000


def test_probabilistic_limits_are_cap_over_count():
    limits = cap.probabilistic_limits(np.array([5, 10, 40]), 10)
    assert limits[:2].tolist() == [[cap.ALL] * 3] * 2
    assert abs(int(limits[2, 0]) / 2**64 - 0.25) < 1e-12
