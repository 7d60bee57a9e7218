"""What a run costs: parameters, floating-point operations, memory, time."""

from __future__ import annotations

import copy
import time

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trainer.config import TrainConfig
from trainer.data import Plan
from trainer.model import CLIP

# Dense bf16 or fp16 FLOP/s that the makers state, without sparsity.
_PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10G": 70e12, "V100": 125e12, "T4": 65e12}
_REFERENCE = "V100"  # what the paper's models were trained on


def _meta_batch(model: nn.Module, size: int) -> tuple[Tensor, ...]:
    """Inputs without contents, for counting."""
    sizes = model.config
    images = torch.empty(size, 3, sizes.image_size, sizes.image_size, device="meta")
    tokens = torch.empty(size, sizes.context, dtype=torch.long, device="meta")
    if isinstance(model, CLIP):
        return images, tokens
    return images, tokens, torch.empty(size, device="meta"), torch.empty((), device="meta")


def forward_flops(model: nn.Module) -> float:
    """Floating-point operations of one pair's forward pass at full context (two for a multiplication with its addition)."""
    shadow = copy.deepcopy(model).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow(*_meta_batch(shadow, 1))
    return counter.get_total_flops()


def image_flops(model: CLIP) -> float:
    """Floating-point operations of one image's forward pass, projection included (two for a multiplication with its addition)."""
    shadow, size = copy.deepcopy(model).to("meta").eval(), model.config.image_size
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow.encode_image(torch.empty(1, 3, size, size, device="meta"))
    return counter.get_total_flops()


def step_flops(model: nn.Module, batch_size: int) -> float:
    """Of a whole training step: the backward pass costs twice the forward pass. Recomputation does not count as use."""
    return 3 * forward_flops(model) * batch_size


def activation_bytes(model: nn.Module) -> float:
    """Bytes that one more pair in a chunk keeps for the backward pass, in float32."""
    shadow = copy.deepcopy(model).to("meta").train()

    def kept(size: int) -> int:
        seen: dict[int, tuple[int, Tensor]] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            seen[storage._cdata] = storage.nbytes(), tensor  # the tensor is held so that no address is used twice
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            result = shadow(*_meta_batch(shadow, size))
        del result
        return sum(size for size, _ in seen.values())

    return (kept(4) - kept(2)) / 2


def device_flops(device: torch.device, precision: torch.dtype) -> float:
    """Peak FLOP/s of a device: the maker's figure for a GPU (0 where unknown), for a CPU what a matrix product reaches."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        peak = next((flops for known, flops in _PEAK.items() if known in name), 0.0)
        return peak / 2 if precision == torch.float32 else peak  # TF32 has half the rate
    a = torch.ones(1024, 1024)  # no random numbers: the generator's state belongs to the run
    best = min(_seconds(a) for _ in range(5))
    return 2 * 1024**3 / best


def _seconds(a: Tensor) -> float:
    began = time.perf_counter()
    torch.mm(a, a)
    return time.perf_counter() - began


def describe_cost(config: TrainConfig, model: nn.Module, plan: Plan, precision: torch.dtype) -> str:
    """Lines that `--dry-run` prints."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    statistics = parameters * (4 if config.half_statistics else 8)
    gradients = weights
    half = precision != torch.float32
    activations = activation_bytes(model) * plan.chunk_size / (2 if half else 1)
    flops = step_flops(model, 1)
    # Two blocks of similarities, and their softmax, against all pairs of the batch.
    share = plan.batch_size // plan.ranks
    logits = 4 * 4 * min(share * plan.batch_size, 2**26) if isinstance(model, CLIP) else 0
    seconds = flops * plan.total / _PEAK[_REFERENCE]
    gigabytes = {
        "weights": weights,
        "gradients": gradients,
        "Adam's statistics": statistics,
        f"activations of {plan.chunk_size:,} pairs": activations,
        "similarities": logits,
    }
    lines = [
        f"parameters     {parameters:,}",
        f"FLOPs a pair   {flops:.3g}, forward and backward",
        f"pairs seen     {plan.total:,}",
        f"steps          {plan.steps:,} of {plan.batch_size:,} pairs, {plan.chunks:,} chunks of {plan.chunk_size:,} on each process",
        f"FLOPs in all   {flops * plan.total:.3g}",
        f"time           {seconds / 86400 / 0.2:,.1f} days of one {_REFERENCE} at 20% utilisation",
        f"memory         {sum(gigabytes.values()) / 1e9:,.1f} GB a process, an estimate, with activations in {precision}:",
        *(f"               {size / 1e9:9,.2f} GB {what}" for what, size in gigabytes.items()),
    ]
    return "\n".join(lines)
