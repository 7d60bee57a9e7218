import json
import re

import pytest

from trainer.evaluate import linear_probe, report, zero_shot
from trainer.evaluate.report import main
from trainer.evaluate.report_page import by_shots, short
from wit_builder.errors import UserError
from wit_builder.evalsets import Example, write_set


@pytest.fixture
def folder(squares, tmp_path):
    """A reference set with splits, a shifted set, one with captions, one that cannot be evaluated, and hostile names."""
    sets = tmp_path / "sets"
    squares.write_colours(sets / "colours", train=squares.coloured("train", 21), test=squares.coloured("test", 4))
    shifted = [Example("", example.image, 0, (0,)) for example in squares.coloured("shifted", 2) if example.label == 0]
    shifted += [Example("", squares.picture((40, 200, 40), 1), 1, (1,)), Example("", b"no picture", 1)]
    write_set(str(sets / "shifted $x$"), {"test": shifted}, class_names=["red", "green"], suffix="png")
    captions = [Example("", squares.picture(colour, 5), captions=(f"a {name}",)) for name, colour in squares.colours.items()]
    write_set(str(sets / "captions"), {"test": captions}, suffix="png")
    write_set(str(sets / "lonely"), {"test": captions[:1]}, class_names=["<script>alert(1)</script>"], suffix="png")
    return sets


def test_report_holds_what_the_commands_find(vit, folder, run, tmp_path):
    output, _ = run(main, "--checkpoint", vit, "--sets", folder, "--reference", "colours", "--seeds", 1)
    found = json.loads((output / "report.json").read_text())
    assert set(found["sets"]) == {"colours", "shifted $x$", "captions"} and set(found["failed"]) == {"lonely"}
    one = found["sets"]["colours"]
    assert set(one) == {"zero_shot", "prompts", "linear_probe", "few_shot", "skipped"}
    flags = ["--checkpoint", vit, "--eval", f"colours={folder}/colours"]
    plain, _ = run(zero_shot.main, *flags, output="plain")
    probe, _ = run(linear_probe.main, *flags, output="probe")
    assert one["zero_shot"]["top1"] == json.loads((plain / "metrics.json").read_text())["sets"]["colours"]["top1"]
    assert one["linear_probe"] == json.loads((probe / "metrics.json").read_text())["sets"]["colours"]
    assert set(one["few_shot"]["shots"]) == {"1", "2", "4", "8", "16"} and one["few_shot"]["complete"]
    assert found["over_sets"]["shots_to_match"]["sets"] == 1
    assert found["robustness"]["sets"]["shifted $x$"]["classes"] == 2
    assert found["sets"]["captions"]["retrieval"]["captions"] == 3
    page = (output / "report.html").read_text()
    for heading in ("Zero-shot", "Prompts", "Few-shot", "Retrieval", "Robustness", "Most frequent mistakes", "Not used"):
        assert f"<h2>{heading}" in page
    assert "<script" not in page and "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert page.count("data:image/png;base64,") == 3


def test_interrupted_report_goes_on_and_gives_the_same_bytes(vit, folder, run, tmp_path, monkeypatch):
    flags = ["--checkpoint", vit, "--sets", folder, "--without", "few-shot"]
    whole, _ = run(main, *flags, output="whole")
    evaluate_set, calls = report.evaluate_set, []

    def interrupted(encoder, opened, given):
        calls.append(opened.name)
        if opened.name == "lonely":
            raise KeyboardInterrupt
        return evaluate_set(encoder, opened, given)

    monkeypatch.setattr(report, "evaluate_set", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(main, *flags, output="broken")
    assert not (tmp_path / "broken" / "report.html").exists()
    monkeypatch.setattr(report, "evaluate_set", lambda *given: calls.append(given[1].name) or evaluate_set(*given))
    again, _ = run(main, *flags, output="broken")
    assert calls == ["captions", "colours", "lonely", "lonely", "shifted $x$"]
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
