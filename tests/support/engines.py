"""Engines for tests: Beam's portable job service and Prism, each with a worker pool that the submitter did not start."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PRISM_VARIABLE = "WIT_PRISM"  # path of a Prism binary
SPARK_VARIABLE = "WIT_SPARK_JOB_SERVER_JAR"  # path of Beam's Spark 3 job server
SPARK_MASTER_VARIABLE = "WIT_SPARK_MASTER"  # spark://HOST:7077 of a standalone cluster; without it Spark runs in the job server

# As /proc/net writes addresses.
LOOPBACK = (
    "0100007F:",  # 127.0.0.1
    "00000000000000000000000001000000:",  # ::1
    "0000000000000000FFFF00000100007F:",  # ::ffff:127.0.0.1
)


@contextmanager
def process(command: list[str], log: Path, **settings) -> Iterator[subprocess.Popen]:
    """A process that is stopped at the end of the block; what it prints goes to `log`."""
    with log.open("wb") as stream:
        running = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, **settings)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def wait_for(log: Path, running: subprocess.Popen, text: str, seconds: float = 90) -> str:
    """The line of a log that begins with `text`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and running.poll() is None:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith(text):
                return line
        time.sleep(0.1)
    pytest.fail(f"{text!r} did not come up:\n{log.read_text(errors='replace')[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Engine:
    """Where to submit, and the processes that stand behind it."""

    def __init__(self, runner: list[str], pool_port: int, wheel: Path, processes: list[subprocess.Popen]) -> None:
        self.flags = [
            *runner,
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{pool_port}",
            f"--extra_package={wheel}",
        ]
        self.processes = processes


def build_wheel(folder: Path) -> Path:
    """The wheel that `make dist` builds, from a copy: setuptools would leave a build folder in the tree."""
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "dist", "demo", "tests", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return next(folder.glob("*.whl"))


@contextmanager
def started(kind: str, folder: Path, wheel: Path) -> Iterator[Engine]:
    """An engine of a kind: `job-service`, `prism` or `spark`; skips where it is not at hand."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with ExitStack() as stack:
        job_log, processes = folder / "jobs.log", []
        if kind == "spark":
            # The submitter starts the job server from its jar.
            runner = ["--runner=SparkRunner", f"--spark_job_server_jar={_named(SPARK_VARIABLE, 'job server')}"]
            runner.append(f"--spark_master_url={os.environ.get(SPARK_MASTER_VARIABLE, 'local[2]')}")
        else:
            if kind == "prism":
                job_port = free_port()
                command = [_named(PRISM_VARIABLE, "Prism binary"), f"--job_port={job_port}", "--serve_http=false", "--log_level=error"]
                jobs = stack.enter_context(process(command, job_log))
            else:
                command = [sys.executable, "-m", "pipelines.local_engine", "job-service"]
                jobs = stack.enter_context(process(command, job_log, env=environment, cwd=folder))
                job_port = int(wait_for(job_log, jobs, "job service: ").rsplit(":", 1)[1])
            runner = ["--runner=PortableRunner", f"--job_endpoint=localhost:{job_port}"]
            processes.append(jobs)
        pool_log = folder / "pool.log"
        command = [sys.executable, "-m", "pipelines.local_engine", "worker-pool"]
        pool = stack.enter_context(process(command, pool_log, env=environment, cwd=folder))
        pool_port = int(wait_for(pool_log, pool, "worker pool: ").rsplit(":", 1)[1])
        yield Engine(runner, pool_port, wheel, [pool, *processes])


def _named(variable: str, what: str) -> str:
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"{variable} names no {what}")
    return path


def descendants(pid: int) -> set[int]:
    """A process and all that it started, as far as they live."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = status.read_text().splitlines()
        except OSError:
            continue  # it has just ended
        parents[int(status.parent.name)] = next(int(line.split()[1]) for line in lines if line.startswith("PPid:"))
    found, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def listening(pid: int) -> set[str]:
    """Addresses on which a process and its descendants listen: hex address, colon, hex port, as /proc/net writes them."""
    inodes = set()
    for member in descendants(pid):
        for descriptor in Path(f"/proc/{member}/fd").glob("*"):
            try:
                target = os.readlink(descriptor)
            except OSError:
                continue  # closed meanwhile
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1])
    return found
