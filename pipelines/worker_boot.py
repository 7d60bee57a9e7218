"""Boots one Beam worker from what the submitter staged: fetch, install, run.

The flags are those of Beam's container contract, so it stands in for the boot program of Beam's own images: as the
entry point of docker/Dockerfile.*, as the command of `--environment_type=PROCESS` (installed as `wit-worker`), and in
the worker pool of `pipelines.local_engine`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile

import grpc
from apache_beam.portability.api import (
    beam_artifact_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
    endpoints_pb2,
)
from apache_beam.runners.portability.artifact_service import resolve_artifacts
from google.protobuf import json_format, text_format


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--folder", help="where fetched and installed code goes (default: the system's temporary folder)")
    made.add_argument("--id", required=True, help="name of this worker")
    made.add_argument("--provision_endpoint", required=True, help="where the runner says what to run")
    for name in ("control_endpoint", "logging_endpoint", "artifact_endpoint"):
        made.add_argument(f"--{name}", default="", help="used where the provision service names none")
    flags = made.parse_args()
    metadata = [("worker_id", flags.id)]

    def channel(url: str) -> grpc.Channel:
        return grpc.intercept_channel(
            grpc.insecure_channel(url, options=[("grpc.max_receive_message_length", -1)]), _AddMetadata(metadata)
        )

    provision = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel(flags.provision_endpoint))
    info = provision.GetProvisionInfo(beam_provision_api_pb2.GetProvisionInfoRequest()).info
    folder = tempfile.mkdtemp(prefix="worker-", dir=flags.folder)
    staged, code = os.path.join(folder, "staged"), os.path.join(folder, "code")
    os.makedirs(staged)
    os.makedirs(code)
    artifacts = info.artifact_endpoint.url or flags.artifact_endpoint
    retrieval = beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub(channel(artifacts))
    packages = []
    for fetched in resolve_artifacts(info.dependencies, retrieval, staged):
        path = beam_runner_api_pb2.ArtifactFilePayload.FromString(fetched.type_payload).path
        name = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(fetched.role_payload).staged_name
        target = os.path.join(staged, os.path.basename(name))
        os.replace(path, target)
        if target.endswith((".whl", ".tar.gz")):
            packages.append(target)
    if packages:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
        subprocess.run([*install, "--disable-pip-version-check", "--target", code, *packages], check=True)
    environment = {
        **os.environ,
        "PYTHONPATH": code,
        "WORKER_ID": flags.id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "SEMI_PERSISTENT_DIRECTORY": folder,
        "CONTROL_API_SERVICE_DESCRIPTOR": _descriptor(info.control_endpoint.url or flags.control_endpoint),
        "LOGGING_API_SERVICE_DESCRIPTOR": _descriptor(info.logging_endpoint.url or flags.logging_endpoint),
    }
    os.chdir(folder)
    os.execve(sys.executable, [sys.executable, "-m", "apache_beam.runners.worker.sdk_worker_main"], environment)


def _descriptor(url: str) -> str:
    return text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url))


class _AddMetadata(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Every call says which worker it is for, as Beam's services expect."""

    def __init__(self, metadata: list[tuple[str, str]]) -> None:
        self.metadata = metadata

    def _with(self, details: grpc.ClientCallDetails) -> grpc.ClientCallDetails:
        return details._replace(metadata=[*(details.metadata or []), *self.metadata])

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._with(details), request)

    def intercept_unary_stream(self, continuation, details, request):
        return continuation(self._with(details), request)


if __name__ == "__main__":
    main()
