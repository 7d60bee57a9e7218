import numpy as np

from trainer.evaluate.label_rates import any_of, assigned, group_counts

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.05, 0.05, 0.9]])


def test_best_label_or_all_above_a_threshold():
    assert assigned(PROBABILITIES, None).tolist() == [[True, False, False], [False, True, False], [False, False, True]]
    assert assigned(PROBABILITIES, 0.3).tolist() == [[True, False, False], [True, True, True], [False, False, True]]


def test_counts_of_groups():
    counts, images = group_counts(assigned(PROBABILITIES, 0.3), np.array(["x", "y", "x"]), ["x", "y", "nobody"])
    assert counts.tolist() == [[1, 0, 1], [1, 1, 1], [0, 0, 0]] and images.tolist() == [2, 1, 0]


def test_category_of_labels_counts_an_image_once():
    assert any_of(assigned(PROBABILITIES, 0.3), [0, 1]).tolist() == [True, True, False]
