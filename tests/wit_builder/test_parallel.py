import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wit_builder import parallel
from wit_builder.errors import UserError
from wit_builder.parallel import close_pool, loading, run_tasks, start_pool

ROOT = Path(__file__).resolve().parent.parent.parent


class Add:
    def __init__(self, number):
        self.number = number

    def load(self):
        return [self.number, os.getpid()]

    def __call__(self, loaded, task):
        if task == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "bug":
            raise ZeroDivisionError
        return task + loaded[0], os.getpid()


@pytest.fixture(autouse=True)
def ended_pool():
    yield
    close_pool()


def test_works_share_one_pool_and_load_their_own():
    first = list(run_tasks(Add(1), range(20), 2))
    second = list(run_tasks(Add(100), range(20), 2))
    assert sorted(value for value, _ in first) == list(range(1, 21))
    assert sorted(value for value, _ in second) == list(range(100, 120))
    processes = {process for _, process in first + second}
    assert len(processes) <= 2 and os.getpid() not in processes


class Knows:
    def load(self):
        return None

    def __call__(self, loaded, module):
        time.sleep(0.02)
        return module in sys.modules, os.getpid()


def test_a_pool_started_ahead_imports_what_its_work_needs_and_serves_it():
    start_pool(2, "wave")
    found = list(run_tasks(Knows(), ["wave"] * 20, 2))
    assert any(known for known, _ in found) and os.getpid() not in {process for _, process in found}


def test_one_process_works_here():
    assert list(run_tasks(Add(1), [1], 1)) == [(2, os.getpid())]
    assert parallel._pool is None


def test_a_dead_worker_is_told_and_the_next_tasks_get_a_new_pool():
    with pytest.raises(UserError, match="a worker process died"):
        list(run_tasks(Add(1), [1, "die", 2], 2))
    assert sorted(value for value, _ in run_tasks(Add(1), [1, 2], 2)) == [2, 3]


def test_a_bug_in_a_worker_comes_through():
    with pytest.raises(ZeroDivisionError):
        list(run_tasks(Add(1), ["bug", 1, 2], 2))
    assert parallel._pool is None


SLEEPER = """
import time

class Sleep:
    def load(self):
        return None
    def __call__(self, loaded, task):
        print("sleeping", flush=True)
        time.sleep(600)
"""
MAIN = """
from sleeper import Sleep
from wit_builder.parallel import run_tasks

if __name__ == "__main__":
    list(run_tasks(Sleep(), range(4), 2))
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(ending, tmp_path):
    (tmp_path / "sleeper.py").write_text(SLEEPER)  # workers do not import the main module
    script = tmp_path / "main.py"
    script.write_text(MAIN)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    running = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    for _ in range(2):
        assert running.stdout.readline() == b"sleeping\n"
    running.send_signal(ending)
    running.wait(30)
    # The pipe reads to its end only once every worker has let go of it.
    deadline = time.monotonic() + 30
    assert running.stdout.read() == b""
    assert time.monotonic() < deadline
    running.stderr.close()
    running.stdout.close()


def test_loading_leaves_the_collector_on_and_what_was_loaded_out_of_its_sight():
    before = gc.get_freeze_count()
    with pytest.raises(ImportError), loading():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled() and gc.get_freeze_count() > before
    gc.unfreeze()
