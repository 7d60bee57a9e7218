import pytest

from trainer.evaluate.prompts import ENSEMBLE, SINGLE, class_names_with_context, quoted, repeated_names, templates_of, with_kind
from wit_builder.errors import UserError
from wit_builder.evalsets import EvaluationSet

SET = EvaluationSet("pets", "/data/pets", ("dog", "cat"), (), {})


def test_ensemble_is_eighty_different_prompts():
    assert len(set(ENSEMBLE)) == 80 and all(template.count("{}") == 1 for template in ENSEMBLE)


def test_kind_and_quotation_marks():
    assert with_kind(SINGLE, "pet") == ["a photo of a {}, a type of pet."]
    assert quoted(SINGLE) == ['a photo of a "{}".']


def test_missing_template_file_is_one_clear_error():
    assert templates_of(SET, "single") == SINGLE
    with pytest.raises(UserError, match="/data/pets: the evaluation set pets has no zeroshot_.*--templates single"):
        templates_of(SET, "set")


def test_class_names_with_context(tmp_path):
    (tmp_path / "names.tsv").write_text("0\tcrane (bird)\ndog\tpet dog\n\n")
    assert class_names_with_context(("crane", "dog", "crane"), str(tmp_path / "names.tsv")) == ("crane (bird)", "pet dog", "crane")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("crane\tbird", "line 1: 2 classes are called 'crane' .give the class number"),
        ("wolf\tbird", "no class 'wolf' in the evaluation set"),
        ("9\tbird", "no class '9'"),
        ("dog", "not CLASS<tab>NAME"),
    ],
)
def test_names_that_match_no_class(tmp_path, line, message):
    (tmp_path / "names.tsv").write_text(line)
    with pytest.raises(UserError, match=message):
        class_names_with_context(("crane", "dog", "crane"), str(tmp_path / "names.tsv"))


def test_repeated_names():
    assert repeated_names(("a", "b", "a", "b", "c")) == ["a", "b"] and repeated_names(("a", "b")) == []
