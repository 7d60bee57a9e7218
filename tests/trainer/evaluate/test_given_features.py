import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

from trainer.evaluate import few_shot, linear_probe, write_features
from wit_builder.errors import UserError
from wit_builder.evalsets import open_set


def write_parquet(path, keys, values, kind=None):
    embedding = pa.array([list(map(float, row)) for row in values], kind or pa.list_(pa.float64()))
    pq.write_table(pa.table({"key": keys, "embedding": embedding}), path)
    return path


def by_label(folder, noise=0.3, seed=0):
    """eval_key to a vector that tells the label, for every image of the set."""
    random = np.random.default_rng(seed)
    opened = open_set(str(folder), "s")
    return {
        example.eval_key: np.eye(5)[example.label] + noise * random.normal(size=5)
        for split in ("train", "test")
        for example in opened.examples(split)
    }


def test_a_model_s_own_features_give_its_own_probe(vit, colours, run):
    sets = ["--eval", f"colours={colours}"]
    written, printed = run(write_features.main, "--checkpoint", vit, *sets, output="features")
    assert pq.read_table(written / "colours.parquet").num_rows == 90 and "90 images, 32 numbers each, train, test" in printed
    own, _ = run(linear_probe.main, "--checkpoint", vit, *sets, output="own")
    given, _ = run(linear_probe.main, "--features", written, *sets, output="given")
    for name in ("metrics.json", "predictions-00000-of-00001.parquet"):
        assert (own / name).read_bytes() == (given / name).read_bytes()


def test_probe_of_given_features_in_any_order_equals_scikit_learn_s(colours, run, tmp_path):
    vectors = by_label(colours)
    keys = sorted(vectors, key=lambda key: key[::-1])
    path = write_parquet(tmp_path / "f.parquet", keys, [vectors[key] for key in keys], pa.list_(pa.float32(), 5))
    output, _ = run(linear_probe.main, "--features", path, "--eval", f"s={colours}")
    found = json.loads((output / "metrics.json").read_text())["sets"]["s"]
    opened = open_set(str(colours), "s")
    train, test = ([(vectors[e.eval_key], e.label) for e in opened.examples(split)] for split in ("train", "test"))
    expected = LogisticRegression(C=1 / found["l2"], max_iter=1000, tol=1e-8).fit(*map(list, zip(*train)))
    rows = {row["eval_key"]: row["predicted"] for row in pq.read_table(output / "predictions-00000-of-00001.parquet").to_pylist()}
    assert [rows[e.eval_key] for e in opened.examples("test")] == expected.predict([v for v, _ in test]).tolist()
    assert found["top1"]["value"] == expected.score(*map(list, zip(*test)))


def test_images_without_features_are_counted_and_named(colours, run, tmp_path):
    vectors = by_label(colours)
    gone = [key for key in vectors if key.startswith("test")][::4]
    kept = [key for key in vectors if key not in gone]
    path = write_parquet(tmp_path / "f.parquet", [*kept, "elsewhere"], [*(vectors[key] for key in kept), np.zeros(5)])
    output, printed = run(linear_probe.main, "--features", path, "--eval", f"s={colours}")
    skipped = json.loads((output / "metrics.json").read_text())["sets"]["s"]["skipped"]["test"]
    assert skipped["counts"] == {"no features": 5} and [item["eval_key"] for item in skipped["named"]] == gone
    assert "5 images skipped" in printed


def test_few_shot_curve_without_a_zero_shot_line(colours, run, tmp_path):
    vectors = by_label(colours)
    (tmp_path / "features").mkdir()
    write_parquet(tmp_path / "features" / "s.parquet", list(vectors), list(vectors.values()))
    flags = ["--eval", f"s={colours}", "--shots", 1, 4, "--seeds", 1]
    output, printed = run(few_shot.main, "--features", tmp_path / "features", *flags)
    found = json.loads((output / "metrics.json").read_text())
    assert set(found) == {"sets"} and set(found["sets"]["s"]) == {"shots", "full"}
    assert found["sets"]["s"]["shots"]["4"]["mean"] > 0.5 and "zero-shot" not in printed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda keys, values: (keys[:1] + keys, values[:1] + values, None), "f.parquet: the key '.*' stands there twice"),
        (lambda keys, values: (keys, [*values[:-1], values[0][:2]], None), "the embedding of '.*' is not 5 finite numbers"),
        (lambda keys, values: (keys, [*values[:-1], [np.nan] * 5], None), "the embedding of '.*' is not 5 finite numbers"),
        (lambda keys, values: (["x" + key for key in keys], values, None), "no key is an image of the train split of s; the set has 't"),
        (lambda keys, values: (keys, values, pa.list_(pa.string())), "embedding is list<.*string>, not a list of floats"),
        (lambda keys, values: ([], [], None), "no row in it"),
    ],
)
def test_what_the_user_can_mend_is_one_clear_error(colours, run, tmp_path, change, message):
    vectors = by_label(colours)
    keys, values, kind = change(list(vectors), [list(value) for value in vectors.values()])
    if kind:
        pq.write_table(pa.table({"key": keys, "embedding": pa.array([["a"]] * len(keys), kind)}), tmp_path / "f.parquet")
    else:
        write_parquet(tmp_path / "f.parquet", keys, values)
    with pytest.raises(UserError, match=message):
        run(linear_probe.main, "--features", tmp_path / "f.parquet", "--eval", f"s={colours}")
    assert not list((tmp_path / "cache").glob("*.tmp-*"))


def test_files_that_are_missing_or_too_few(vit, colours, run, tmp_path):
    (tmp_path / "features").mkdir()
    with pytest.raises(UserError, match="features/s.parquet: no features of s"):
        run(linear_probe.main, "--features", tmp_path / "features", "--eval", f"s={colours}")
    path = write_parquet(tmp_path / "f.parquet", ["a"], [[1.0]])
    with pytest.raises(UserError, match="one file holds the features of one set"):
        run(linear_probe.main, "--features", path, "--eval", f"s={colours}", f"t={colours}")
    with pytest.raises(SystemExit):
        run(linear_probe.main, "--features", path, "--checkpoint", vit, "--eval", f"s={colours}")
