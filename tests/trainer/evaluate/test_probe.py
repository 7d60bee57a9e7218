import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from learning import checkpoint
from trainer.evaluate import few_shot as few_shot_command
from trainer.evaluate.few_shot import match_of, over_sets
from trainer.evaluate.fits import ShotsToMatch
from trainer.evaluate.linear_probe import main
from trainer.evaluate.probe import Labelled, split_off_validation
from trainer.evaluate.rows import Rows
from trainer.load import load
from wit_builder.errors import UserError
from wit_builder.evalsets import Example, open_set


def labelled(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    random = np.random.default_rng(0)
    features = Rows.of(random.normal(size=(len(labels), 3)).astype(np.float32))
    return Labelled(features, labels, None, [f"k{i}" for i in range(len(labels))])


def test_fewer_shots_are_a_subset_of_more_and_seeds_differ():
    data = labelled([20, 20])
    ranks = data.class_ranks(0)
    assert [sorted(ranks[data.labels == label]) for label in (0, 1)] == [list(range(20))] * 2
    assert np.bincount(data.labels[ranks < 4]).tolist() == [4, 4]
    assert (data.class_ranks(1) != ranks).any()


def test_order_does_not_depend_on_the_order_of_the_files():
    data = labelled([20, 20])
    turned = data.take(np.arange(40)[::-1])
    assert dict(zip(data.keys, data.class_ranks(0))) == dict(zip(turned.keys, turned.class_ranks(0)))


def test_validation_is_a_fifth_of_each_class():
    train, validation = split_off_validation(labelled([10, 25, 1, 2]), "set")
    assert np.bincount(validation.labels, minlength=4).tolist() == [2, 5, 0, 1]
    assert sorted(train.keys + validation.keys) == sorted(labelled([10, 25, 1, 2]).keys)
    with pytest.raises(UserError, match="too few training examples"):
        split_off_validation(labelled([1, 1]), "set")


def test_linear_probe_equals_scikit_learn_s_on_the_model_s_features(vit, colours, run):
    output, printed = run(main, "--checkpoint", vit, "--eval", f"colours={colours}")
    found = json.loads((output / "metrics.json").read_text())["sets"]["colours"]
    loaded, opened = load(vit), open_set(str(colours), "s")

    def features(split):
        examples = list(opened.examples(split))
        pixels = np.stack([loaded.preprocessing(example.image) for example in examples])
        with torch.inference_mode():
            return loaded.model.image_features(loaded.preprocessing.to_tensor(pixels)).numpy(), [example.label for example in examples]

    expected = LogisticRegression(C=1 / found["l2"], max_iter=1000).fit(*features("train"))
    test, labels = features("test")
    table = pq.read_table(output / "predictions-00000-of-00001.parquet")
    assert table["predicted"].to_pylist() == expected.predict(test).tolist()
    assert found["top1"]["value"] == expected.score(test, labels) > 0.9
    assert 7 < len(found["validation"]) <= 15 and max(point["score"] for point in found["validation"]) > 0.9
    weights, described = checkpoint.load(str(output / "probes" / "colours.safetensors"))
    assert (test @ weights["weight"].numpy().T + weights["bias"].numpy()).argmax(axis=1).tolist() == table["predicted"].to_pylist()
    assert described["classes"] == ["red", "green", "blue"] and "λ" in printed


def test_validation_split_of_the_set_is_used(vit, squares, run, tmp_path):
    folder = squares.write_colours(
        tmp_path / "set", train=squares.coloured("train", 4), validation=squares.coloured("validation", 2), test=squares.coloured("test", 2)
    )
    output, _ = run(main, "--checkpoint", vit, "--eval", f"s={folder}")
    found = json.loads((output / "metrics.json").read_text())["sets"]["s"]
    assert found["validation_split"] and found["train_examples"] == 18


def test_probe_takes_the_middle_frame_of_a_clip(vit, squares, run, tmp_path):
    def clips(split):
        return [
            Example("", squares.picture(colour, 10 * seed + frame), label, clip=f"{split}{seed}{label}")
            for seed in range(4)
            for label, colour in enumerate(squares.colours.values())
            for frame in range(3)
        ]

    folder = squares.write_colours(tmp_path / "set", train=clips("train"), test=clips("test"))
    output, _ = run(main, "--checkpoint", vit, "--eval", f"s={folder}")
    keys = pq.read_table(output / "predictions-00000-of-00001.parquet")["eval_key"].to_pylist()
    assert [int(key[-7:]) % 3 for key in keys] == [1] * 12


def test_several_labels_are_probed_one_versus_rest(vit, squares, run, tmp_path):
    def examples(split):
        return [
            Example("", example.image, None, (example.label, 2) if example.label < 2 else (2,)) for example in squares.coloured(split, 8)
        ]

    folder = squares.write_colours(tmp_path / "set", train=examples("train"), test=examples("test"))
    output, _ = run(main, "--checkpoint", vit, "--eval", f"s={folder}")
    assert json.loads((output / "metrics.json").read_text())["sets"]["s"]["map11"] > 0.8


def test_few_shot(vit, colours, run):
    output, printed = run(
        few_shot_command.main, "--checkpoint", vit, "--eval", f"colours={colours}", "--shots", 4, 1, "--seeds", 2, "--templates", "single"
    )
    found = json.loads((output / "metrics.json").read_text())
    curve = found["sets"]["colours"]["shots"]
    assert list(curve) == ["1", "4"] and len(curve["1"]["by_seed"]) == 2
    assert curve["4"]["mean"] == pytest.approx(np.mean([result["value"] for result in curve["4"]["by_seed"]]))
    assert curve["4"]["mean"] > found["sets"]["colours"]["zero_shot"]["top1"]["value"]
    assert found["shots_to_match"]["sets"] == 1 and "zero-shot" in printed


def test_too_many_shots_is_one_clear_error(vit, colours, run):
    with pytest.raises(UserError, match="a class of colours has 20 training examples beside validation, fewer than 32 shots"):
        run(few_shot_command.main, "--checkpoint", vit, "--eval", f"colours={colours}", "--shots", 32)


def test_missing_train_split_and_class_without_examples(vit, squares, run, tmp_path):
    folder = squares.write_colours(tmp_path / "set", test=squares.coloured("test", 2))
    with pytest.raises(UserError, match="no train split in s"):
        run(main, "--checkpoint", vit, "--eval", f"s={folder}")
    examples = [example for example in squares.coloured("train", 3) if example.label]
    folder = squares.write_colours(tmp_path / "other", train=examples, test=squares.coloured("test", 2))
    with pytest.raises(UserError, match="no usable image of 'red' in the train split of s"):
        run(main, "--checkpoint", vit, "--eval", f"s={folder}")


def test_match_uses_the_full_probe_as_last_point():
    curve = {"1": {"mean": 0.2}, "4": {"mean": 0.4}}
    full = {"train_examples": 160, "top1": {"value": 0.6}}
    assert match_of(curve, full, 10, 0.5) == pytest.approx((8.0, "="))
    assert match_of(curve, full, 10, 0.7) == (16.0, ">")


def test_mean_and_median_over_sets():
    assert over_sets([ShotsToMatch(1, "<"), ShotsToMatch(5, "="), ShotsToMatch(12, ">")]) == {
        "sets": 3, "mean": 6.0, "median": 5.0, "below_one_shot": 1, "not_reached": 1,
    }  # fmt: skip
