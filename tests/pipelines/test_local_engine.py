"""The portable engines that this project starts run staged code in other processes, and listen on loopback alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from engines import LOOPBACK, ROOT, build_wheel, listening, started

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc")

# A job in a file of its own: what it defines travels by value, what it imports must be found where the worker runs.
JOB = """
import functools, json, os
import apache_beam as beam
from pipelines import running
from wit_builder.transforms import Finish, RunTasks, SumUp

class Work:
    def load(self):
        return 3

    def __call__(self, loaded, task):
        import wit_builder
        return {"sum": task * loaded, wit_builder.__file__: 1}

def write(path, totals):
    with open(path, "w") as stream:
        json.dump(totals, stream)

if __name__ == "__main__":
    made = running.parser("job", "a job", "none")
    made.add_argument("--output")
    job = running.Running(made, None)
    with job.pipeline() as pipeline:
        totals = pipeline | beam.Create(range(10)) | RunTasks(Work(), processes=job.processes) | SumUp()
        totals | Finish(functools.partial(write, job.flags.output))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "job.py"
    path.write_text(JOB)
    return [sys.executable, str(path), f"--output={tmp_path / 'totals.json'}"]


def with_root():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def with_folder(folder):
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}


@pytest.mark.parametrize("kind", ["job-service", "prism"])
def test_staged_code_runs_in_processes_the_submitter_did_not_start(kind, job, wheel, tmp_path):
    with started(kind, tmp_path, wheel) as engine:
        run = subprocess.run([*job, *engine.flags], env=with_root(), capture_output=True, text=True)
        assert run.returncode == 0, run.stderr[-3000:]
        for process in engine.processes:
            if "prism" in process.args[0]:
                continue  # not ours, and it has no flag for its address
            addresses = listening(process.pid)
            assert addresses
            assert all(address.startswith(LOOPBACK) for address in addresses), addresses
    totals = json.loads((tmp_path / "totals.json").read_text())
    assert totals.pop("sum") == 3 * sum(range(10))
    (path,) = totals
    assert "worker-" in path and not path.startswith(str(ROOT)), "the worker imported something else than what was staged"


MULTI_PROCESSING = ["--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]


@pytest.mark.parametrize("flags", [["--workers=2"], MULTI_PROCESSING])
def test_local_runs_listen_on_nothing_but_loopback(flags, job, tmp_path):
    script = Path(job[1])
    head, tail = JOB.split("class Work:", 1)
    work, rest = tail.split("def write", 1)
    # Worker processes do not import the main module, so what they do stands in another.
    sleeping = work.replace("        return 3\n", "        import time; time.sleep(3)\n        return 3\n")
    (tmp_path / "job_work.py").write_text("class Work:" + sleeping)
    script.write_text(head + "from job_work import Work\n\ndef write" + rest)
    seen = set()
    with subprocess.Popen([*job, *flags], env=with_folder(tmp_path), stderr=subprocess.DEVNULL) as run:
        while run.poll() is None:
            seen |= listening(run.pid)
            try:
                run.wait(0.3)
            except subprocess.TimeoutExpired:
                continue
    assert run.returncode == 0
    assert all(address.startswith(LOOPBACK) for address in seen), seen
    assert bool(seen) == (flags == MULTI_PROCESSING), "the embedded run opens no port at all"
    assert json.loads((tmp_path / "totals.json").read_text())["sum"] == 3 * sum(range(10))
