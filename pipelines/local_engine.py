"""A portable engine on one machine, for trying a job before it goes to a cluster: everything on loopback.

    python -m pipelines.local_engine job-service --port 8099
    python -m pipelines.local_engine worker-pool --port 50000

The first is Beam's own portable job service. The second starts workers that share nothing with the submitter: each
fetches the staged code, installs it in a folder of its own and runs it, as the boot program of Beam's containers does on
Spark, Flink and Dataflow. See docs/running-at-scale.md.
"""

from __future__ import annotations

import argparse
import logging
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from pipelines.loopback import bind_loopback
from wit_builder.errors import UserError, exit_with
from wit_builder.flags import PORT


def serve_jobs(port: int) -> None:
    """Beam's portable job service on 127.0.0.1, until it is stopped."""
    from apache_beam.runners.portability.local_job_service import LocalJobServicer

    servicer = LocalJobServicer()
    try:
        _ready("job service", servicer.start_grpc_server(port), port)
        _wait()
    finally:
        servicer.stop()


def serve_workers(port: int, folder: str) -> None:
    """A worker pool on 127.0.0.1, until it is stopped; its workers end with it and keep their files in `folder`."""
    from apache_beam.portability.api import beam_fn_api_pb2
    from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer

    class Pool(BeamFnExternalWorkerPoolServicer):
        def StartWorker(self, request, context):
            command = [
                *(sys.executable, "-m", "pipelines.worker_boot"),
                *("--folder", folder),
                *("--id", request.worker_id),
                *("--control_endpoint", request.control_endpoint.url),
                *("--logging_endpoint", request.logging_endpoint.url),
                *("--artifact_endpoint", request.artifact_endpoint.url),
                *("--provision_endpoint", request.provision_endpoint.url),
            ]
            self._worker_processes[request.worker_id] = subprocess.Popen(command)
            return beam_fn_api_pb2.StartWorkerResponse()

    # `start` makes the servicer with cls(...), so that ours is the one that is served.
    address, server = Pool.start(use_process=True, port=port)
    try:
        _ready("worker pool", int(address.rsplit(":", 1)[1]), port)
        _wait()
    finally:
        server.stop(1)


def _ready(what: str, bound: int, asked: int) -> None:
    if not bound or (asked and bound != asked):
        raise UserError(f"port {asked} is taken", where=what, fix="give another --port")
    print(f"{what}: 127.0.0.1:{bound}", flush=True)


def _wait() -> None:
    while True:
        time.sleep(3600)


def main(arguments: Sequence[str] | None = None) -> None:
    made = argparse.ArgumentParser(
        prog="python -m pipelines.local_engine",
        description="Beam's portable job service, or a pool of separate workers, on loopback.",
        epilog="example:\n  python -m pipelines.local_engine job-service --port 8099",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("service", choices=("job-service", "worker-pool"))
    made.add_argument("--port", type=PORT, default=0, help="port on 127.0.0.1 (default: a free one, printed)")
    flags = made.parse_args(arguments)
    bind_loopback()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that workers and temporary folders go with us
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    if flags.service == "job-service":
        serve_jobs(flags.port)
    else:
        with tempfile.TemporaryDirectory(prefix="worker-pool-") as folder:
            serve_workers(flags.port, folder)


if __name__ == "__main__":
    exit_with(main)
