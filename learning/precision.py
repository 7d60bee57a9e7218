"""Which precision a processor is fast at."""

from __future__ import annotations

import torch


def cpu_multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for it; elsewhere bfloat16 is emulated and several times slower."""
    native = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in native)
