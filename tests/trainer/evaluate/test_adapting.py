import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from trainer.evaluate.adapting import adapt, measure
from trainer.evaluate.linear_probe import ProbeData
from trainer.evaluate.probe import Labelled
from trainer.evaluate.robustness import main
from trainer.evaluate.rows import Rows
from trainer.evaluate.scoring import Linear
from wit_builder.errors import UserError
from wit_builder.evalsets import Example, write_set

random = np.random.default_rng(0)


def examples(labels, centres, shift=0.0):
    values = (centres[labels] + shift + random.normal(size=(len(labels), centres.shape[1]))).astype(np.float32)
    return Labelled(Rows.of(values), np.array(labels), None, [f"{i}" for i in range(len(labels))])


def problem():
    centres = 0.7 * random.normal(size=(4, 6))
    parts = {name: examples(np.arange(4).repeat(count), centres) for name, count in (("train", 9), ("validation", 5), ("test", 20))}
    # Two classes, of which the first stands for two of the reference's; the reference's class 3 is in none.
    shifted = examples(np.array([1, 0, 2] * 15), centres, shift=1.0)
    return ProbeData(**parts, skipped={}), Labelled(shifted.features, np.array([0, 0, 1] * 15), None, shifted.keys)


def by_hand(scores, labels, groups):
    pooled = np.stack([scores[:, group].max(axis=1) for group in groups], axis=1)
    return np.mean(pooled.argmax(axis=1)[labels >= 0] == labels[labels >= 0])


def test_points_equal_scikit_learn_s_probes():
    data, shifted = problem()
    groups = [[0, 1], [2]]
    zero = measure(Linear(random.normal(size=(4, 6)).astype(np.float32)), data.test, {"s": shifted}, {"s": groups})
    points = adapt(data, zero, {"s": shifted}, {"s": groups}, 4, torch.device("cpu"), (8, 16), seeds=2)
    assert [point["shots"] for point in points] == ["0", "8", "all"]  # no class has 16
    assert points[0]["reference"] == zero["reference"]["value"] and points[0]["mean"]["top1"] == zero["sets"]["s"]["top1"]["value"]
    stand_for = np.array([0, 0, 1, -1])[data.test.labels]
    for place, count in ((1, 8), (2, None)):
        for seed, strength in enumerate(points[place]["l2"]):
            kept = data.train.take(np.flatnonzero(data.train.class_ranks(seed) < count)) if count else data.train.join(data.validation)
            fitted = LogisticRegression(C=1 / strength, max_iter=5000, tol=1e-8).fit(kept.features[:].astype(float), kept.labels)
            here, there = (fitted.decision_function(part.features[:]) for part in (data.test, shifted))
            found = points[place]["sets"]["s"]["runs"][seed]
            assert found["top1"]["value"] == pytest.approx(by_hand(there, shifted.labels, groups), abs=0.03)
            assert found["reference"]["value"] == pytest.approx(by_hand(here, stand_for, groups), abs=0.03)
        runs = [run["top1"]["value"] for run in points[place]["sets"]["s"]["runs"]]
        assert points[place]["sets"]["s"]["top1"] == pytest.approx(np.mean(runs))


def test_command_adapts_and_draws_it(vit, colours, squares, run, tmp_path):
    shifted = [Example("", example.image, 0, (0,)) for example in squares.coloured("shifted", 2) if example.label == 0]
    write_set(str(tmp_path / "two"), {"test": shifted}, class_names=["red", "green"], templates=["{}"], suffix="png")
    flags = ["--eval", f"colours={colours}", f"two={tmp_path}/two", "--reference", "colours", "--allow-empty-classes"]
    output, printed = run(main, "--checkpoint", vit, *flags, "--adapt", "--shots", 1, 64, "--seeds", 1)
    found = json.loads((output / "metrics.json").read_text())
    zero, one, full = found["adapted"]
    assert (zero["shots"], one["shots"], full["shots"]) == ("0", "1", "all")
    assert zero["sets"]["two"]["top1"] == found["sets"]["two"]["top1_reference_classes"]["value"]
    assert full["reference"] > 0.9 and "all a class: colours" in printed
    page = (output / "report.html").read_text()
    assert "<h2>Adapting to the reference" in page and page.count("data:image/png;base64,") == 1


def test_reference_without_a_train_split(vit, colours, squares, run, tmp_path):
    squares.write_colours(tmp_path / "bare", test=squares.coloured("test", 1))
    flags = ["--eval", f"colours={colours}", f"bare={tmp_path}/bare", "--reference", "bare"]
    with pytest.raises(UserError, match="no train split in bare"):
        run(main, "--checkpoint", vit, *flags, "--adapt")
