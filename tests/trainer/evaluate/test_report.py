import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.evaluate import human_comparison, linear_probe, report, zero_shot
from trainer.evaluate.page_parts import by_shots, short
from trainer.evaluate.report import main
from wit_builder.errors import UserError
from wit_builder.evalsets import Example, open_set, write_set


@pytest.fixture
def folder(squares, tmp_path):
    """A reference set with splits, a shifted set, one with captions, one that cannot be evaluated, and hostile names."""
    sets = tmp_path / "sets"
    squares.write_colours(sets / "colours", train=squares.coloured("train", 21), test=squares.coloured("test", 4))
    shifted = [Example("", example.image, 0, (0,)) for example in squares.coloured("shifted", 2) if example.label == 0]
    shifted += [Example("", squares.picture((40, 200, 40), 1), 1, (1,)), Example("", b"no picture", 1)]
    write_set(str(sets / "shifted $x$"), {"test": shifted}, class_names=["red", "green"], suffix="png")
    several = [Example("", example.image, None, (0, 2)) for example in squares.coloured("several", 1)]
    write_set(str(sets / "several"), {"test": several}, class_names=list(squares.colours), suffix="png")
    captions = [Example("", squares.picture(colour, 5), captions=(f"a {name}",)) for name, colour in squares.colours.items()]
    write_set(str(sets / "captions"), {"test": captions}, suffix="png")
    write_set(str(sets / "lonely"), {"test": captions[:1]}, class_names=["<script>alert(1)</script>"], suffix="png")
    return sets


@pytest.fixture
def features(folder, tmp_path):
    """Another model's features of one set, which tell its labels."""
    random, keys, values = np.random.default_rng(0), [], []
    for split in ("train", "test"):
        for example in open_set(str(folder / "colours"), "colours").examples(split):
            keys.append(example.eval_key)
            values.append((np.eye(3)[example.label] + random.normal(size=3)).tolist())
    (tmp_path / "features").mkdir()
    pq.write_table(pa.table({"key": keys, "embedding": values}), tmp_path / "features" / "colours.parquet")
    return tmp_path / "features"


def test_report_holds_what_the_commands_find(vit, folder, features, run):
    beside = ["--features", f"<b>other={features}", "--flops", "<b>other=2e6", "--suite", "mine=colours"]
    output, _ = run(main, "--checkpoint", vit, "--sets", folder, "--reference", "colours", "--seeds", 1, *beside)
    found = json.loads((output / "report.json").read_text())
    assert set(found["sets"]) == {"colours", "shifted $x$", "captions", "several"} and set(found["failed"]) == {"lonely"}
    one = found["sets"]["colours"]
    assert set(one) == {"zero_shot", "prompts", "linear_probe", "few_shot", "others", "skipped"}
    eval_set = ["--eval", f"colours={folder}/colours"]
    plain, _ = run(zero_shot.main, "--checkpoint", vit, *eval_set, output="plain")
    probe, _ = run(linear_probe.main, "--checkpoint", vit, *eval_set, output="probe")
    other, _ = run(linear_probe.main, "--features", features, *eval_set, output="other")
    assert one["zero_shot"]["top1"] == json.loads((plain / "metrics.json").read_text())["sets"]["colours"]["top1"]
    assert one["linear_probe"] == json.loads((probe / "metrics.json").read_text())["sets"]["colours"]
    theirs = one["others"]["<b>other"]
    assert theirs["linear_probe"] == json.loads((other / "metrics.json").read_text())["sets"]["colours"]
    assert set(one["few_shot"]["shots"]) == {"1", "2", "4", "8", "16"} and one["few_shot"]["complete"]
    assert found["over_sets"]["shots_to_match"]["sets"] == 1
    assert found["robustness"]["sets"]["shifted $x$"]["classes"] == 2
    assert list(found["robustness"]["left_out"]) == ["several"]
    assert found["sets"]["captions"]["retrieval"]["captions"] == 3

    models, score = found["models"], theirs["linear_probe"]["top1"]["value"]
    assert models["zero_shot_minus_probe"]["<b>other"] == {"colours": one["zero_shot"]["top1"]["value"] - score}
    assert models["suites"]["mine"]["means"] == {"vit.safetensors": one["linear_probe"]["top1"]["value"], "<b>other": score}
    curve = {shots: point["mean"] for shots, point in theirs["few_shot"]["shots"].items()}
    assert models["few_shot"]["means"]["<b>other"] == pytest.approx(curve)
    assert models["flops"]["<b>other"] == 2e6 and models["flops"]["vit.safetensors"] > 0

    page = (output / "report.html").read_text()
    headings = ["Zero-shot", "Prompts", "Few-shot", "Retrieval", "Robustness", "Most frequent mistakes", "Not used"]
    headings += ["Probes of several models", "Few-shot probes of several models", "Probes over suites of sets", "Adapting to the reference"]
    for heading in headings:
        assert f"<h2>{heading}" in page
    assert "<script" not in page and "&lt;script&gt;" in page and "<b>other" not in page
    assert not re.search(r"(src|href)=\"(?!data:|#part)", page)
    assert page.count("data:image/png;base64,") == 7


def test_report_of_features_alone(folder, features, run):
    output, printed = run(main, "--features", f"it={features}", "--sets", folder, "--without", "few-shot")
    found = json.loads((output / "report.json").read_text())
    assert found["models"]["suites"]["all sets"]["means"] == {"it": found["models"]["probe"]["it"]["colours"]}
    assert found["over_sets"]["zero_shot_mean"] is None and "colours: others" in printed
    assert "Features from elsewhere" in (output / "report.html").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "there is no model"),
        (["--features", "x"], "'x' is not NAME=PATH"),
        (["--features", "x=SETS"], "no features of captions"),
        (["--checkpoint", "VIT", "--suite", "a=colours,none"], "no set 'none' among"),
        (["--checkpoint", "VIT", "--flops", "x=1"], "'x=1' is not MODEL=NUMBER"),
        (["--checkpoint", "VIT", "--include", "SETS"], "its output is not whole"),
        (["--features", "x=SETS/../features", "--include", "SETS"], "join the report of that checkpoint"),
    ],
)
def test_what_cannot_stand_on_one_page_is_one_clear_error(folder, features, vit, run, flags, message):
    flags = [flag.replace("SETS", str(folder)).replace("VIT", vit) for flag in flags]
    with pytest.raises(UserError, match=message):
        run(main, "--sets", folder, *flags)


def test_results_of_other_commands_join_the_page(vit, folder, squares, run, tmp_path):
    (tmp_path / "answers.csv").write_text("person,eval_key,answer\n<i>me</i>,test/0.tar/s0000000,red\n")
    eval_set = ["--eval", f"colours={folder}/colours"]
    people, _ = run(human_comparison.main, "--checkpoint", vit, *eval_set, "--answers", tmp_path / "answers.csv", output="people")
    flags = ["--sets", folder, "--without", "linear-probe", "--include", people]
    output, _ = run(main, "--checkpoint", vit, *flags)
    found = json.loads((output / "report.json").read_text())
    assert found["included"] == [{"stage": "human-comparison", "metrics": json.loads((people / "metrics.json").read_text())}]
    page = (output / "report.html").read_text()
    assert "<h2>People and the model on colours" in page and "&lt;i&gt;me&lt;/i&gt;" in page
    other = squares.save_model(tmp_path / "other.safetensors", squares.vit, seed=1)
    with pytest.raises(UserError, match="another checkpoint's"):
        run(main, "--checkpoint", other, *flags, output="other")
    plain, _ = run(zero_shot.main, "--checkpoint", vit, *eval_set, output="plain")
    with pytest.raises(UserError, match="results of zero-shot do not join"):
        run(main, "--checkpoint", vit, "--sets", folder, "--include", plain, output="other")


def test_interrupted_report_goes_on_and_gives_the_same_bytes(vit, folder, run, tmp_path, monkeypatch):
    flags = ["--checkpoint", vit, "--sets", folder, "--without", "few-shot"]
    whole, _ = run(main, *flags, output="whole")
    evaluate_set, calls = report.evaluate_set, []

    def interrupted(encoder, opened, *given):
        calls.append(opened.name)
        if opened.name == "lonely":
            raise KeyboardInterrupt
        return evaluate_set(encoder, opened, *given)

    monkeypatch.setattr(report, "evaluate_set", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(main, *flags, output="broken")
    assert not (tmp_path / "broken" / "report.html").exists()
    monkeypatch.setattr(report, "evaluate_set", lambda *given: calls.append(given[1].name) or evaluate_set(*given))
    again, _ = run(main, *flags, output="broken")
    assert calls == ["captions", "colours", "lonely", "lonely", "several", "shifted $x$"]
    for name in ("report.json", "report.html", "manifest.json"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()
    assert not (again / ".work").exists()


def test_folders_that_hold_no_sets(vit, run, tmp_path, folder):
    with pytest.raises(UserError, match="no such folder"):
        run(main, "--checkpoint", vit, "--sets", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no folder in it"):
        run(main, "--checkpoint", vit, "--sets", tmp_path / "empty")
    with pytest.raises(UserError, match="no set 'other'"):
        run(main, "--checkpoint", vit, "--sets", folder, "--reference", "other")


def test_shots_are_in_order_though_json_sorts_its_keys_as_texts():
    curve = json.loads(json.dumps({str(count): {"mean": count / 100} for count in (1, 2, 4, 8, 16)}, sort_keys=True))
    assert list(by_shots({"few_shot": {"shots": curve}})) == [1, 2, 4, 8, 16]


def test_long_names_keep_their_end_and_start_no_formula():
    assert short("a" * 20 + "b" * 20) == "a" * 16 + "…" + "b" * 9 and short("$x$") == r"\$x\$"
