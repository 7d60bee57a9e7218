import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from trainer.evaluate import zero_shot
from trainer.evaluate.attributes import accuracy_by_groups, main
from trainer.evaluate.encoder import load_encoder
from wit_builder.errors import UserError
from wit_builder.evalsets import Example, open_set, write_set


def test_rates_by_pairs_of_groups_by_hand():
    right = np.array([1, 0, 1, 1, 0, 1], bool)
    columns = {"race": np.array(["a", "a", "b", "b", "c", ""]), "sex": np.array(["f", "m", "f", "f", "m", "m"])}
    found = {
        tuple(sorted(row["groups"].items())): (row["rate"]["hits"], row["rate"]["total"]) for row in accuracy_by_groups(right, columns)
    }
    assert found[()] == (4, 6)
    assert found[(("race", "a"),)] == (1, 2) and found[(("race", "not a"),)] == (2, 3)  # an image without a race is in neither
    assert found[(("sex", "m"),)] == (1, 3) and found[(("sex", "not m"),)] == (3, 3)
    assert found[(("race", "a"), ("sex", "m"))] == (0, 1) and found[(("race", "b"), ("sex", "f"))] == (2, 2)
    assert (("race", "b"), ("sex", "m")) not in found and len(found) == 1 + 3 + 3 + 2 + 2 + 4


@pytest.fixture
def people(squares, tmp_path):
    """Squares whose colour is an attribute, in two age groups; one test image has no age, one no colour."""

    def examples(split, per_class):
        for number, example in enumerate(squares.coloured(split, per_class)):
            columns = {"colour": list(squares.colours)[example.label], "age": "old" if number % 2 else "young"}
            if split == "test" and number < 2:
                del columns[("age", "colour")[number]]
            yield Example("", example.image, columns=columns)

    write_set(str(tmp_path / "people"), {"train": examples("train", 12), "test": examples("test", 6)}, suffix="png")
    return tmp_path / "people"


def test_accuracies_equal_zero_shot_s_and_scikit_learn_s(vit, people, squares, run, tmp_path):
    (tmp_path / "names.tsv").write_text("colour\tred\tcrimson\n\n")
    output, printed = run(
        main, "--checkpoint", vit, "--images", people, "--attribute", "colour", "--by", "age", "--by", "colour",
        "--names", tmp_path / "names.tsv",
    )  # fmt: skip
    found = json.loads((output / "metrics.json").read_text())["attributes"]["colour"]
    assert found["classes"] == ["blue", "green", "red"] and found["names"] == ["blue", "green", "crimson"]

    def rates(method):
        return {tuple(sorted(row["groups"].items())): row["rate"] for row in found[method]["by_groups"]}

    # The same images as a classification set give the same zero-shot accuracy.
    test = [example for example in open_set(str(people), "s").examples() if "colour" in example.columns]
    labels = [found["classes"].index(example.columns["colour"]) for example in test]
    labelled = [Example("", example.image, label, (label,)) for example, label in zip(test, labels)]
    write_set(str(tmp_path / "s"), {"test": labelled}, class_names=found["names"], suffix="png")
    plain, _ = run(zero_shot.main, "--checkpoint", vit, "--eval", f"s={tmp_path}/s", "--templates", "single", output="plain")
    assert rates("zero_shot")[()] == json.loads((plain / "metrics.json").read_text())["sets"]["s"]["top1"]

    encoder = load_encoder(vit)

    def features(examples):
        return encoder.embed_images(np.stack([encoder.loaded.preprocessing(example.image) for example in examples]))[0]

    train = list(open_set(str(people), "s").examples("train"))
    strength = found["linear_probe"]["l2"]
    fitted = LogisticRegression(C=1 / strength, max_iter=2000).fit(features(train), [example.columns["colour"] for example in train])
    right = fitted.predict(features(test)) == [example.columns["colour"] for example in test]
    assert rates("linear_probe")[()]["hits"] == right.sum()
    old = np.array([example.columns.get("age") == "old" for example in test])
    assert rates("linear_probe")[(("age", "old"),)]["hits"] == right[old].sum()
    assert "colour, linear probe:" in printed
    page = (output / "report.html").read_text()
    assert "<h2>Accuracy on colour" in page and "crimson (red)" in page and "all others" in page


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--attribute", "race", "--by", "age"], "no column 'race'"),
        (["--attribute", "colour", "--by", "age", "--by", "age"], "a column is given twice"),
        (["--attribute", "colour", "--by", "age", "--template", "x"], r"'x' has no \{\} for the name"),
        (["--attribute", "colour", "--by", "age", "--names", "FILE"], "line 1: not COLUMN<tab>VALUE<tab>NAME"),
    ],
)
def test_what_the_user_can_mend_is_one_clear_error(vit, people, run, tmp_path, flags, message):
    (tmp_path / "names.tsv").write_text("colour\tred\n")
    flags = [flag.replace("FILE", str(tmp_path / "names.tsv")) for flag in flags]
    with pytest.raises(UserError, match=message):
        run(main, "--checkpoint", vit, "--images", people, *flags)


def test_attribute_with_one_value(vit, squares, run, tmp_path):
    write_set(str(tmp_path / "s"), {"test": [Example("", squares.picture((9, 9, 9), 1), columns={"a": "x"})]}, suffix="png")
    with pytest.raises(UserError, match="the column 'a' has fewer than two values"):
        run(main, "--checkpoint", vit, "--images", tmp_path / "s", "--attribute", "a", "--by", "a")
