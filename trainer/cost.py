"""What a run costs: parameters, floating-point operations, memory, time."""

from __future__ import annotations

import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trainer.config import TrainConfig
from trainer.data import Plan
from trainer.model import CLIP

# Dense bf16 or fp16 FLOP/s that the makers state, without sparsity.
_PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10G": 70e12, "V100": 125e12, "T4": 65e12}


def forward_flops(model: CLIP) -> float:
    """Floating-point operations of one pair's forward pass (two for a multiplication with its addition)."""
    sizes = model.config
    with torch.device("meta"):
        copy = CLIP(sizes)
        images, tokens = torch.empty(1, 3, sizes.image_size, sizes.image_size), torch.empty(1, sizes.context, dtype=torch.long)
        with FlopCounterMode(display=False) as counter:
            copy.eval()(images, tokens)
    return counter.get_total_flops()


def step_flops(model: CLIP, batch_size: int) -> float:
    """Of a whole training step: the backward pass costs twice the forward pass. Recomputation does not count as use."""
    return 3 * forward_flops(model) * batch_size


def device_flops(device: torch.device, precision: torch.dtype) -> float:
    """Peak FLOP/s of a device: the maker's figure for a GPU (0 where unknown), for a CPU what a matrix product reaches."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        peak = next((flops for known, flops in _PEAK.items() if known in name), 0.0)
        return peak / 2 if precision == torch.float32 else peak  # TF32 has half the rate
    a = torch.ones(1024, 1024)
    best = min(_seconds(a) for _ in range(5))
    return 2 * 1024**3 / best


def _seconds(a: torch.Tensor) -> float:
    began = time.perf_counter()
    torch.mm(a, a)
    return time.perf_counter() - began


def describe_cost(config: TrainConfig, model: nn.Module, plan: Plan, precision: torch.dtype) -> str:
    """Lines that `--dry-run` prints."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    flops = step_flops(model, 1)
    lines = [
        f"parameters          {parameters:,}",
        f"FLOPs a pair        {flops:.3g} (forward and backward)",
        f"FLOPs in all        {flops * plan.total:.3g}",
        f"pairs seen          {plan.total:,}",
        f"steps               {plan.steps:,}",
        f"precision           {str(precision).removeprefix('torch.')}",
    ]
    return "\n".join(lines)
