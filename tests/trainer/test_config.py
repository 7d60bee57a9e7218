import json

import pytest

from trainer.config import TrainConfig
from wit_builder.errors import UserError


@pytest.mark.parametrize(
    "name, written, said",
    [
        ("epochs", "NaN", "epochs must be above 0"),
        ("epochs", "1" * 400, "epochs must be above 0, and at most 1,000,000"),
        ("learning_rate", "-Infinity", "learning_rate must be at least 0"),
        ("seed", "-1", "seed must be at least 0"),
        ("batch_size", "0", "batch_size must be at least 1"),
        ("crop_area", "2", "crop_area must be above 0, and at most 1"),
        ("crop_area", "[]", "crop_area must be float"),
        ("epoch", "1", "unknown setting epoch"),
    ],
)
def test_a_file_with_a_number_out_of_bounds_names_it(name, written, said):
    with pytest.raises(UserError, match=f"^run.json: {said}"):
        TrainConfig.from_json(json.loads(f'{{"{name}": {written}}}'), "run.json")


def test_values_given_in_code_are_checked_too():
    with pytest.raises(UserError, match="--objective must be one of .*; --keep must be at least 1, not 0"):
        TrainConfig(objective="clap", keep=0)
