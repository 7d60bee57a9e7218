"""Several processes that train one model: who they are, and the sums between them."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from wit_builder.errors import UserError

_BUCKET = 64 * 2**20  # bytes of gradients that one message carries


@dataclass(frozen=True)
class Ranks:
    """This process among those that `torchrun` started; alone where it did not."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def share(self, value: Any) -> Any:
        """The first process's value, on all. It is pickled, but only between the processes of one run."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        """Until all have come here."""
        if self.count > 1:
            dist.barrier()


def choose_device(device: str = "auto") -> torch.device:
    """The device that a flag names: `auto` is this process's GPU where there is one, else the CPU.

    Raises:
      UserError: where it is not there.
    """
    local = int(os.environ.get("LOCAL_RANK", 0))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device, local) if device == "cuda" else torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"no such device: {reason}", where=f"--device {device}", fix="cpu, cuda, cuda:N or auto") from error
    return chosen


def start(device: str = "auto") -> Ranks:
    """Join the other processes: NCCL where each has a GPU, else gloo.

    Raises:
      UserError: where the device is not there.
    """
    chosen = choose_device(device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return Ranks(0, 1, chosen)
    if not dist.is_initialized():
        # An hour: the first process may still be reading the shards' headers while the others wait.
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=datetime.timedelta(hours=1))
    return Ranks(dist.get_rank(), dist.get_world_size(), chosen)


def stop() -> None:
    """Leave the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor, rank: int, count: int) -> Tensor:  # [r, e] to [count · r, e]
        ctx.place = rank, len(rows)
        parts = [torch.empty_like(rows) for _ in range(count)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        # Every rank's loss depends on these rows: their gradient is the sum over ranks.
        rank, rows = ctx.place
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient[rank * rows : (rank + 1) * rows], None, None


def gather(rows: Tensor, ranks: Ranks) -> Tensor:
    """All ranks' rows, in order of rank: [count · r, …] of [r, …], differentiable."""
    return rows if ranks.count == 1 else _Gather.apply(rows, ranks.rank, ranks.count)


def add_up(tensors: Sequence[Tensor], ranks: Ranks) -> None:
    """Replace each tensor by its sum over ranks, many in one message."""
    if ranks.count == 1:
        return
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_type.setdefault(tensor.dtype, []).append(tensor)
    for same in by_type.values():
        bucket: list[Tensor] = []
        waiting = 0
        for tensor in same:
            bucket.append(tensor)
            waiting += tensor.numel() * tensor.element_size()
            if waiting >= _BUCKET or tensor is same[-1]:
                flat = torch.cat([member.reshape(-1) for member in bucket])
                dist.all_reduce(flat)
                for member, part in zip(bucket, flat.split([member.numel() for member in bucket])):
                    member.copy_(part.view_as(member))
                bucket, waiting = [], 0
