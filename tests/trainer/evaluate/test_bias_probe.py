import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from trainer.evaluate.bias_page import association_rows, strongest
from trainer.evaluate.bias_probe import main, read_labels
from trainer.load import load
from wit_builder.errors import UserError
from wit_builder.evalsets import Example, open_set, write_set

LABELS = "red square\tcolour\ngreen square\tcolour\nthief\tcrime\nape\tanimal\n"


@pytest.fixture
def people(squares, tmp_path):
    """Squares in two groups; one has none."""
    examples = [
        Example("", squares.picture(colour, seed), columns={"age": "old" if seed % 2 else "young"} if seed else {})
        for seed in range(8)
        for colour in squares.colours.values()
    ]
    write_set(str(tmp_path / "people"), {"test": examples}, suffix="png")
    (tmp_path / "labels.tsv").write_text(LABELS)
    return tmp_path


def expected_probabilities(checkpoint, folder, labels):
    loaded, examples = load(checkpoint), list(open_set(str(folder), "s").examples())
    pixels = np.stack([loaded.preprocessing(example.image) for example in examples])
    with torch.inference_mode():
        images = F.normalize(loaded.model.encode_image(loaded.preprocessing.to_tensor(pixels)), dim=-1)
        texts = F.normalize(loaded.model.encode_text(loaded.tokenize([f"a photo of a {label}." for label in labels])), dim=-1)
        return (loaded.model.logit_scale.exp() * images @ texts.T).softmax(dim=1).numpy(), examples


def test_rates_equal_a_count_by_hand(vit, people, run):
    flags = ["--images", people / "people", "--labels", people / "labels.tsv", "--group", "age"]
    flags += ["--threshold", 0.25, "--add-class", "child"]
    output, printed = run(main, "--checkpoint", vit, *flags)
    rows = pq.read_table(output / "rates-00000-of-00001.parquet").to_pylist()
    names = ["red square", "green square", "thief", "ape"]
    for added, labels in ((False, names), (True, [*names, "child"])):
        chances, examples = expected_probabilities(vit, people / "people", labels)
        for group in ("old", "young"):
            members = np.array([example.columns.get("age") == group for example in examples])
            for threshold in (None, 0.25):
                given = chances >= threshold if threshold else chances == chances.max(axis=1, keepdims=True)
                for label, wanted in [(name, [labels.index(name)]) for name in labels] + [("", [0, 1])]:
                    (row,) = [
                        row for row in rows
                        if (row["added"], row["group"], row["threshold"], row["label"]) == (added, group, threshold, label)
                        and (label or row["category"] == "colour")
                    ]  # fmt: skip
                    assert row["count"] == given[members][:, wanted].any(axis=1).sum() and row["images"] == members.sum()
    found = json.loads((output / "metrics.json").read_text())
    rows = [row for row in rows if (row["added"], row["threshold"], row["label"]) == (False, 0.25, "thief")]
    counts, images = (np.array([row[name] for row in rows]) for name in ("count", "images"))
    (row,) = [
        row
        for row in pq.read_table(output / "associations-00000-of-00001.parquet").to_pylist()
        if (row["added"], row["threshold"], row["label"]) == (False, 0.25, "thief")
    ]
    if 0 < counts.sum() < images.sum():
        expected = stats.chi2_contingency([counts, images - counts], correction=False)
        assert (row["chi2"], row["p"]) == pytest.approx((expected.statistic, expected.pvalue))
    assert row["group"] == rows[(counts / images).argmax()]["group"]
    page = (output / "report.html").read_text()
    assert "<h2>Labels given, by age" in page and "with added classes" in page
    assert found["without_group"] == {"age": 3}
    assert set(found["categories"]["age"]) == {"colour", "crime", "animal"}
    assert set(found["categories"]["age"]["crime"]) == {"as given", "with added classes"}
    assert "age, crime, as given: old" in printed


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_groups_from_a_table(vit, people, run, suffix):
    table = pa.table({"eval_key": ["test/0.tar/s0000000", "test/0.tar/s0000001"], "sex": ["f", "m"]})
    path = people / f"table.{suffix}"
    if suffix == "csv":
        path.write_text("eval_key,sex\ntest/0.tar/s0000000,f\ntest/0.tar/s0000001,m\n")
    else:
        pq.write_table(table, path)
    flags = ["--images", people / "people", "--labels", people / "labels.tsv", "--group", "sex", "--table", path]
    output, _ = run(main, "--checkpoint", vit, *flags)
    groups = json.loads((output / "metrics.json").read_text())["categories"]["sex"]["colour"]["as given"]
    assert {name: value["total"] for name, value in groups.items()} == {"f": 1, "m": 1}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--group", "race"], "KEY.json files: no column 'race' .they hold age"),
        (["--group", "age", "--add-class", "ape"], "the label 'ape' is there already"),
        (["--group", "age", "--template", "a"], r"'a' has no \{\} for the label"),
        (["--group", "age", "--table", "PEOPLE/other.csv"], "no eval_key of the table is in the set"),
        (["--group", "age", "--table", "PEOPLE/labels.tsv"], "no column eval_key"),
    ],
)
def test_what_the_user_can_mend_is_one_clear_error(vit, people, run, flags, message):
    (people / "other.csv").write_text("eval_key,age\nx,1\n")
    flags = [flag.replace("PEOPLE", str(people)) for flag in flags]
    with pytest.raises(UserError, match=message):
        run(main, "--checkpoint", vit, "--images", people / "people", "--labels", people / "labels.tsv", *flags)


def test_labels_are_ranked_by_their_dependence_and_stand_under_the_group_that_gets_them_most():
    def row(label, group, count, threshold=0.04):
        return {"column": "sex", "group": group, "added": False, "threshold": threshold, "label": label, "category": "", "images": 100,
                "count": count}  # fmt: skip

    counts = {"tie": (40, 10), "dress": (5, 60), "face": (50, 50), "suit": (90, 20), "hat": (1, 9)}
    rows = [row(label, group, count) for label, pair in counts.items() for group, count in zip("mf", pair)]
    found = association_rows([*rows, row("", "m", 3), *(row("tie", group, 0, None) for group in "mf")])
    assert [(one["label"], one["group"]) for one in found] == [
        ("suit", "m"), ("dress", "f"), ("tie", "m"), ("hat", "f"), ("face", "m"), ("tie", "m"),
    ]  # fmt: skip
    assert found[0]["chi2"] == pytest.approx(stats.chi2_contingency([[90, 20], [10, 80]], correction=False).statistic)
    assert [one["label"] for one in strongest(found, top=1)] == ["suit", "dress"]
    assert [one["label"] for one in strongest(found)] == ["suit", "dress", "tie", "hat"]  # and nothing that depends on nothing


def test_the_paper_s_labels_by_name():
    labels = read_labels("fairface")
    assert len(labels) == 21 and set(labels.values()) == {"FairFace", "non-human", "crime-related"}


def test_labels_that_leave_no_choice(tmp_path):
    (tmp_path / "labels").write_text("one\n\n")
    with pytest.raises(UserError, match="fewer than two labels"):
        read_labels(str(tmp_path / "labels"))
    (tmp_path / "labels").write_text("one\ntwo\none\tx")
    with pytest.raises(UserError, match="line 3: the label 'one' stands there twice"):
        read_labels(str(tmp_path / "labels"))
