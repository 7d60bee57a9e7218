import json

import pytest

from tests.trainer.conftest import COLOURS, SMALL, encoded
from trainer.commands.compare_objectives import main
from trainer.compare import pairs_needed
from wit_builder.errors import UserError


def test_pairs_needed_between_points():
    curve = [(100, 0.2), (400, 0.6), (1600, 0.6)]
    assert pairs_needed(curve, 0.4) == pytest.approx(200)  # half-way on a logarithm
    assert pairs_needed(curve, 0.1) == 100
    assert pairs_needed(curve, 0.7) is None


def test_objectives_side_by_side(shards, tmp_path):
    """Colours are learned by a contrastive and by a predictive objective, and both say how they classify."""
    model = tmp_path / "small.json"
    model.write_text(json.dumps(SMALL))
    for colour in COLOURS:
        (tmp_path / "set" / colour).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "set" / colour / f"{number}.jpg").write_bytes(encoded(colour, 500 + number))
    arguments = ["--shards", str(shards), "--model", str(model), "--eval", f"colours={tmp_path / 'set'}", "--template", "a {} picture"]
    arguments += ["--output", str(tmp_path / "out"), "--batch-size", "32", "--epochs", "12", "--learning-rate", "5e-3", "--workers", "0"]
    arguments += ["--device", "cpu", "--objectives", "clip", "bow-prediction", "--points", "2"]
    main(arguments)
    whole = json.loads((tmp_path / "out" / "efficiency.json").read_text())
    assert set(whole["objectives"]) == {"clip", "bow-prediction"}
    for result in whole["objectives"].values():
        assert result["curve"][-1][1] >= 0.6  # chance is 0.2
        assert result["pairs_needed"] and "log-probability" in result["classifies"] or "cosine" in result["classifies"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "bow-prediction" in page and "log-probability" in page
    before = (tmp_path / "out" / "efficiency.json").read_bytes()
    main(arguments)  # nothing is trained again
    assert (tmp_path / "out" / "efficiency.json").read_bytes() == before
    with pytest.raises(UserError, match="where the class goes"):
        main([*arguments, "--template", "a picture"])
    with pytest.raises(UserError, match="holds something else"):
        main([*arguments, "--output", str(shards)])
