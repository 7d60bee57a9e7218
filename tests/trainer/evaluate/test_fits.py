import numpy as np
import pytest
from scipy import special, stats

from trainer.evaluate.fits import effective_robustness, expit, fit_line, logit, pearson, scaling_fit, shots_to_match


def test_line_against_scipy():
    random = np.random.default_rng(0)
    x, y = random.normal(size=30), random.normal(size=30)
    line, expected = fit_line(x, y), stats.linregress(x, y)
    assert line == pytest.approx((expected.slope, expected.intercept, expected.rvalue**2))
    with pytest.raises(ValueError, match="two different places"):
        fit_line(np.ones(3), np.arange(3.0))


def test_logit_against_scipy_and_its_ends_are_finite():
    p = np.array([0.01, 0.5, 0.9])
    assert logit(p) == pytest.approx(special.logit(p))
    assert expit(logit(p)) == pytest.approx(p)
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()


def test_effective_robustness():
    reference = np.array([0.5, 0.6, 0.7, 0.8])
    line = fit_line(logit(reference), logit(reference - 0.2))
    on_it = expit(line.at(logit(0.65)))
    assert effective_robustness(0.65, on_it, line) == pytest.approx(0)
    assert effective_robustness(0.65, on_it + 0.1, line) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("accuracies", "zero_shot", "shots", "relation"),
    [
        ((0.2, 0.4, 0.6), 0.3, 2.0, "="),  # half way from 1 to 4 on the logarithmic axis
        ((0.2, 0.4, 0.6), 0.6, 16.0, "="),
        ((0.2, 0.4, 0.6), 0.1, 1.0, "<"),
        ((0.2, 0.4, 0.6), 0.7, 16.0, ">"),
        ((0.2, 0.5, 0.1), 0.5, 4.0, "="),
    ],
)
def test_shots_to_match(accuracies, zero_shot, shots, relation):
    found = shots_to_match((1, 4, 16), accuracies, zero_shot)
    assert found.relation == relation and found.shots == pytest.approx(shots)
    assert str(found) == {"=": "", "<": "<", ">": ">"}[relation] + f"{shots:.3g}"


def test_scaling_fit_finds_the_power_law():
    compute = np.array([1.0, 10.0, 100.0])
    line = scaling_fit(compute, 0.5 * compute**-0.25)
    assert (line.slope, np.exp(line.intercept), line.r_squared) == pytest.approx((-0.25, 0.5, 1))


def test_pearson():
    assert pearson(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0])) == pytest.approx(stats.pearsonr([1, 2, 4], [1, 3, 2])[0])
    assert pearson(np.array([1.0]), np.array([1.0])) is None and pearson(np.ones(3), np.arange(3.0)) is None
