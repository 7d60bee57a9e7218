import pytest
import safetensors.torch
import torch

from learning import checkpoint
from wit_builder.errors import UserError


def tensors():
    generator = torch.Generator().manual_seed(0)
    tied = torch.randn(4, 4, generator=generator)
    return {
        "weight": torch.randn(3, 5, generator=generator).to(memory_format=torch.contiguous_format),
        "conv": torch.randn(2, 3, 4, 4, generator=generator).to(memory_format=torch.channels_last),
        "half": torch.randn(7, generator=generator).bfloat16(),
        "step": torch.tensor(12.0),
        "empty": torch.empty(0, 3),
        "tied a": tied,
        "tied b": tied,
        "rng": torch.get_rng_state(),
    }


def test_what_is_loaded_is_what_was_saved(tmp_path):
    path = str(tmp_path / "one.safetensors")
    digest = checkpoint.save(path, tensors(), {"config": {"model": "tiny"}, "text": "é"})
    loaded, metadata = checkpoint.load(path)
    assert metadata == {"config": {"model": "tiny"}, "text": "é"}
    for name, tensor in tensors().items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor), name
    assert len(digest) == 64
    assert checkpoint.save(str(tmp_path / "two.safetensors"), tensors(), metadata) == digest
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2  # no temporary left


def test_other_programs_read_and_write_the_files(tmp_path):
    path = str(tmp_path / "ours.safetensors")
    checkpoint.save(path, {"a": torch.arange(3)}, {})
    assert torch.equal(safetensors.torch.load_file(path)["a"], torch.arange(3))
    safetensors.torch.save_file({"b": torch.ones(2)}, path)
    loaded, metadata = checkpoint.load(path)
    assert list(loaded) == ["b"] and metadata == {}


@pytest.mark.parametrize("spoil", [lambda data: data[:-9], lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: b"PK\3\4" + data])
def test_spoilt_files_are_refused_in_one_line(tmp_path, spoil):
    path = tmp_path / "c.safetensors"
    checkpoint.save(str(path), tensors(), {"a": 1})
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError) as error:
        checkpoint.load(str(path))
    assert "\n" not in str(error.value) and str(path) in str(error.value)
