import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from trainer.evaluate.logistic import STEPS, fit, regularisation, search


def problem(n=300, d=12, c=5):
    random = np.random.default_rng(0)
    features = random.normal(size=(n, d)).astype(np.float32)
    labels = (features @ random.normal(size=(d, c)) + random.normal(size=(n, c))).argmax(axis=1)
    return features, labels


@pytest.mark.parametrize(("n", "d", "strength"), [(300, 12, 0.03), (300, 12, 1.0), (300, 12, 100.0), (20, 40, 1.0)])
def test_same_solution_as_scikit_learn(n, d, strength):
    features, labels = problem(n, d)
    expected = LogisticRegression(C=1 / strength, max_iter=1000, tol=1e-8).fit(features.astype(float), labels)
    for chunk in (64, 1000):
        found = fit(torch.from_numpy(features), torch.from_numpy(labels), 5, strength, tolerance=1e-7, chunk=chunk)
        np.testing.assert_allclose(found.weight, expected.coef_, atol=2e-3)
        # Adding a constant to every bias changes no probability.
        np.testing.assert_allclose(found.bias - found.bias.mean(), expected.intercept_ - expected.intercept_.mean(), atol=2e-3)
        assert (found.linear(features).argmax(axis=1) == expected.predict(features)).all()


def test_several_labels_against_scikit_learn_one_versus_rest():
    features, labels = problem()
    targets = np.eye(5, dtype=bool)[labels] | (features[:, :5] > 1)
    expected = OneVsRestClassifier(LogisticRegression(C=1, max_iter=1000, tol=1e-8)).fit(features.astype(float), targets)
    found = fit(torch.from_numpy(features), torch.from_numpy(targets), 5, 1.0, tolerance=1e-7)
    np.testing.assert_allclose(1 / (1 + np.exp(-found.linear(features))), expected.predict_proba(features), atol=2e-3)


def test_iterations_are_bounded():
    features, labels = problem()
    assert fit(torch.from_numpy(features), torch.from_numpy(labels), 5, 1e-6, max_iterations=3).iterations == 3


def test_sweep_covers_the_paper_s_range():
    assert [regularisation(step) for step in (0, 8, 48, STEPS - 1)] == pytest.approx([1e-6, 1e-5, 1, 1e6])


@pytest.mark.parametrize("peak", [0, 7, 33, 48, 95, 96])
def test_search_finds_a_single_peak_with_few_fits(peak):
    best, scores = search(lambda step: -abs(step - peak))
    assert best == peak and len(scores) <= 15
    assert search(lambda step: -abs(step - peak), every=True)[0] == peak


def test_equal_scores_take_the_strongest_regularisation():
    best, scores = search(lambda step: 1.0, every=True)
    assert best == 96 and len(scores) == STEPS
