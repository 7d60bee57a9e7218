"""AdamW as in the paper, its schedule, and variants that hold less memory."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def warm_up_cosine(step: int, steps: int, warm_up: int, peak: float) -> float:
    """Learning rate of a step: linear to `peak` over `warm_up` steps, then half a cosine down to 0 after `steps`."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(steps - warm_up, 1)))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Two groups: weights of two or more dimensions decay; gains, biases, and the logit scale do not."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    decayed = [parameter for name, parameter in named if parameter.ndim >= 2]
    others = [parameter for name, parameter in named if parameter.ndim < 2]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def gradient_norm(parameters: list[Tensor]) -> Tensor:
    """Euclidean norm of all gradients together, a float32 scalar on their device."""
    norms = torch._foreach_norm([parameter.grad.float() for parameter in parameters if parameter.grad is not None])
    return torch.linalg.vector_norm(torch.stack(norms))


def adamw(groups: list[dict], *, learning_rate: float, betas: tuple[float, float], epsilon: float) -> torch.optim.Optimizer:
    """torch's AdamW in one fused pass over the parameters."""
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=epsilon, fused=True)


