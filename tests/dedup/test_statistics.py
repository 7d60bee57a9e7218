import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dedup.statistics import check_identity, correct_for_many, power_of_test, set_statistics, summary

counts = st.integers(0, 40)


@given(clean=counts, right_clean=counts, overlap=counts, right_overlap=counts)
def test_against_scipy_with_none_all_and_some_overlapping(clean, right_clean, overlap, right_overlap):
    right_clean, right_overlap = min(right_clean, clean), min(right_overlap, overlap)
    flags = np.array([True] * overlap + [False] * clean, bool)
    correct = np.array([index < right_overlap for index in range(overlap)] + [index < right_clean for index in range(clean)], bool)
    one = set_statistics("a", 0.5, flags, correct)
    assert (one.examples, one.overlap) == (clean + overlap, overlap)
    assert check_identity(one)
    assert (one.accuracy_clean is None) == (clean == 0)
    assert (one.accuracy_overlap is None) == (overlap == 0)
    if clean and overlap:
        base = right_clean / clean
        assert one.p_value == pytest.approx(stats.binom.sf(right_overlap - 1, overlap, base), abs=1e-12)
        assert one.gain == pytest.approx(overlap / (clean + overlap) * (right_overlap / overlap - base), abs=1e-12)
    else:
        assert one.p_value is None
    if overlap:
        # Clopper-Pearson by its definition: quantiles of beta distributions, a quarter per cent on each side.
        low = stats.beta.ppf(0.0025, right_overlap, overlap - right_overlap + 1) if right_overlap else 0.0
        high = stats.beta.ppf(0.9975, right_overlap + 1, overlap - right_overlap) if right_overlap < overlap else 1.0
        assert (one.interval_low, one.interval_high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


@pytest.mark.parametrize(("number", "base", "true"), [(1, 0.5, 0.75), (7, 0.3, 0.65), (40, 0.9, 0.95), (12, 0.0, 0.5), (9, 1.0, 1.0)])
def test_power_is_that_of_the_test(number, base, true):
    rejected = [count for count in range(number + 1) if stats.binomtest(count, number, base, "greater").pvalue <= 0.05]
    wanted = sum(stats.binom.pmf(count, number, true) for count in rejected)
    assert power_of_test(number, base, true) == pytest.approx(wanted, abs=1e-9)


def test_bonferroni_counts_only_sets_that_were_tested():
    flags = np.arange(100) < 20
    tested = set_statistics("a", 0.5, flags, np.arange(100) < 60)
    untouched = set_statistics("b", 0.5, np.zeros(100, bool), np.arange(100) < 60)
    unknown = set_statistics("c", 0.5, flags)
    first, second, third, again = correct_for_many([tested, untouched, unknown, tested])
    assert first.p_corrected == min(1.0, 2 * tested.p_value)
    assert second.p_corrected is None and third.p_corrected is None
    found = summary([first, second, third, again])
    assert found["sets"] == 4 and found["sets without overlap"] == 1 and found["significant at 0.05"] == 2
    assert found["mean contamination"] == pytest.approx(0.15) and found["median contamination"] == pytest.approx(0.2)


def test_a_small_overlap_is_called_underpowered_and_a_large_one_is_not():
    correct = np.arange(1000) % 2 == 0
    assert set_statistics("a", 0.5, np.arange(1000) < 3, correct).underpowered
    assert not set_statistics("a", 0.5, np.arange(1000) < 300, correct).underpowered


def test_no_examples_and_no_sets():
    assert set_statistics("a", 0.5, np.zeros(0, bool), np.zeros(0, bool)).contamination is None
    assert summary([])["median contamination"] is None
