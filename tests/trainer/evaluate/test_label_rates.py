import numpy as np
import pytest
from scipy import stats

from trainer.evaluate.label_rates import any_of, assigned, association, group_counts

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.05, 0.05, 0.9]])


def test_best_label_or_all_above_a_threshold():
    assert assigned(PROBABILITIES, None).tolist() == [[True, False, False], [False, True, False], [False, False, True]]
    assert assigned(PROBABILITIES, 0.3).tolist() == [[True, False, False], [True, True, True], [False, False, True]]


def test_counts_of_groups():
    counts, images = group_counts(assigned(PROBABILITIES, 0.3), np.array(["x", "y", "x"]), ["x", "y", "nobody"])
    assert counts.tolist() == [[1, 0, 1], [1, 1, 1], [0, 0, 0]] and images.tolist() == [2, 1, 0]


def test_category_of_labels_counts_an_image_once():
    assert any_of(assigned(PROBABILITIES, 0.3), [0, 1]).tolist() == [True, True, False]


@pytest.mark.parametrize("groups", [2, 4])
def test_association_is_scipy_s_chi_squared_without_correction(groups):
    random = np.random.default_rng(groups)
    images = random.integers(50, 200, groups)
    counts = random.integers(1, 49, (groups, 6))
    statistic, p = association(counts, images)
    for label in range(6):
        table = np.array([counts[:, label], images - counts[:, label]])
        expected = stats.chi2_contingency(table, correction=False)
        assert statistic[label] == pytest.approx(expected.statistic) and p[label] == pytest.approx(expected.pvalue)


def test_label_that_all_or_none_got_depends_on_nothing():
    statistic, p = association(np.array([[0, 5], [0, 9]]), np.array([5, 9]))
    assert statistic.tolist() == [0, 0] and p.tolist() == [1, 1]
