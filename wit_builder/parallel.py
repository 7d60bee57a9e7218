"""Tasks on a pool of processes over pipes.

No socket is opened: Beam's own multi-process runner listens on every interface without authentication.
Workers end with their parent, even when it is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from wit_builder.errors import UserError


class Work(Protocol):
    """A picklable piece of work: `load` makes what is heavy, once a process; the call does one task with it."""

    def load(self) -> Any: ...

    def __call__(self, loaded: Any, task: Any) -> Any: ...


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_work: Work | None = None
_loaded: Any = None


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _start(work: Work) -> None:
    global _work, _loaded
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _work, _loaded = work, work.load()


def _call(task: Any) -> Any:
    assert _work is not None
    return _work(_loaded, task)


def run_tasks(work: Work, tasks: Iterable[Any], processes: int, on_result: Callable[[Any], None] | None = None) -> Iterator[Any]:
    """Results of `work` on every task, as they come; at most twice `processes` tasks are under way.

    With one process, or none, the work is done here, in order.

    Raises:
      UserError: where a worker died (most often for want of memory).
    """
    if processes <= 1:
        loaded = work.load()
        for task in tasks:
            result = work(loaded, task)
            if on_result:
                on_result(result)
            yield result
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(work,))
    waiting: set[Future] = set()
    iterator = iter(tasks)
    try:
        exhausted = False
        while waiting or not exhausted:
            while not exhausted and len(waiting) < 2 * processes:
                try:
                    waiting.add(pool.submit(_call, next(iterator)))
                except StopIteration:
                    exhausted = True
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                result = future.result()
                if on_result:
                    on_result(result)
                yield result
    except BrokenProcessPool as error:
        raise UserError("a worker process died", fix="it may have run out of memory: try fewer --workers") from error
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
