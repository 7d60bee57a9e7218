"""The portable engines that this project starts run staged code in other processes, and listen on loopback alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from engines import LOOPBACK, ROOT, build_wheel, listening, started

from pipelines import running

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc")

# What the workers do, and the job around it. In the job's own file, the work travels by value to an engine's workers; worker
# processes of a local run do not import the main module, so there it stands in a module beside it.
WORK = """
class Work:
    def load(self):
        {wait}
        return 3

    def __call__(self, loaded, task):
        import wit_builder
        return {{"sum": task * loaded, wit_builder.__file__: 1}}
"""
JOB = """
import functools, json
import apache_beam as beam
from pipelines import running
from wit_builder.transforms import Finish, RunTasks, SumUp

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


def job_of(folder, text):
    """The command that runs a job's text, and the environment in which it finds the project and what stands beside it."""
    script = folder / "job.py"
    script.write_text(text)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    return [sys.executable, str(script), f"--output={folder / 'totals.json'}"], environment


@pytest.mark.parametrize("kind", ["job-service", "prism"])
def test_staged_code_runs_in_processes_the_submitter_did_not_start(kind, wheel, tmp_path):
    job, environment = job_of(tmp_path, WORK.format(wait="pass") + JOB)
    with started(kind, tmp_path, wheel) as engine:
        run = subprocess.run([*job, *engine.flags], env=environment, capture_output=True, text=True)
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
def test_local_runs_listen_on_nothing_but_loopback(flags, tmp_path):
    (tmp_path / "job_work.py").write_text(WORK.format(wait="import time; time.sleep(3)"))
    job, environment = job_of(tmp_path, "from job_work import Work\n" + JOB)
    seen = set()
    with subprocess.Popen([*job, *flags], env=environment, stderr=subprocess.DEVNULL) as run:
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


def test_relative_paths_reach_workers_whole(monkeypatch, tmp_path):
    """They stand in another folder than the submitter."""
    monkeypatch.chdir(tmp_path)
    made = running.parser("job", "a job", "none")
    made.add_argument("--input", nargs="+")
    made.add_argument("--eval", nargs="+")
    made.add_argument("--output")
    given = ["--input", "crawl/*.gz", "s3://bucket/x", "--eval", "a=sets/a", "b=/sets/b", "--output", "out"]
    flags = running.Running(made, [*given, "--runner=PortableRunner"]).flags
    assert flags.input == [f"{tmp_path}/crawl/*.gz", "s3://bucket/x"]
    assert flags.eval == [f"a={tmp_path}/sets/a", "b=/sets/b"] and flags.output == f"{tmp_path}/out"
    assert running.Running(made, given).flags.output == "out"
