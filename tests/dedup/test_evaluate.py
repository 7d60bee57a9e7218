import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from sklearn.metrics import average_precision_score, precision_recall_curve

from dedup.battery import BATTERY, plant
from dedup.evaluate import Pictures, _measure
from dedup.metrics import average_precision, recall_at_precision
from dedup.views import VIEW_KINDS, evaluation_views, telling, training_regions


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


def test_the_drawn_curve_has_points_all_along_the_recall():
    chooser = np.random.default_rng(0)
    scores = chooser.uniform(0, 0.5, (13, 20, 300)).astype(np.float32)
    scores[:, np.arange(20), np.arange(20)] = chooser.uniform(0.3, 1, (13, 20))  # copies, most of them above all others
    recall, precision = _measure(scores)["curve"]
    wanted = np.broadcast_to(np.arange(300) == np.arange(20)[:, None], scores.shape)
    theirs, whole, _ = precision_recall_curve(wanted.ravel(), scores.ravel())
    assert recall[-1] == 1 and np.diff(recall).max() < 0.02
    for at in (0.3, 0.6):
        assert np.interp(at, recall, precision) == pytest.approx(theirs[np.searchsorted(-whole, -at)], abs=0.02)


def test_what_stands_beside_an_original_in_its_collage_is_known():
    chooser = np.random.default_rng(0)
    images = [Image.fromarray(chooser.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(9)]
    pictures = Pictures(["a", "b", "c"], images[:3], images[3:])
    for index, sheet in enumerate(pictures.copies("collage")):
        quarters = {sheet.crop((left, top, left + 32, top + 32)).tobytes() for left in (0, 34) for top in (0, 34)}
        shown = {number for number, image in enumerate(images) if ImageOps.fit(image, (32, 32)).tobytes() in quarters}
        assert index in shown and len(shown) == 4 and shown - {index} <= set(pictures.beside(index))


def test_even_parts_of_a_picture_tell_nothing():
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    noise[48:] = 255
    parts = training_regions(Image.fromarray(noise), 48, True)
    found = {name for (name, _), tells in zip(parts, telling([pixels for _, pixels in parts])) if tells}
    assert {name for name, _ in parts} - found == {"bottom", "bottom-left", "bottom-right"}
    faint = Image.fromarray((noise // 16 + 100).astype(np.uint8))  # of little contrast, but everywhere the same
    faint = faint.crop((0, 0, 96, 48))
    assert telling([pixels for _, pixels in training_regions(faint, 48, True)]).all()
    assert telling(evaluation_views(Image.new("RGB", (50, 50)), 48, VIEW_KINDS))[0]
