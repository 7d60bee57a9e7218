"""Ctrl-C between two steps of training, so that nothing that was learned is lost."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Interrupt:
    """Inside the block a first Ctrl-C is only noted; a second one interrupts, as ever.

    Args:
      wanted: False leaves Ctrl-C alone: of several processes, one that stops by itself would leave the others waiting.

    Attributes:
      asked: whether Ctrl-C was noted.
    """

    def __init__(self, wanted: bool = True) -> None:
        self.asked = False
        self._wanted = wanted and threading.current_thread() is threading.main_thread()
        self._before: Any = None

    def __enter__(self) -> Interrupt:
        self._before = signal.getsignal(signal.SIGINT)
        self._wanted = self._wanted and callable(self._before)  # it may be ignored, as in the background of a script
        if self._wanted:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._wanted:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self._before)
