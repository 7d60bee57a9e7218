import torch

from learning.checkpoints import Checkpoints
from learning.state import flatten, unflatten


def test_an_optimiser_comes_back_whole(tmp_path):
    weights = [torch.nn.Parameter(torch.randn(3, 2)), torch.nn.Parameter(torch.randn(4))]
    optimiser = torch.optim.AdamW(weights, lr=0.1, fused=True)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimiser.step()
    tensors, form = flatten({"optimiser": optimiser.state_dict(), "other": (1, None, "text", {2: [torch.arange(3)]})}, "state")
    assert "state.optimiser.state.1.exp_avg" in tensors
    checkpoints = Checkpoints(str(tmp_path), every_steps=1, every_minutes=0, keep=2)
    for step in (1, 2, 3):
        checkpoints.save(step, tensors, {"state": form})
    assert checkpoints.steps() == [2, 3]
    (tmp_path / "step-000000003.safetensors").write_bytes(b"cut off")
    path, loaded, metadata = checkpoints.latest()
    assert path.endswith("step-000000002.safetensors")  # the newest that is whole
    state = unflatten(loaded, metadata["state"])
    assert state["other"][:3] == [1, None, "text"] and torch.equal(state["other"][3][2][0], torch.arange(3))
    again = torch.optim.AdamW(weights, lr=0.5, fused=True)
    again.load_state_dict(state["optimiser"])
    assert again.param_groups[0]["lr"] == 0.1
    for weight in weights:
        assert all(torch.equal(again.state[weight][name], value) for name, value in optimiser.state[weight].items())
