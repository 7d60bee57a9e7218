"""Random choices for the images of a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Draw:
    """Random choices for each image of a batch. They are drawn on the CPU, so that every device gets the same."""

    def __init__(self, batch: int, generator: torch.Generator, device: torch.device) -> None:
        self.batch, self.generator, self.device = batch, generator, device

    def uniform(self, low: float, high: float, columns: int = 0) -> Tensor:
        """[B], or [B, columns] where given."""
        shape = (self.batch, columns) if columns else (self.batch,)
        return (torch.rand(shape, generator=self.generator) * (high - low) + low).to(self.device)

    def chance(self, probability: float) -> Tensor:
        return self.uniform(0, 1) < probability

    def integers(self, low: int, high: int) -> Tensor:
        return torch.randint(low, high, (self.batch,), generator=self.generator).to(self.device)

    def choice(self, values: Tensor) -> Tensor:
        return values[self.integers(0, len(values))]

    def permutation(self) -> Tensor:
        """Another image for each: a shift by a random number of places, so never itself (in a batch of at least two)."""
        shift = int(torch.randint(1, max(self.batch, 2), (1,), generator=self.generator))
        return (torch.arange(self.batch, device=self.device) + shift) % self.batch

    def normal(self, shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=self.generator).to(self.device)


def change_some(images: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The batch with what `change` makes of the chosen images: most changes befall few of a batch, and need not be computed for all.

    Args:
      images: [B, …].
      chosen: bool [B].
      change: gets those images and their places in the batch, int64 [n]; returns images of the same shape.
    """
    places = torch.nonzero(chosen).flatten()
    if not len(places):
        return images
    images = images.clone()
    images[places] = change(images[places], places)
    return images
