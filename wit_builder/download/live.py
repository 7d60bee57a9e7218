"""The live line: workers leave their counts in files of a local folder, the parent adds them up on the terminal.

Nothing is written where nobody watches: the folder is only there when standard error is a terminal.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from wit_builder.progress import progress

_EVERY = 0.5  # seconds
_WINDOW = 8.0  # seconds over which rates are taken
_TOTAL = "total"


class Tally:
    """What one worker process has done so far.

    Attributes:
      done: pairs with an outcome, those of shards that were whole already among them.
      bytes: received.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.done = self.bytes = 0
        self.outcomes: Counter = Counter()

    def count(self, reason: str | None) -> None:
        """A pair has its outcome; None is success."""
        self.done += 1
        self.outcomes[reason or "success"] += 1

    async def tell(self) -> None:
        """Leave the counts in the folder again and again, until cancelled."""
        while self.folder:
            _write(os.path.join(self.folder, str(os.getpid())), {"done": self.done, "bytes": self.bytes, "outcomes": self.outcomes})
            await asyncio.sleep(_EVERY)


def tell_total(folder: str, pairs: int) -> None:
    """How many pairs there are to do."""
    if folder:
        _write(os.path.join(folder, _TOTAL), pairs)


def _write(path: str, value: object) -> None:
    try:
        with open(path + ".tmp", "w") as stream:
            json.dump(value, stream)
        os.replace(path + ".tmp", path)
    except FileNotFoundError:
        return  # the parent has ended, and the folder with it


def describe(outcomes: Counter, images_per_second: float, bytes_per_second: float) -> str:
    """Text of the live line behind the bar."""
    tried = sum(outcomes.values())
    failed = [f"{reason} {number:,}" for reason, number in outcomes.most_common() if reason != "success"]
    rate = f"{outcomes['success'] / tried:.1%} saved" if tried else "starting"
    return ", ".join([f"{images_per_second:.0f} images/s", f"{bytes_per_second / 1e6:.1f} MB/s", rate, *failed[:3]])


@contextmanager
def live_line() -> Iterator[str]:
    """A folder for workers to tell their counts in, with the line that shows them; empty where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield ""
        return
    with tempfile.TemporaryDirectory(prefix="download-", ignore_cleanup_errors=True) as folder:
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(folder, ended), daemon=True)
        watcher.start()
        try:
            yield folder
        finally:
            ended.set()
            watcher.join()


def _read(folder: str) -> tuple[int | None, int, int, Counter]:
    total, done, received, outcomes = None, 0, 0, Counter()
    for name in os.listdir(folder):
        if name.endswith(".tmp"):
            continue
        with open(os.path.join(folder, name)) as stream:
            value = json.load(stream)
        if name == _TOTAL:
            total = value
        else:
            done, received = done + value["done"], received + value["bytes"]
            outcomes.update(value["outcomes"])
    return total, done, received, outcomes


def _watch(folder: str, ended: threading.Event) -> None:
    past: deque = deque()
    with progress("download", None, "pair") as line:
        while True:
            is_last = ended.wait(_EVERY)
            total, done, received, outcomes = _read(folder)
            now = time.monotonic()
            past.append((now, outcomes["success"], received))
            while past[0][0] < now - _WINDOW:
                past.popleft()
            seconds = max(now - past[0][0], _EVERY)
            line.total = total
            line.set_postfix_str(
                describe(outcomes, (outcomes["success"] - past[0][1]) / seconds, (received - past[0][2]) / seconds), refresh=False
            )
            line.n = done
            line.refresh()
            if is_last:
                return
