import pytest
import torch

from tests.trainer.test_model import SMALL_VIT
from trainer.config import TrainConfig
from trainer.cost import activation_bytes, describe_cost, forward_flops, image_flops
from trainer.data import Plan
from trainer.model import CLIP, build, recompute_activations
from trainer.sizes import MODELS

V100 = 125e12  # FLOP/s


@pytest.mark.parametrize("name, cards, days", [("RN50x64", 592, 18), ("ViT-L/14", 256, 12)])
def test_the_papers_runs_come_out_at_a_plausible_utilisation(name, cards, days):
    with torch.device("meta"):
        model = CLIP(MODELS[name])
    needed = 3 * forward_flops(model) * 12.8e9
    assert 0.1 < needed / (cards * days * 86400 * V100) < 0.5


def test_flops_of_a_vit_by_hand():
    sizes = MODELS["ViT-B/32"]
    with torch.device("meta"):
        model = CLIP(sizes)
    image = 12 * (12 * 768**2 * 50 + 2 * 50**2 * 768) + 49 * 3072 * 768 + 768 * 512
    text = 12 * (12 * 512**2 * 77 + 2 * 77**2 * 512) + 512 * 512
    assert forward_flops(model) == pytest.approx(2 * (image + text), rel=0.01)
    assert image_flops(model) == pytest.approx(2 * image, rel=0.01)


def test_recomputation_saves_activations_and_the_estimate_says_so():
    model = build(SMALL_VIT)
    kept = activation_bytes(model)
    recompute_activations(model)
    assert 0 < activation_bytes(model) < kept / 2
    told = describe_cost(TrainConfig(), model, Plan(64, 16, 1000), torch.float32)
    assert "steps          16 of 64 pairs, 4 chunks of 16" in told and f"{sum(p.numel() for p in model.parameters()):,}" in told
