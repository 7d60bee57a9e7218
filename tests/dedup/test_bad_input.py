"""Files that are not what a command of the detector takes: one clear error."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dedup.embedding import KIND, load
from dedup.model import SIZES, Detector
from dedup.overlap import read_overlaps, read_predictions, read_thresholds
from learning import checkpoint
from wit_builder.errors import UserError

TINY = SIZES["tiny"].to_json()


@pytest.mark.parametrize(
    "described",
    [
        {},
        {"config": None},
        {"config": [1]},
        {"config": TINY | {"depth": 3}},
        {"config": TINY | {"widths": [-1, 2, 3, 4]}},
        {"config": TINY | {"stem": "16"}},
        {"config": TINY | {"blocks": 7}},
        {"config": TINY},
    ],
)
def test_a_checkpoint_whose_description_was_written_by_hand(tmp_path, described):
    path = str(tmp_path / "detector.safetensors")
    checkpoint.save(path, {"a": torch.zeros(2)}, {"kind": KIND, **described})
    with pytest.raises(UserError, match="detector.safetensors: (what it says of its sizes is broken|the weights do not fit)"):
        load(path)


def test_a_checkpoint_with_other_weights_than_its_sizes_say(tmp_path):
    path = str(tmp_path / "detector.safetensors")
    tensors = dict(Detector(SIZES["tiny"]).state_dict())
    checkpoint.save(path, tensors, {"kind": KIND, "config": TINY | {"dimension": 64}})
    with pytest.raises(UserError, match="the weights do not fit the detector"):
        load(path)
    checkpoint.save(path, tensors, {"kind": KIND, "config": TINY})
    assert load(path).embed([np.zeros((64, 64, 3), np.uint8)]).shape == (1, TINY["dimension"])


def test_predictions_without_a_parquet_file_are_not_passed_over(tmp_path):
    (tmp_path / "predictions.csv").write_text("eval_key,correct\na,1\n")
    for given in (tmp_path, tmp_path / "predictions.csv"):
        with pytest.raises(UserError, match=f"^{given}: no Parquet file there"):
            read_predictions([str(given)])
    pq.write_table(pa.table({"example": ["a"], "correct": [True]}), tmp_path / "p.parquet")
    assert read_predictions([str(tmp_path)], "set").to_pylist() == [{"dataset": "set", "eval_key": "a", "correct": True}]


@pytest.mark.parametrize("text", ["[1]", '{"a": "b"}', "[" * 100_000, "\x00"])
def test_thresholds_that_are_none(tmp_path, text):
    (tmp_path / "thresholds.json").write_text(text)
    with pytest.raises(UserError, match="thresholds.json: not "):
        read_thresholds(str(tmp_path / "thresholds.json"))
    (tmp_path / "thresholds.json").write_text(json.dumps({"a": 0.5}))
    assert read_thresholds(str(tmp_path / "thresholds.json")) == {"a": 0.5}


@pytest.mark.parametrize("column, values", [("correct", ["maybe"]), ("eval_key", [["a"]]), ("dataset", [b"\xff"])])
def test_predictions_of_another_kind_are_named(tmp_path, column, values):
    table = {"dataset": ["set"], "eval_key": ["a"], "correct": [True]} | {column: values}
    pq.write_table(pa.table(table), tmp_path / "p.parquet")
    with pytest.raises(UserError, match=f"p.parquet: the column {column} holds"):
        read_predictions([str(tmp_path / "p.parquet")])


WHOLE = {"inputs": {"evaluation sets": [{"dataset": "a"}]}, "parameters": {"loose": 0.5}, "counts": {"training vectors": 3}}


@pytest.mark.parametrize(
    "changed",
    [
        {"parameters": 3},
        {"parameters": {}},
        {"parameters": {"loose": "low"}},
        {"inputs": []},
        {"inputs": {"evaluation sets": 3}},
        {"inputs": {"evaluation sets": [{"dataset": 3}]}},
        {"counts": None},
        {"calibration": [1]},
        {"calibration": {"a": 1}},
    ],
)
def test_a_search_whose_manifest_was_written_by_hand(tmp_path, changed):
    for name in ("evaluation", "overlaps"):
        pq.write_table(pa.table({"dataset": ["a"]}), tmp_path / f"{name}-00000-of-00001.parquet")
    (tmp_path / "manifest.json").write_text(json.dumps(WHOLE | changed))
    with pytest.raises(UserError, match="manifest.json: not what find_overlaps writes"):
        read_overlaps(str(tmp_path))
