import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from trainer.evaluate.choices import candidate_rates, chosen, first_names, presence_rates

random = np.random.default_rng(0)


def counts(found):
    return {name: (one["hits"], one["total"]) for name, one in found.items() if isinstance(one, dict)}


def test_candidates_by_hand():
    captions = [  # image, kind, score
        (0, "right", 0.9), (0, "wrong", 0.2), (0, "close", 0.8),
        (1, "wrong", 0.3), (1, "right", 0.5), (1, "close", 0.6),
        (2, "right", 0.1), (2, "wrong", 0.4), (2, "close", 0.3),
        (3, "right", 0.7), (3, "wrong", 0.7),
    ]  # fmt: skip
    owner, kinds, scores = (list(column) for column in zip(*captions))
    found = candidate_rates(np.array(scores), np.array(owner), kinds, 4)
    assert counts(found) == {
        "without_close": (2, 4), "with_close": (1, 3), "chose_close": (1, 3), "chose_wrong": (1, 3), "same_without_close": (2, 3),
    }  # fmt: skip  # the equal scores of image 3 are wrong


def test_best_caption_is_a_brute_force_count_s():
    owner = random.permutation(np.concatenate([np.arange(30), random.integers(0, 30, 150)]))
    scores, right = random.normal(size=180).round(1), random.random(180) < 0.4
    best = chosen(scores, owner, right, 31)
    for image in range(30):
        own = np.flatnonzero(owner == image)
        assert scores[best[image]] == scores[own].max()
        assert right[best[image]] == right[own][scores[own] == scores[own].max()].all()
    assert best[30] == -1


def test_images_without_close_or_wrong_captions():
    found = candidate_rates(np.array([1.0, 0.5]), np.array([0, 0]), ["right", "close"], 1)
    assert counts(found) == {"with_close": (1, 1), "chose_close": (0, 1), "chose_wrong": (0, 1)}


def test_presence_against_absence():
    present, absent, there = random.random(40).round(1), random.random(40).round(1), random.random(40) < 0.4
    found = presence_rates(present, absent, there)
    assert found["accuracy"]["hits"] == sum((p > a) if t else (p < a) for p, a, t in zip(present, absent, there))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(there, present - absent))
    assert found["said_present"]["hits"] == (present > absent).sum() and found["base"] == there.mean()
    assert presence_rates(present, absent, np.ones(40, bool))["roc_auc"] is None


def test_fewer_names_are_a_subset_of_more_and_seeds_differ():
    names = [f"n{i}" for i in range(50)]
    ten, twenty = first_names(names, 10, 0), first_names(names, 20, 0)
    assert set(ten) < set(twenty) and len(twenty) == 20 and (np.diff(twenty) > 0).all()
    assert set(first_names(names, 10, 1)) != set(ten)
    turned = first_names(names[::-1], 10, 0)
    assert {names[i] for i in ten} == {names[::-1][i] for i in turned}
