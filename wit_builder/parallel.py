"""Tasks on a pool of processes over pipes.

No socket is opened: Beam's own multi-process runner listens on every interface without authentication.
Workers end with their parent, even when it is killed.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import types
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol

from wit_builder import remote
from wit_builder.errors import UserError


class Work(Protocol):
    """A picklable piece of work: `load` makes what is heavy, once a process; the call does one task with it."""

    def load(self) -> Any: ...

    def __call__(self, loaded: Any, task: Any) -> Any: ...


class NumberedWork:
    """Carries a task's number along, so that whoever watches progress knows which one ended."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def load(self) -> Any:
        return self.work.load()

    def __call__(self, loaded: Any, numbered: tuple[int, Any]) -> tuple[int, Any]:
        return numbered[0], self.work(loaded, numbered[1])


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_pool: tuple[int, ProcessPoolExecutor] | None = None  # one for all stages of a pipeline: starting it takes seconds

# In a worker: the piece of work it did last, as it came, and what that loaded.
_known = b""
_work: Work | None = None
_loaded: Any = None


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _start(file_options: tuple[str, ...]) -> None:
    remote.set_options(file_options)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_exit_with_parent, daemon=True).start()


@contextmanager
def loading() -> Iterator[None]:
    """While large modules are imported: without looking for garbage among them, then or later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _import(module: str) -> None:
    with loading():
        importlib.import_module(module)


def _call(pickled: bytes, task: Any) -> Any:
    global _known, _work, _loaded
    if pickled != _known:
        _known, _work, _loaded = b"", None, None  # what was loaded goes before the next is
        work = pickle.loads(pickled)
        _work, _loaded, _known = work, work.load(), pickled
    assert _work is not None
    return _work(_loaded, task)


class _Process(multiprocessing.context.SpawnProcess):
    """A worker that does not import the parent's main module: that would bring Beam into every one of them."""

    @staticmethod
    def _Popen(process_obj):
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            return multiprocessing.context.SpawnProcess._Popen(process_obj)
        finally:
            sys.modules["__main__"] = main


class _Context(multiprocessing.context.SpawnContext):
    Process = _Process


def _pool_of(processes: int) -> ProcessPoolExecutor:
    global _pool
    if _pool is None or _pool[0] != processes:
        close_pool()
        _pool = processes, ProcessPoolExecutor(processes, mp_context=_Context(), initializer=_start, initargs=(remote.options(),))
    return _pool[1]


def close_pool(*, at_once: bool = False) -> None:
    """End the worker processes; `at_once` does not wait for what they are doing. The next task starts new ones."""
    global _pool
    if _pool is None:
        return
    pool, _pool = _pool[1], None
    if at_once:
        for process in list((pool._processes or {}).values()):
            process.terminate()
    pool.shutdown(wait=True, cancel_futures=True)


def start_pool(processes: int, module: str) -> None:
    """Start the worker processes and have them import what their work needs, while the caller goes on: both take a second."""
    if processes > 1:
        pool = _pool_of(processes)
        for _ in range(processes):
            pool.submit(_import, module)


def run_tasks(work: Work, tasks: Iterable[Any], processes: int) -> Iterator[Any]:
    """Results of `work` on every task, as they come; at most twice `processes` tasks are under way.

    With one process, or none, the work is done here, in order. Otherwise `work` must be of a module, not of a script.

    Raises:
      UserError: where a worker died (most often for want of memory).
    """
    if processes <= 1:
        loaded = work.load()
        for task in tasks:
            yield work(loaded, task)
        return
    pool, pickled = _pool_of(processes), pickle.dumps(work)
    waiting: set[Future] = set()
    iterator = iter(tasks)
    try:
        exhausted = False
        while waiting or not exhausted:
            while not exhausted and len(waiting) < 2 * processes:
                try:
                    waiting.add(pool.submit(_call, pickled, next(iterator)))
                except StopIteration:
                    exhausted = True
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        close_pool()
        raise UserError("a worker process died", fix="it may have run out of memory: try fewer --workers") from error
    except BaseException:
        close_pool(at_once=True)
        raise
