import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import average_precision_score, precision_recall_curve

from dedup.battery import BATTERY, plant
from dedup.metrics import average_precision, recall_at_precision


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.99]))
def test_average_precision_and_recall_are_scikit_learns(pairs, wanted):
    scores, copies = np.array([pair[0] for pair in pairs], np.float64), np.array([pair[1] for pair in pairs])
    if not copies.any():
        assert recall_at_precision(scores, copies, wanted)[0] == 0
        return
    assert average_precision(scores, copies) == pytest.approx(average_precision_score(copies, scores))
    precision, recall, _ = precision_recall_curve(copies, scores)
    assert recall_at_precision(scores, copies, wanted)[0] == pytest.approx(max(recall[precision >= wanted]))


@pytest.mark.parametrize("change", BATTERY)
def test_changes_are_repeatable_and_change_something(change):
    chooser = np.random.default_rng(0)
    images = [Image.fromarray(chooser.integers(0, 256, (60, 80, 3), dtype=np.uint8)) for _ in range(5)]
    first, again = (plant(change, "a", images[0], images[1:]) for _ in range(2))
    assert first.tobytes() == again.tobytes() and first.mode == "RGB"
    assert first.size != images[0].size or first.tobytes() != images[0].tobytes()
