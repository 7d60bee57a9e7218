"""ReLUs that let a gradient through where they would stop all of it, so that a picture can be optimised for a unit that is silent yet.

As in Lucid, the code of Olah et al., "Feature Visualization" (2017).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class _Redirected(torch.autograd.Function):
    """max(x, 0). Where an example's whole gradient would be stopped, that part passes which raises x under descent."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # [b, …]
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        usual = torch.where(x > 0, gradient, 0)
        raising = torch.where((x <= 0) & (gradient > 0), 0, gradient)
        silent = (usual.flatten(1) == 0).all(dim=1).view(-1, *[1] * (x.ndim - 1))
        return torch.where(silent, raising, usual)


class RedirectedReLU(TorchFunctionMode):
    """Within this context, `torch.nn.functional.relu` redirects its gradient; its values are the same, in a tensor of their own."""

    def __torch_function__(self, function: Callable, types: Sequence, given: Sequence = (), named: Mapping | None = None) -> Any:
        if function is F.relu:
            return _Redirected.apply(given[0])
        return function(*given, **(named or {}))
