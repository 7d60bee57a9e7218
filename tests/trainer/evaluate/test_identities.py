import json

import pyarrow.parquet as pq
import pytest

from trainer.evaluate import zero_shot
from trainer.evaluate.choices import first_names
from trainer.evaluate.identities import main
from wit_builder.errors import UserError
from wit_builder.evalsets import Example, write_set

NAMES = ["Ann Lee", "Bo Ek", "Cy Old", "Di Roy", "Ed Poe", "Flo May"]


@pytest.fixture
def people(squares, tmp_path):
    examples = [
        Example("", squares.picture((40 * label, 200 - 30 * label, 90), seed), label, (label,)) for seed in range(4) for label in range(6)
    ]
    write_set(str(tmp_path / "people"), {"test": examples}, class_names=NAMES, templates=["a photo of {}."], suffix="png")
    return tmp_path / "people"


def test_all_names_are_zero_shot_and_fewer_leave_out_people_and_names(vit, people, squares, run, tmp_path):
    output, printed = run(main, "--checkpoint", vit, "--eval", f"s={people}", "--sizes", 6, 3, "--draws", 2)
    plain, _ = run(zero_shot.main, "--checkpoint", vit, "--eval", f"s={people}", output="plain")
    found = json.loads((output / "metrics.json").read_text())["sets"]["s"]
    expected = json.loads((plain / "metrics.json").read_text())["sets"]["s"]
    assert found["6"]["draws"][0]["top1"] == found["6"]["draws"][1]["top1"] == expected["top1"]
    # The same three people as a set of their own.
    chosen = first_names(NAMES, 3, 0).tolist()
    rows = pq.read_table(plain / "predictions-00000-of-00001.parquet").to_pylist()
    assert found["3"]["draws"][0]["examples"] == sum(row["label"] in chosen for row in rows)
    own = [
        Example("", squares.picture((40 * label, 200 - 30 * label, 90), seed), place, (place,))
        for seed in range(4)
        for place, label in enumerate(chosen)
    ]
    names = [NAMES[label] for label in chosen]
    write_set(str(tmp_path / "three"), {"test": own}, class_names=names, templates=["a photo of {}."], suffix="png")
    three, _ = run(zero_shot.main, "--checkpoint", vit, "--eval", f"s={tmp_path}/three", output="own")
    assert found["3"]["draws"][0]["top1"] == json.loads((three / "metrics.json").read_text())["sets"]["s"]["top1"]
    assert "s, 3 names: top-1" in printed
    assert "<h2>Identities" in (output / "report.html").read_text()


def test_more_names_than_the_set_has(vit, people, run):
    with pytest.raises(UserError, match="s has 6 names, not 7 to choose from"):
        run(main, "--checkpoint", vit, "--eval", f"s={people}", "--sizes", 3, 7)
    with pytest.raises(UserError, match="s has 6 names, not 1 to choose from"):
        run(main, "--checkpoint", vit, "--eval", f"s={people}", "--sizes", 1)
