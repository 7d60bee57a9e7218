import numpy as np
import pytest
from scipy import stats

from trainer.evaluate.people import NOT_ASKED, UNKNOWN, agreement, by_class, compare, majority

U, N = UNKNOWN, NOT_ASKED
KEYS = ["a", "b", "c", "d", "e"]
LABELS = np.array([0, 1, 2, 0, 1])
ANSWERS = np.array([
    [0, 1, U, 1, N],
    [0, U, U, 1, N],
    [1, 1, 2, U, U],
])  # fmt: skip
MODEL = np.array([0, 0, 2, 0, 1])


def test_the_paper_s_table_by_hand():
    found = compare(["x", "y", "z"], ANSWERS, LABELS, MODEL, KEYS)
    # Right of asked: x 2 of 4, y 1 of 4, z 2 of 5; of guesses: x 2 of 3, y 1 of 2, z 2 of 3.
    assert found["accuracy"] == pytest.approx((2 / 4 + 1 / 4 + 2 / 5) / 3)
    assert found["accuracy_on_guesses"] == pytest.approx((2 / 3 + 1 / 2 + 2 / 3) / 3)
    # Votes of all: 0, 1, unknown, 1, unknown; of guesses: 0, 1, 2, 1, nobody.
    assert (found["majority"]["hits"], found["majority"]["total"]) == (2, 5)
    assert (found["majority_on_guesses"]["hits"], found["majority_on_guesses"]["total"]) == (3, 4)
    assert (found["model"]["hits"], found["model"]["total"]) == (4, 5)
    assert (found["model_on_guesses"]["hits"], found["model_on_guesses"]["total"]) == (3, 4)
    assert found["unknown"] == pytest.approx(5 / 13) and found["images"] == 5
    assert found["by_person"]["z"]["all"]["total"] == 5 and found["by_person"]["z"]["guesses"]["total"] == 3


def test_equal_votes_fall_the_same_way_for_an_image_and_both_ways_over_many():
    answers = np.array([[0] * 200, [1] * 200])
    keys = [f"k{i}" for i in range(200)]
    votes = majority(answers, keys, guesses=True)
    assert (votes == majority(answers[::-1], keys, guesses=True)).all()
    assert 60 < votes.sum() < 140


def test_someone_who_knows_nothing_has_no_accuracy_on_guesses():
    found = compare(["x"], np.array([[U, U]]), LABELS[:2], MODEL[:2], KEYS[:2])
    assert found["accuracy"] == 0 and found["accuracy_on_guesses"] is None and found["majority_on_guesses"] is None


def test_difficulty_by_class_by_hand():
    people, model = by_class(ANSWERS, LABELS, MODEL, 4)
    # Class 0: images a and d, answers 0 0 1 1 1 unknown; class 1: b and e; class 2: c; class 3 nowhere.
    np.testing.assert_allclose(people, [2 / 6, 2 / 4, 1 / 3, np.nan])
    np.testing.assert_allclose(model, [1, 1 / 2, 1, np.nan])


def test_agreement_is_scipy_s():
    random = np.random.default_rng(0)
    people, model = random.random(30), random.random(30).round(1)
    found = agreement(np.append(people, np.nan), np.append(model, 0.5))
    assert found["pearson"] == pytest.approx(stats.pearsonr(people, model).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(people, model).statistic)
    assert agreement(np.array([0.5, 0.5]), np.array([0.1, 0.2])) == {"pearson": None, "spearman": None}
