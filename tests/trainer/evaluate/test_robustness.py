import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from trainer.evaluate import zero_shot
from trainer.evaluate.fits import expit, fit_line, logit
from trainer.evaluate.label_spaces import class_map, pooled
from trainer.evaluate.robustness import main, read_baselines
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet, write_set


def named(name, *classes):
    return EvaluationSet(name, f"/{name}", classes, (), {})


def test_classes_are_matched_by_name_or_by_a_file(tmp_path):
    reference, shifted = named("reference", "dog", "cat", "car", "bus"), named("shifted", "bus", "dog")
    assert class_map(reference, shifted) == [[3], [0]]
    (tmp_path / "map.tsv").write_text("pet\tdog\npet\tcat\n\nvehicle\tcar\n")
    assert class_map(reference, named("shifted", "vehicle", "pet"), str(tmp_path / "map.tsv")) == [[2], [0, 1]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("pet\tdog", "classes of shifted are none of reference's: 'vehicle'"),
        ("pet\tdog\nvehicle\tdog", "class 'dog' of reference stands in two classes of shifted"),
        ("animal\tdog", "map.tsv, line 1: no class 'animal' in shifted"),
        ("pet\twolf", "line 1: no class 'wolf' in reference"),
        ("pet", "line 1: no class '' in reference"),
    ],
)
def test_label_names_that_do_not_match(tmp_path, lines, message):
    (tmp_path / "map.tsv").write_text(lines)
    with pytest.raises(UserError, match=message):
        class_map(named("reference", "dog", "cat"), named("shifted", "pet", "vehicle"), str(tmp_path / "map.tsv"))


def test_label_names_that_do_not_match_without_a_file():
    with pytest.raises(UserError, match="none of reference's: 'a', 'b', 'c', 'd', 'e' and 1 more .give --map shifted=FILE"):
        class_map(named("reference", "dog", "cat"), named("shifted", *"abcdef"))


def test_superclasses_score_by_their_best_class():
    assert pooled(np.array([[1.0, 5.0, 2.0]]), [[0, 2], [1]]).tolist() == [[2.0, 5.0]]


def test_baselines(tmp_path):
    path = tmp_path / "baseline.csv"
    path.write_text("set,reference,shifted\ns,0.5,0.3\ns,0.7,0.45\ns,0.8,0.6\n")
    expected = fit_line(logit(np.array([0.5, 0.7, 0.8])), logit(np.array([0.3, 0.45, 0.6])))
    assert read_baselines(str(path)) == {"s": expected}
    path.write_text("set,slope,intercept\ns,1.1,-0.5\n")
    assert read_baselines(str(path))["s"][:2] == (1.1, -0.5)
    points, line = "set,reference,shifted\n", "set,slope,intercept\n"
    for text in ("", "a,b\n1,2\n", points + "s,50,30\ns,70,40\n", points + "s,.5,.3\n", line + "s,x,1\n"):
        path.write_text(text)
        with pytest.raises(UserError, match="baseline.csv: (not a table of baselines|accuracies must lie)"):
            read_baselines(str(path))


def test_numbers_equal_zero_shot_s_and_the_baseline_s(vit, colours, squares, run, tmp_path):
    shifted = [example for example in squares.coloured("shifted", 5) if example.label != 1]
    for example in shifted:
        object.__setattr__(example, "label", {0: 1, 2: 0}[example.label])
    write_set(str(tmp_path / "two"), {"test": shifted}, class_names=["blue", "red"], templates=["a {} square.", "{}"], suffix="png")
    (tmp_path / "baseline.csv").write_text("set,slope,intercept\ntwo,0.9,-0.2\n")
    sets = ["--eval", f"colours={colours}", f"two={tmp_path}/two"]
    output, printed = run(
        main, "--checkpoint", vit, *sets, "--reference", "colours", "--baseline", tmp_path / "baseline.csv", output="robust"
    )
    plain, _ = run(zero_shot.main, "--checkpoint", vit, *sets, output="plain")
    report = json.loads((output / "metrics.json").read_text())
    expected = json.loads((plain / "metrics.json").read_text())["sets"]
    assert report["reference"]["top1"] == expected["colours"]["top1"]
    found = report["sets"]["two"]
    assert found["top1"] == found["top1_reference_classes"] == expected["two"]["top1"]
    # Reference images of the two classes only, with the third class no longer on offer.
    rows = pq.read_table(plain / "predictions-00000-of-00001.parquet").to_pylist()
    kept = [row for row in rows if row["dataset"] == "colours" and row["label"] != 1]
    certain = [row for row in kept if row["predicted"] != 1]
    hits = sum(row["correct"] for row in certain)
    assert found["reference"]["total"] == len(kept)
    assert hits <= found["reference"]["hits"] <= hits + len(kept) - len(certain)
    assert found["drop"] == pytest.approx(found["reference"]["value"] - found["top1"]["value"])
    line_says = expit(0.9 * logit(found["reference"]["value"]) - 0.2)
    assert found["effective_robustness"] == pytest.approx(found["top1"]["value"] - line_says)
    assert "effective robustness" in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--reference", "other"], "no set 'other' among colours"), (["--reference", "colours"], "no shifted set to compare")],
)
def test_sets_that_do_not_fit_together(vit, colours, run, flags, message):
    with pytest.raises(UserError, match=message):
        run(main, "--checkpoint", vit, "--eval", f"colours={colours}", *flags)
