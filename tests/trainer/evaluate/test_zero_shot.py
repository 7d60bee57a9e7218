import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, roc_auc_score

from trainer.evaluate.zero_shot import main
from trainer.load import load
from wit_builder import records
from wit_builder.errors import UserError
from wit_builder.evalsets import Example, open_set, write_set

RED, GREEN = (200, 40, 40), (40, 200, 40)
ROOT = Path(__file__).resolve().parents[3]


def by_hand(checkpoint, folder, templates):
    """eval_key to scores, one image and one prompt at a time."""
    loaded, opened = load(checkpoint), open_set(str(folder), "s")
    classifier = []
    with torch.inference_mode():
        for name in opened.class_names:
            prompts = [F.normalize(loaded.model.encode_text(loaded.tokenize([t.replace("{}", name)])), dim=-1) for t in templates]
            classifier.append(F.normalize(torch.cat(prompts).mean(dim=0), dim=0))
        scores = {}
        for example in opened.examples():
            pixels = np.array(loaded.preprocessing(example.image))[None]  # [1, s, s, 3]
            embedding = F.normalize(loaded.model.encode_image(loaded.preprocessing.to_tensor(pixels)), dim=-1)
            scores[example.eval_key] = (embedding[0] @ torch.stack(classifier).T).numpy()
        return scores


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_predictions_and_metrics_equal_those_by_hand(kind, colours, run, request):
    checkpoint = request.getfixturevalue(kind)
    output, printed = run(main, "--checkpoint", checkpoint, "--eval", f"colours={colours}", "--batch-size", "4")
    expected = by_hand(checkpoint, colours, ["a {} square.", "{}"])
    table = pq.read_table(output / "predictions-00000-of-00001.parquet")
    assert table.schema == records.PREDICTIONS and table.num_rows == 18
    rows = {row["eval_key"]: row for row in table.to_pylist()}
    assert list(rows) == sorted(expected)
    for key, scores in expected.items():
        assert rows[key]["predicted"] == scores.argmax() and rows[key]["correct"] == (scores.argmax() == rows[key]["label"])
    labels, predicted = table["label"].to_numpy(), table["predicted"].to_numpy()
    found = json.loads((output / "metrics.json").read_text())["sets"]["colours"]
    assert found["top1"]["value"] == accuracy_score(labels, predicted)
    assert found["mean_per_class"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    counted = np.zeros((3, 3), int)
    for row in pq.read_table(output / "confusion" / "colours.parquet").to_pylist():
        counted[row["label"], row["predicted"]] = row["count"]
    assert (counted == confusion_matrix(labels, predicted, labels=range(3))).all()
    assert printed.startswith("colours: top-1 ")


def test_same_bytes_again_from_the_cache_and_without_and_nothing_done_twice(vit, colours, run, tmp_path):
    arguments = ["--checkpoint", vit, "--eval", f"colours={colours}", "--compare-prompts"]
    one, printed = run(main, *arguments, output="one")
    two, _ = run(main, *arguments, "--threads", "3", output="two")
    for path in tmp_path.joinpath("cache").glob("*"):
        os.rename(path, f"{path}.away")
    three, _ = run(main, *arguments, "--threads", "1", output="three")
    for name in ("predictions-00000-of-00001.parquet", "metrics.json", "manifest.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes() == (three / name).read_bytes()
    found = json.loads((one / "metrics.json").read_text())["sets"]["colours"]["prompts"]
    assert set(found) == {"bare", "single", "ensemble"}
    assert f"bare {100 * found['bare']['top1']['value']:.2f}%, single" in printed
    assert "nothing to do" in run(main, *arguments, output="one")[1]
    with pytest.raises(UserError, match="another run's output"):
        run(main, *arguments, "--template", "{}!", output="one")


def test_prompts_by_flags_change_the_classifier(vit, colours, run):
    flags = ["--template", "a {}", "--template", "the {}", "--kind", "colours=shape", "--quoted", "colours"]
    output, _ = run(main, "--checkpoint", vit, "--eval", f"colours={colours}", *flags)
    templates = ['a "{}", a type of shape.', 'the "{}", a type of shape.']
    assert json.loads((output / "manifest.json").read_text())["parameters"]["templates"] == {"colours": templates}
    expected = by_hand(vit, colours, templates)
    for row in pq.read_table(output / "predictions-00000-of-00001.parquet").to_pylist():
        assert row["predicted"] == expected[row["eval_key"]].argmax()


def test_corrupt_images_are_counted_and_named_and_do_not_stop_the_run(vit, squares, run, tmp_path):
    examples = squares.coloured("test", 3)
    examples += [Example("", b"no picture", 0), Example("", examples[0].image[:200], 1), Example("", examples[0].image, None)]
    squares.write_colours(tmp_path / "set", test=examples)
    output, printed = run(main, "--checkpoint", vit, "--eval", f"s={tmp_path}/set", "--batch-size", "2")
    found = json.loads((output / "metrics.json").read_text())["sets"]["s"]
    assert found["examples"] == 9
    assert found["skipped"]["counts"] == {"not an image": 1, "broken image": 1, "no label": 1}
    assert {"eval_key": "test/0.tar/s0000009", "reason": "not an image"} in found["skipped"]["named"]
    assert "3 images skipped" in printed
    assert json.loads((output / "manifest.json").read_text())["drops"] == {"s: not an image": 1, "s: broken image": 1, "s: no label": 1}


def test_frames_of_a_clip_are_averaged(vit, squares, run, tmp_path):
    frames = [Example("", squares.picture(RED, seed), 0, (0,), clip="one") for seed in range(3)]
    frames += [Example("", squares.picture(GREEN, seed), 1, (1,), clip="two") for seed in range(2)]
    frames += [Example("", squares.picture((40, 40, 200), 9), 2, (2,))]
    squares.write_colours(tmp_path / "set", test=frames[::2] + frames[1::2])  # frames of a clip do not stand together
    output, _ = run(main, "--checkpoint", vit, "--eval", f"s={tmp_path}/set")
    scores = by_hand(vit, tmp_path / "set", ["a {} square.", "{}"])
    clips = {example.eval_key: example.clip for example in open_set(str(tmp_path / "set"), "s").examples()}
    for row in pq.read_table(output / "predictions-00000-of-00001.parquet").to_pylist():
        clip = clips[row["eval_key"]]
        together = [scores[key] for key in scores if clips[key] == clip and (clip or key == row["eval_key"])]
        assert row["predicted"] == np.mean(together, axis=0).argmax()
    found = json.loads((output / "metrics.json").read_text())["sets"]["s"]
    assert found["examples"] == 3 and found["frames"] == 6


def test_images_with_several_labels_get_mean_average_precision(vit, squares, run, tmp_path):
    examples = [Example("", squares.picture(RED, seed), None, (0, 1) if seed % 2 else (1,)) for seed in range(6)]
    write_set(str(tmp_path / "set"), {"test": examples}, class_names=["red", "square"], templates=["{}"], suffix="png")
    output, printed = run(main, "--checkpoint", vit, "--eval", f"s={tmp_path}/set")
    found = json.loads((output / "metrics.json").read_text())["sets"]["s"]
    assert 0 < found["map11"] <= 1 and "mAP" in printed
    rows = pq.read_table(output / "predictions-00000-of-00001.parquet").to_pylist()
    assert all(row["label"] is None for row in rows) and found["top1"]["hits"] == sum(row["correct"] for row in rows)


def test_two_classes_get_roc_auc(vit, squares, run, tmp_path):
    examples = [Example("", squares.picture(colour, seed), label) for seed in range(5) for label, colour in enumerate((RED, GREEN))]
    write_set(str(tmp_path / "set"), {"test": examples}, class_names=["red", "green"], templates=["{}"], suffix="png")
    output, _ = run(main, "--checkpoint", vit, "--eval", f"s={tmp_path}/set")
    scores = by_hand(vit, tmp_path / "set", ["{}"])
    labels = [example.label for example in open_set(str(tmp_path / "set"), "s").examples()]
    found = json.loads((output / "metrics.json").read_text())["sets"]["s"]["roc_auc"]
    assert found == pytest.approx(roc_auc_score(labels, [s[1] - s[0] for s in scores.values()]))


@pytest.mark.parametrize(
    ("remove", "write", "flags", "message"),
    [
        ("zeroshot_classification_templates.txt", {}, [], "no zeroshot_classification_templates.txt .give --templates"),
        ("classnames.txt", {}, [], "names no classes .add classnames.txt"),
        (None, {"classnames.txt": "red"}, [], "one class only, 'red'"),
        (None, {"classnames.txt": "red\ngreen\nblue\nwhite"}, [], "no usable image of 'white' in the test split of s"),
        (None, {}, ["--split", "validation"], "no validation split in s"),
        (None, {}, ["--kind", "other=pet"], "'other=pet' is not SET=VALUE with one of the sets s"),
        (None, {}, ["--template", "a photo"], r"'a photo' has no \{\} for the class"),
        (None, {}, ["--device", "abacus"], "no device 'abacus'"),
        (None, {}, ["--quoted", "other"], "no set 'other' among s"),
        (None, {"names.tsv": "white\tsnow"}, ["--class-names", "s=FOLDER/names.tsv"], "line 1: no class 'white' in the evaluation set"),
    ],
)
def test_what_the_user_can_mend_is_one_clear_error(vit, squares, run, tmp_path, remove, write, flags, message):
    folder = squares.write_colours(tmp_path / "set", test=squares.coloured("test", 1))
    if remove:
        (folder / remove).unlink()
    for name, text in write.items():
        (folder / name).write_text(text)
    with pytest.raises(UserError, match=message):
        run(main, "--checkpoint", vit, "--eval", f"s={folder}", *[flag.replace("FOLDER", str(folder)) for flag in flags])
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_set_without_a_usable_image(vit, squares, run, tmp_path):
    folder = squares.write_colours(tmp_path / "set", test=[Example("", b"x", 0)])
    with pytest.raises(UserError, match=r"no usable image in the test split of s .not an image: 1"):
        run(main, "--checkpoint", vit, "--eval", f"s={folder}")
    assert not [path for path in (tmp_path / "cache").iterdir() if "tmp" in path.name]


def test_what_a_killed_run_left_is_removed_once_it_is_old(vit, colours, run, tmp_path):
    flags = ["--checkpoint", vit, "--eval", f"colours={colours}"]
    run(main, *flags, output="one")
    (cached,) = (tmp_path / "cache").glob("images-*")
    old, fresh = Path(f"{cached}.tmp-1"), Path(f"{cached}.tmp-2")
    cached.rename(old)
    fresh.mkdir()
    for path in (*old.iterdir(), old):
        os.utime(path, (0, 0))
    run(main, *flags, output="two")
    assert cached.exists() and fresh.exists() and not old.exists()


def test_command_as_a_process_that_finds_features_in_the_cache(vit, colours, run, tmp_path):
    flags = ["--checkpoint", vit, "--eval", f"colours={colours}"]
    whole, printed = run(main, *flags, output="one")
    command = [sys.executable, "-m", "trainer", "zero-shot", *flags, "--output", str(tmp_path / "two"), "--cache", str(tmp_path / "cache")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")
    assert (whole / "metrics.json").read_bytes() == (tmp_path / "two" / "metrics.json").read_bytes()
