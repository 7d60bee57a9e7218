import pytest

from trainer.evaluate.suites import ALL, SUITES, members, suite_means


def test_the_paper_s_suites_have_12_and_27_sets_of_different_names():
    assert {name: len(entries) for name, entries in SUITES.items()} == {"12": 12, "27": 27}
    names = [name for names in SUITES["27"] for name in names]
    assert len(set(names)) == len(names) and set(SUITES["12"]) < set(SUITES["27"])


def test_names_in_use_are_found():
    assert members(SUITES["12"], ["CIFAR10", "wds_vtab-pets", "stanford_cars", "other"]) == ["CIFAR10", "stanford_cars", "wds_vtab-pets"]


def test_means_are_over_the_sets_that_every_model_has():
    scores = {"a": {"cifar10": 0.5, "mnist": 0.7, "own": 0.1}, "b": {"mnist": 0.9, "own": 0.3, "cifar10": 0.6, "pets": 1.0}}
    found = suite_means(scores, {**SUITES, "mine": [("own",)], "none": [("x",)]})
    assert found["12"] == {"sets": ["cifar10"], "of": 12, "means": {"a": 0.5, "b": 0.6}}
    assert found["27"]["means"] == pytest.approx({"a": 0.6, "b": 0.75}) and found["27"]["sets"] == ["cifar10", "mnist"]
    assert found["mine"]["means"] == {"a": 0.1, "b": 0.3} and "none" not in found
    assert found[ALL]["of"] == 3 and found[ALL]["means"]["b"] == pytest.approx(0.6)
    assert suite_means({}, SUITES) == {}
