"""A progress line on a terminal; in a pipe or a log file a line each minute."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

LOG_SECONDS = 60.0  # between two lines where standard error is no terminal


class _LogLines(tqdm):
    """Whole lines, now and then: a log of a job that runs for days shows where it is, and what takes less than a minute says nothing."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self._told = time.monotonic()
        super().__init__(*arguments, **settings)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        now = time.monotonic()
        if now - self._told >= LOG_SECONDS:
            self._told = now
            print(self, file=self.fp, flush=True)

    def close(self) -> None:
        if not self.disable:
            self.disable = True
            self._decr_instances(self)


def progress(label: str, total: float | None, unit: str, *, scale: bool = True) -> tqdm:
    """A tqdm line on standard error: per cent, rate and time left; `LOG_SECONDS` apart where that is no terminal."""
    settings: dict[str, Any] = {"desc": label, "total": total, "unit": unit, "unit_scale": scale, "file": sys.stderr}
    if sys.stderr.isatty():
        return tqdm(**settings, dynamic_ncols=True, leave=True)
    return _LogLines(**settings, ncols=0)
