"""AdamW as in the paper, its schedule, and variants that hold less memory."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wit_builder.hashing import hash64


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




def round_stochastically(values: Tensor, generator: torch.Generator) -> Tensor:
    """bfloat16 of float32, up or down with the chance that makes the mean right; values that are not finite stay."""
    noise = torch.randint(0, 1 << 16, values.shape, dtype=torch.int32, device=values.device, generator=generator)
    # bfloat16 is float32 without its last 16 bits: noise below the cut carries into it as often as the lost part is large.
    rounded = ((values.contiguous().view(torch.int32) + noise) & -65536).view(torch.float32)
    return torch.where(values.isfinite(), rounded, values).to(torch.bfloat16)


class LeanAdamW(torch.optim.Optimizer):
    """AdamW whose statistics and weights may be bfloat16; both are rounded stochastically.

    Plain rounding would lose them: with β2 0.999 a step changes the second moment by a thousandth, a quarter of what bfloat16
    can tell apart. Each step draws from the seed and its own number, so a resumed run draws the same.

    Args:
      groups: as torch's optimisers take them; float32 or bfloat16 parameters.
      half_statistics: keep both moments in bfloat16.
      seed: of the rounding.
    """

    def __init__(
        self, groups: list[dict], *, learning_rate: float, betas: tuple[float, float], epsilon: float, half_statistics: bool, seed: int
    ) -> None:
        super().__init__(groups, {"lr": learning_rate, "betas": betas, "eps": epsilon, "weight_decay": 0.0, "step": 0})
        self.statistic = torch.bfloat16 if half_statistics else torch.float32
        self.seed = seed

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for place, group in enumerate(self.param_groups):
            group["step"] += 1
            number, (beta1, beta2) = group["step"], group["betas"]
            generator = self._generator(group["params"][0].device, place, number)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["exp_avg"] = torch.zeros_like(parameter, dtype=self.statistic)
                    state["exp_avg_sq"] = torch.zeros_like(parameter, dtype=self.statistic)
                gradient = parameter.grad.float()
                first = state["exp_avg"].float().lerp_(gradient, 1 - beta1)
                second = state["exp_avg_sq"].float().mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
                weight = parameter.float() * (1 - group["lr"] * group["weight_decay"])
                scale = (second / (1 - beta2**number)).sqrt_().add_(group["eps"])
                weight.addcdiv_(first, scale, value=-group["lr"] / (1 - beta1**number))
                for target, value in ((state["exp_avg"], first), (state["exp_avg_sq"], second), (parameter, weight)):
                    target.copy_(round_stochastically(value, generator) if target.dtype == torch.bfloat16 else value)

    def _generator(self, device: torch.device, group: int, step: int) -> torch.Generator:
        return torch.Generator(device).manual_seed(hash64("rounding", self.seed, group, step) >> 1)

    def load_state_dict(self, state_dict: dict) -> None:
        """As torch's, but each statistic keeps its own type: torch would cast it to the parameter's."""
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        for group, saved in zip(self.param_groups, state_dict["param_groups"]):
            group.update({name: value for name, value in saved.items() if name != "params"})
        for index, values in state_dict["state"].items():
            parameter = parameters[index]
            self.state[parameter] = {name: value.to(parameter.device) for name, value in values.items()}
