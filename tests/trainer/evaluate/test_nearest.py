import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from trainer.evaluate.nearest import Nearest, rows_at_a_time


def unit(random, *shape):
    vectors = random.normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("step", [1, 7, 50])
def test_the_nearest_are_those_of_scikit_learn(step):
    random = np.random.default_rng(0)
    queries, vectors = unit(random, 6, 8), unit(random, 50, 8)
    nearest = Nearest(queries, 9)
    for start in range(0, 50, step):
        nearest.add(vectors[start : start + step], start)
    distances, places = NearestNeighbors(n_neighbors=9, metric="cosine", algorithm="brute").fit(vectors).kneighbors(queries)
    assert (np.stack(nearest.places) == places).all()
    np.testing.assert_allclose(np.stack(nearest.cosines), 1 - distances, atol=1e-6)


def test_equal_ones_keep_their_order_and_fewer_than_asked_are_all():
    vectors = np.array([[0, 1], [1, 0], [1, 0], [0, 1], [1, 0]], np.float32)
    nearest = Nearest(np.array([[1, 0]], np.float32), 2)
    nearest.add(vectors[:3], 0)
    nearest.add(vectors[3:], 3)
    assert nearest.places[0].tolist() == [1, 2]
    everything = Nearest(np.array([[1, 0]], np.float32), 99)
    everything.add(vectors[:0], 0)
    everything.add(vectors, 0)
    assert everything.places[0].tolist() == [1, 2, 4, 0, 3]


@pytest.mark.parametrize("step", [1, 6, 60])
def test_of_each_group_only_the_nearest_is_kept(step):
    random = np.random.default_rng(1)
    queries, vectors = unit(random, 4, 5), unit(random, 60, 5)
    groups = random.integers(0, 12, 60)
    nearest = Nearest(queries, 5)
    for start in range(0, 60, step):
        nearest.add(vectors[start : start + step], start, groups[start : start + step])
    for query, places in zip(queries, nearest.places):
        best = {}
        for place in np.argsort(-(vectors @ query), kind="stable").tolist():
            best.setdefault(groups[place], place)
        assert places.tolist() == list(best.values())[:5]


def test_memory_for_scores_is_bounded():
    assert rows_at_a_time(1) == 16_384 and rows_at_a_time(100_000) * 100_000 <= 16_000_000
