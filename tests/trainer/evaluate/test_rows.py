import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.sparse import csr_array
from sklearn import metrics as sk

from trainer.evaluate import logistic, probe, rows, scoring
from trainer.evaluate.features import ROWS, Features
from trainer.evaluate.rows import Rows, UnitMeans

random = np.random.default_rng(0)


def matrix(n, w=3):
    return random.normal(size=(n, w)).astype(np.float32)


def test_chosen_and_joined_rows_are_numpy_s():
    one, other = matrix(20), matrix(15)
    chosen = Rows.of(one).take(np.arange(20)[::-2])
    joined = chosen.join(Rows.of(other).take(np.array([4, 4, 0])))
    expected = np.concatenate([one[::-1][::2], other[[4, 4, 0]]])
    assert joined.shape == expected.shape == (13, 3)
    for wanted in (slice(0, 13), slice(8, 11), slice(12, 40), slice(5, 5)):
        np.testing.assert_array_equal(joined[wanted], expected[wanted])
    np.testing.assert_array_equal(joined.take(np.array([11, 0]))[:], expected[[11, 0]])


def test_means_of_units_are_numpy_s_in_any_slice(monkeypatch):
    monkeypatch.setattr(rows, "CHUNK", 7)  # a unit may be larger than what is held
    values, units = matrix(200), np.concatenate([np.arange(10), random.integers(0, 10, 90), np.full(100, 3)])
    means = UnitMeans(Rows.of(values), units)
    expected = np.stack([values[units == unit].mean(axis=0) for unit in range(10)])
    for wanted in (slice(0, 10), slice(3, 4), slice(4, 9), slice(9, 20), slice(5, 5)):
        np.testing.assert_allclose(means[wanted], expected[wanted], rtol=1e-5, atol=1e-6)


def test_clips_are_numbered_by_first_appearance():
    clips = ["b", "", "a", "b", "", "a", "b"]
    table = pa.table({"clip": pa.chunked_array([clips[:3], clips[3:]])})
    found = Features(table.cast(pa.schema([ROWS.field("clip")])), Rows.of(matrix(7)), Rows.of(matrix(7)), {})
    assert found.clips().tolist() == [0, 1, 2, 0, 3, 2, 0]
    vectors, first, _ = found.unit_embedding()
    assert first.tolist() == [0, 1, 2, 4]
    np.testing.assert_allclose(vectors[0:1][0], found.embedding[:][[0, 3, 6]].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("held", [1000, 10**9])
def test_several_labels_scored_a_few_classes_at_a_time(monkeypatch, held):
    monkeypatch.setattr(scoring, "SCORES", held)
    vectors, weight, bias = matrix(300, 6), matrix(11, 6), matrix(11, 1)[:, 0]
    positive = random.random((300, 11)) < 0.2
    positive[:, 5] = False
    found, predicted = scoring.evaluate_several(Rows.of(vectors), scoring.Linear(weight, bias), csr_array(positive))
    scores = vectors @ weight.T + bias
    assert (predicted == scores.argmax(axis=1)).all()
    assert found["top1"]["hits"] == positive[np.arange(300), predicted].sum()
    levels = []
    for label in set(range(11)) - {5}:
        precision, recall, _ = sk.precision_recall_curve(positive[:, label], scores[:, label])
        levels += [precision[:-1][recall[:-1] >= level - 1e-12].max() for level in np.linspace(0, 1, 11)]
    assert found["map11"] == pytest.approx(np.mean(levels))


@pytest.mark.parametrize("several", [False, True])
def test_probe_read_from_disk_is_the_probe_from_memory(monkeypatch, several):
    values, labels = matrix(400, 8), random.integers(0, 3, 400)
    positive = csr_array(random.random((400, 3)) < 0.3) if several else None
    data = probe.Labelled(Rows.of(values).take(np.arange(400)[::-1]), labels, positive, [str(i) for i in range(400)])
    inside = probe.fit(data, 3, 1.0, torch.device("cpu"))
    monkeypatch.setattr(probe, "IN_MEMORY", 0)
    outside = probe.fit(data, 3, 1.0, torch.device("cpu"))
    np.testing.assert_array_equal(outside.weight, inside.weight)
    np.testing.assert_array_equal(outside.bias, inside.bias)


def test_memory_does_not_grow_with_the_matrix(monkeypatch, tmp_path):
    """Metrics and a fit over 200,000 rows of 64 floats, 51 MB."""
    n, w = 200_000, 64
    values = np.memmap(tmp_path / "features.f32", "<f4", mode="w+", shape=(n, w))
    values[:, :3] = random.normal(size=(n, 3))
    labels = np.asarray(values[:, :3].argmax(axis=1))
    monkeypatch.setattr(probe, "IN_MEMORY", 0)
    tracemalloc.start()
    try:
        chosen = Rows.of(values).take(np.arange(0, n, 2)).join(Rows.of(values).take(np.arange(1, n, 2)))
        wanted = np.concatenate([labels[::2], labels[1::2]])
        found, _, _ = scoring.evaluate_single(chosen, scoring.Linear(np.eye(3, w, dtype=np.float32)), wanted)
        fitted = logistic.fit(chosen, torch.from_numpy(wanted), 3, 1.0, max_iterations=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found["top1"]["value"] == 1.0 and fitted.iterations == 2
    assert peak < 30e6  # of which 8 bytes a row for the order, labels and best classes each
