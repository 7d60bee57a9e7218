import pytest
import torch

from learning import checkpoint
from trainer.load import describe, load
from trainer.model import build
from trainer.sizes import ModelConfig
from trainer.tokenizer import Tokenizer
from wit_builder.errors import UserError

SMALL = ModelConfig(8, 16, (1,), 16, 2, 8, text_width=16, text_heads=2, text_layers=1, context=8, vocabulary=514)


@pytest.mark.parametrize(
    "changed",
    [
        {"model": [1]},
        {"model": {"embed": 8}},
        {"model": SMALL.to_json() | {"text_layers": -1}},
        {"tokenizer": {"merge": []}},
        {"tokenizer": {"merges": 3}},
        {"preprocessing": None},
        {"preprocessing": {"size": 16}},
    ],
)
def test_a_checkpoint_whose_description_was_written_by_hand(tmp_path, changed):
    model = build(SMALL, 0)
    checkpoint.save(str(tmp_path / "m.safetensors"), {"a": torch.zeros(2)}, describe(model, Tokenizer([])) | changed)
    with pytest.raises(UserError):
        load(str(tmp_path / "m.safetensors"))
