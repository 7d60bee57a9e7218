import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.evaluate import zero_shot
from trainer.evaluate.human_comparison import main, read_answers
from trainer.evaluate.people import UNKNOWN
from wit_builder.errors import UserError
from wit_builder.evalsets import open_set

NAMES = ["red", "green", "blue"]


@pytest.fixture
def answers(colours, tmp_path):
    """Two people without examples, one of them also with one; numbers, names and ways to say that one does not know."""
    labels = {example.eval_key: example.label for example in open_set(str(colours), "s").examples()}
    random, rows = np.random.default_rng(0), []
    for person, shots, right in (("anna", 0, 0.5), ("ben", 0, 0.7), ("ben", 1, 0.9)):
        for key, label in labels.items():
            guess = label if random.random() < right else random.integers(3)
            said = random.choice(["I don't know", "", str(guess), f" {NAMES[guess].upper()} "], p=[0.1, 0.1, 0.4, 0.4])
            rows.append({"person": person, "eval_key": key, "answer": str(said), "shots": shots})
    with open(tmp_path / "answers.csv", "w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows([*rows, {"person": "anna", "eval_key": "elsewhere", "answer": "red", "shots": 0}])
    return tmp_path / "answers.csv", rows, labels


def test_numbers_equal_a_count_by_hand_and_zero_shot_s(vit, colours, answers, run):
    path, rows, labels = answers
    flags = ["--checkpoint", vit, "--eval", f"s={colours}"]
    output, printed = run(main, *flags, "--answers", path)
    plain, _ = run(zero_shot.main, *flags, output="plain")
    found = json.loads((output / "metrics.json").read_text())
    assert found["shots"]["0"]["model"] == json.loads((plain / "metrics.json").read_text())["sets"]["s"]["top1"]
    for shots, people in ((0, ["anna", "ben"]), (1, ["ben"])):
        one = found["shots"][str(shots)]
        assert sorted(one["by_person"]) == people
        for person in people:
            said = [
                (row["answer"].strip().lower(), labels[row["eval_key"]]) for row in rows if (row["person"], row["shots"]) == (person, shots)
            ]
            right = [text in (str(label), NAMES[label]) for text, label in said]
            guessed = [text not in ("", "i don't know") for text, _ in said]
            assert (one["by_person"][person]["all"]["hits"], one["by_person"][person]["all"]["total"]) == (sum(right), 18)
            assert one["by_person"][person]["guesses"]["total"] == sum(guessed)
    assert found["answers_on_other_keys"] == 1 and len(found["classes"]) == 3
    page = (output / "report.html").read_text()
    assert "<h2>People and the model on s" in page and page.count("data:image/png;base64,") == 1
    assert "1-shot: people" in printed


def test_answers_from_parquet(tmp_path):
    table = pa.table({"person": ["a", "a", "b"], "eval_key": ["x", "y", "x"], "answer": ["1", None, "RED"]})
    pq.write_table(table, tmp_path / "answers.parquet")
    assert read_answers(str(tmp_path / "answers.parquet"), NAMES) == {"0": {"a": {"x": 1, "y": UNKNOWN}, "b": {"x": 0}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("person,eval_key,answer\na,test/0.tar/s0000000,purple\n", "line 2: 'purple' is no class"),
        ("person,eval_key,answer\na,k,red\na,k,blue\n", "line 3: 'a' answers 'k' twice"),
        ("person,eval_key,answer\n,k,red\n", "line 2: no person"),
        ("person,eval_key\na,k\n", "no column answer"),
        ("person,eval_key,answer\n", "no answer in it"),
        ("person,eval_key,answer\na,k,red\n", "no eval_key of s is answered .the set has 'test/0.tar/s0000000', the answers 'k'"),
    ],
)
def test_what_the_user_can_mend_is_one_clear_error(vit, colours, run, tmp_path, text, message):
    (tmp_path / "answers.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        run(main, "--checkpoint", vit, "--eval", f"s={colours}", "--answers", tmp_path / "answers.csv")
