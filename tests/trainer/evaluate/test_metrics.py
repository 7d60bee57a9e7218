import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from trainer.evaluate.metrics import (
    average_precision_11,
    average_precisions_11,
    confusion,
    hits_in,
    mean_per_class,
    rate,
    retrieval_ranks,
    roc_auc,
    top_k,
)

random = np.random.default_rng(0)


@pytest.mark.parametrize(("hits", "total"), [(0, 10), (10, 10), (3, 10), (871, 1000)])
def test_rate_is_clopper_pearson(hits, total):
    found = rate(hits, total)
    # By the quantiles of the beta distribution, the definition's other form.
    low = stats.beta.ppf(0.0025, hits, total - hits + 1) if hits else 0
    high = stats.beta.ppf(0.9975, hits + 1, total - hits) if hits < total else 1
    assert found == pytest.approx({"value": hits / total, "low": low, "high": high, "hits": hits, "total": total})


@pytest.mark.parametrize(("hits", "total"), [(0, 0), (3, 2), (-1, 2)])
def test_rate_of_nothing(hits, total):
    with pytest.raises(ValueError, match="no rate"):
        rate(hits, total)


def test_accuracies_against_scikit_learn():
    scores, labels = random.normal(size=(500, 7)), random.integers(0, 7, 500)
    ranked = top_k(scores, 5)
    for k in (1, 5):
        assert hits_in(ranked[:, :k], labels).mean() == sk.top_k_accuracy_score(labels, scores, k=k)
    matrix = confusion(labels, ranked[:, 0], 7)
    assert (matrix.toarray() == sk.confusion_matrix(labels, ranked[:, 0])).all()
    assert mean_per_class(matrix) == pytest.approx(sk.balanced_accuracy_score(labels, ranked[:, 0]))


def test_mean_per_class_leaves_out_classes_without_examples():
    assert mean_per_class(np.array([[1, 1, 0], [0, 0, 0], [0, 0, 3]])) == pytest.approx(0.75)


def test_top_k_of_equal_scores_goes_by_class_and_fewer_classes_than_k():
    assert top_k(np.array([[1.0, 3.0, 3.0]]), 5).tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("decimals", [1, 8])  # with many ties, and with none
def test_eleven_points_against_scikit_learn_s_curve(decimals):
    scores, positive = random.normal(size=200).round(decimals), random.random(200) < 0.3
    precision, recall, _ = sk.precision_recall_curve(positive, scores)
    # scikit-learn appends a point of precision 1 at recall 0, which is not measured.
    precision, recall = precision[:-1], recall[:-1]
    expected = np.mean([precision[recall >= level - 1e-12].max() for level in np.linspace(0, 1, 11)])
    assert average_precision_11(scores, positive) == pytest.approx(expected)


def test_eleven_points_by_hand():
    # Right, wrong, right: precision 1 up to recall 0.5 (6 levels), 2/3 beyond (5 levels).
    assert average_precision_11(np.array([3.0, 2.0, 1.0]), np.array([True, False, True])) == pytest.approx((6 + 5 * 2 / 3) / 11)


def test_average_precisions_leave_out_absent_classes():
    scores = np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0]])
    positive = np.array([[True, False], [False, False], [True, False]])
    assert average_precisions_11(scores, positive) == [average_precision_11(scores[:, 0], positive[:, 0])]


def test_roc_auc_against_scikit_learn():
    scores, positive = random.normal(size=300).round(1), random.random(300) < 0.4
    assert roc_auc(scores, positive) == pytest.approx(sk.roc_auc_score(positive, scores))
    with pytest.raises(ValueError, match="positives and negatives"):
        roc_auc(scores, np.ones(300, bool))


@pytest.mark.parametrize("chunks", [(3, 7), (1000, 1000)])
def test_retrieval_ranks_against_a_brute_force_count(chunks):
    images, texts = random.normal(size=(20, 4)).astype(np.float32), random.normal(size=(50, 4)).astype(np.float32)
    images[7] = images[3]  # ties
    owner = np.concatenate([np.arange(20), random.integers(0, 20, 30)])
    of_texts, of_images = retrieval_ranks(images, texts, owner, *chunks)
    scores = np.array([[text @ image for image in images.astype(float)] for text in texts.astype(float)])
    for t in range(50):
        assert of_texts[t] == sum(scores[t, i] >= scores[t, owner[t]] for i in range(20) if i != owner[t])
    for i in range(20):
        best = max(scores[t, i] for t in range(50) if owner[t] == i)
        assert of_images[i] == sum(scores[t, i] >= best for t in range(50) if owner[t] != i)


def test_model_that_says_always_the_same_retrieves_nothing():
    same = np.ones((5, 2), np.float32)
    of_texts, of_images = retrieval_ranks(same, same, np.arange(5))
    assert of_texts.min() == 4 and of_images.min() == 4
