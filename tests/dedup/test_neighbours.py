import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.neighbours import (
    CellIndex,
    EvaluationIndex,
    FlatIndex,
    Hits,
    best_of_each_pair,
    build_index,
    cap_each_image,
    exact_similarity,
    recall_against_flat,
)


def unit_vectors(number: int, dimension: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(number, dimension))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float16)


def index_of(vectors, views=3, kind="flat", probes=32, precision=None) -> EvaluationIndex:
    image = np.arange(len(vectors)) // views
    view = (np.arange(len(vectors)) % views).astype(np.int16)
    return EvaluationIndex(vectors, image, view, FlatIndex(vectors, precision) if precision else build_index(vectors, kind, probes))


def rows(hits: Hits) -> list[tuple]:
    return sorted(zip(*(values.tolist() for values in vars(hits).values())))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), place=st.integers(0, 49), pieces=st.integers(1, 7))
def test_streamed_in_any_pieces_is_the_same_as_every_pair_compared(precision, seed, place, pieces):
    views, queries = unit_vectors(60, 8, seed), unit_vectors(50, 8, seed + 1)
    queries[7] = views[5]  # a true copy
    threshold = float(exact_similarity(queries[place : place + 1], views[place : place + 1])[0])  # of one pair to the last bit
    index = index_of(views, precision=precision)
    whole = index.search(queries, threshold)
    streamed = []
    start = 0
    for piece in np.array_split(queries, pieces):
        hits = index.search(piece, threshold)
        streamed.append(Hits(hits.image, hits.view, hits.query + start, hits.region, hits.similarity))
        start += len(piece)
    assert rows(Hits.concatenate(streamed)) == rows(whole)

    wanted = {}
    for query in range(len(queries)):
        for row in range(len(views)):
            similarity = exact_similarity(queries[query : query + 1], views[row : row + 1])[0]
            if similarity >= np.float32(threshold):
                known = wanted.get((row // 3, query))
                if known is None or similarity > known[0]:
                    wanted[row // 3, query] = (similarity, row % 3)
    found = {(image, query): (similarity, view) for image, view, query, _, similarity in rows(whole)}
    assert found == wanted


def test_a_copy_has_similarity_one_and_half_precision_does_not_shift_it():
    vectors = unit_vectors(10, 256, 3)
    assert exact_similarity(vectors, vectors).tolist() == pytest.approx([1.0] * 10, abs=1e-7)
    assert exact_similarity(vectors[:1], np.zeros((1, 256), np.float16)).tolist() == [0.0]


def test_ties_take_the_first_view_and_region():
    same = np.float32([0.5, 0.5, 0.5, 0.25])
    hits = Hits(np.array([1, 1, 1, 1]), np.int16([2, 0, 0, 0]), np.array([4, 4, 4, 4]), np.int16([0, 3, 1, 0]), same)
    assert rows(best_of_each_pair(hits)) == [(1, 0, 4, 1, 0.5)]


def test_cap_keeps_the_most_similar_of_each_image_ties_by_name():
    image = np.array([5, 5, 5, 2, 5])
    similarity = np.float32([0.7, 0.9, 0.7, 0.1, 0.7])
    name = np.array(["c", "z", "b", "x", "a"])
    assert cap_each_image(image, similarity, name, 2).tolist() == [3, 1, 4]
    assert cap_each_image(image[:0], similarity[:0], name[:0], 2).tolist() == []


def test_cells_find_nearly_all_and_their_recall_is_known():
    views = unit_vectors(45_000, 16, 0)
    index = index_of(views, kind="ivf", probes=64)
    assert isinstance(index.index, CellIndex)
    found, there = recall_against_flat(index, views[:200], 0.85)
    assert 200 <= found <= there and found / there > 0.9
    few = index_of(views, kind="ivf", probes=1)
    assert recall_against_flat(few, views[:200], 0.85)[0] < found


def test_no_vectors_find_nothing():
    index = index_of(unit_vectors(9, 8, 0))
    assert len(index.search(np.zeros((0, 8), np.float16), 0.5)) == 0
    assert len(index_of(unit_vectors(0, 8, 0)).search(unit_vectors(3, 8, 0), 0.5)) == 0


def test_vectors_of_several_blocks_are_all_looked_at(monkeypatch):
    monkeypatch.setattr("dedup.neighbours.BLOCK", 7)
    monkeypatch.setattr("dedup.neighbours.QUERIES", 5)
    views = unit_vectors(30, 16, 0)
    hits = index_of(views, views=1).search(views, 0.99)
    assert [(image, query) for image, _, query, _, _ in rows(hits)] == [(number, number) for number in range(30)]
