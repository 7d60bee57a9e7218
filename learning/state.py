"""Nested state (optimiser, scaler, generators) as flat tensors and JSON, the two things a checkpoint holds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_TENSOR, _PAIRS = "$tensor", "$pairs"


def flatten(state: Any, prefix: str) -> tuple[dict[str, Tensor], Any]:
    """Tensors named by `prefix` and the keys that lead to them, and JSON that refers to them.

    Takes dicts (with keys of any JSON type), lists, tuples (which come back as lists), tensors, numbers, strings, None.
    """
    tensors: dict[str, Tensor] = {}

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            tensors[path] = value
            return {_TENSOR: path}
        if isinstance(value, dict):
            walked = [(key, walk(item, f"{path}.{key}")) for key, item in value.items()]
            if all(isinstance(key, str) and not key.startswith("$") for key in value):
                return dict(walked)
            return {_PAIRS: [list(pair) for pair in walked]}
        if isinstance(value, (list, tuple)):
            return [walk(item, f"{path}.{place}") for place, item in enumerate(value)]
        return value

    return tensors, walk(state, prefix)


def unflatten(tensors: dict[str, Tensor], value: Any) -> Any:
    """The state that `flatten` took apart."""
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        if _PAIRS in value:
            return {key: unflatten(tensors, item) for key, item in value[_PAIRS]}
        return {key: unflatten(tensors, item) for key, item in value.items()}
    if isinstance(value, list):
        return [unflatten(tensors, item) for item in value]
    return value


def random_state(device: torch.device) -> dict[str, Tensor]:
    """State of torch's generators, on the CPU and on this process's device."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Undo to what `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
