"""The checkpoints of one run: numbered by step, taken every so many steps or minutes, a bounded number kept."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from learning import checkpoint
from wit_builder import files
from wit_builder.errors import UserError

_NAME = re.compile(r"step-(\d{9})\.safetensors$")


class Checkpoints:
    """Checkpoints in a folder.

    Args:
      folder: where they stand.
      every_steps: steps between two; 0 for never.
      every_minutes: minutes between two; 0 for never.
      keep: how many of the newest are kept.
    """

    def __init__(self, folder: str, *, every_steps: int = 1000, every_minutes: float = 15, keep: int = 3) -> None:
        self.folder, self.every_steps, self.every_minutes, self.keep = folder, every_steps, every_minutes, max(keep, 1)
        self._last = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether one should be taken after `step` steps."""
        by_steps = bool(self.every_steps) and step % self.every_steps == 0
        return by_steps or (bool(self.every_minutes) and time.monotonic() - self._last >= 60 * self.every_minutes)

    def path(self, step: int) -> str:
        return files.join(self.folder, f"step-{step:09d}.safetensors")

    def steps(self) -> list[int]:
        """Steps at which checkpoints are there, in order."""
        return sorted(int(found[1]) for path in files.match(files.join(self.folder, "step-*.safetensors")) if (found := _NAME.search(path)))

    def save(self, step: int, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
        """Write one, then remove those beyond the number kept. Returns its path."""
        checkpoint.save(self.path(step), tensors, metadata)
        for old in self.steps()[: -self.keep]:
            files.remove(self.path(old))
        self._last = time.monotonic()
        return self.path(step)

    def latest(self) -> tuple[str, dict[str, Tensor], dict[str, Any]] | None:
        """Path, tensors and metadata of the newest one that is whole; None where there is none.

        Raises:
          UserError: where there are some, but none is whole.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return self.path(step), *checkpoint.load(self.path(step))
            except UserError:
                if step == steps[0]:
                    raise
        return None
