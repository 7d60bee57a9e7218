import numpy as np
import pytest

from dedup.calibrate import _fit, loose_for, threshold_for


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


def test_hits_by_chance_stay_bounded_in_a_training_set_of_any_size():
    distances = 0.3 * np.random.default_rng(2).weibull(4.0, 20_000)
    law = _fit(distances) | {"compared": 2000}
    law["loose"] = threshold_for(law, 2000, 0.5)
    assert loose_for({}, 5) is None and loose_for(law, 9_999) == loose_for(law, 0) == law["loose"]
    for images in (10_000, 99_999, 400_000_000):
        loose = loose_for(law, images)
        # Of each image's distances to as many others, those below 1 - loose: the law says how many that are.
        hits = images / law["compared"] * ((1 - loose) / law["scale"]) ** law["shape"]
        assert loose > law["loose"] and 0.69 < hits < 7 and loose < threshold_for(law, images)
    assert loose_for(law, 100_000) == loose_for(law, 999_999)
