"""A local S3 server for tests, on loopback, and Beam's flags that lead to it."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines import free_port, process, wait_for

KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def bucket(folder: Path, name: str = "wit") -> Iterator[list[str]]:
    """A server with one empty bucket; yields Beam's flags for it."""
    port = free_port()
    log = folder / "s3.log"
    command = [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with process(command, log, env={**os.environ, **KEYS}) as server:
        wait_for(log, server, " * Running on")
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/{name}", method="PUT")).close()
        yield [
            f"--s3_endpoint_url=http://127.0.0.1:{port}",
            "--s3_access_key_id=x",
            "--s3_secret_access_key=y",
            "--s3_region_name=us-east-1",
        ]
