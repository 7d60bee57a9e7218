import numpy as np
import pytest

from dedup.calibrate import _fit, threshold_for


@pytest.mark.parametrize(("scale", "shape"), [(0.1, 3.5), (0.4, 6.0), (0.8, 1.5)])
def test_the_law_is_recovered_and_gives_the_share_it_is_asked_for(scale, shape):
    distances = scale * np.random.default_rng(0).weibull(shape, 20_000)
    law = _fit(distances) | {"compared": 1000}
    assert law["scale"] == pytest.approx(scale, rel=0.03) and law["shape"] == pytest.approx(shape, rel=0.06)
    for expected in (0.5, 0.05):
        exceeded = (1 - distances >= threshold_for(law, 1000, expected)).mean()
        assert exceeded == pytest.approx(expected, rel=0.25)


def test_ten_times_the_training_images_are_ten_times_the_chances():
    near = 0.3 * np.random.default_rng(1).weibull(4.0, (20_000, 10))
    law = _fit(near[:, 0]) | {"compared": 100}
    exceeded = (1 - near.min(1) >= threshold_for(law, 1000, 0.2)).mean()
    assert exceeded == pytest.approx(0.2, rel=0.2)


def test_nothing_or_only_copies_to_fit_stay_a_point_near_one():
    for distances in (np.zeros(0), np.zeros(10)):
        assert 0.99 < threshold_for(_fit(distances) | {"compared": 5}, 5) <= 1
