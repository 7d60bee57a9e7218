"""Keeps Beam's local gRPC servers on the loopback interface.

Beam's multi-process runner, job service, LOOPBACK environment and worker pool bind `[::]` without authentication: on a
shared network, anyone could run code here. They have no flag for it, so the call that binds is rewritten.
"""

from __future__ import annotations

import re

_EVERY_INTERFACE = re.compile(r"^(\[::\]|0\.0\.0\.0|):(\d+)$")


def bind_loopback() -> None:
    """From now on, gRPC servers of this process that ask for every interface get 127.0.0.1."""
    from grpc import _server

    bind = _server._Server.add_insecure_port
    if getattr(bind, "loopback_only", False):
        return

    def add_insecure_port(self, address: str) -> int:
        return bind(self, _EVERY_INTERFACE.sub(r"127.0.0.1:\2", address))

    add_insecure_port.loopback_only = True
    _server._Server.add_insecure_port = add_insecure_port

    # Workers of the EXTERNAL environment are told the machine's own name, at which nothing listens now.
    from apache_beam.runners.portability.fn_api_runner import worker_handlers

    worker_handlers.ExternalWorkerHandler.host_from_worker = lambda self: "localhost"
