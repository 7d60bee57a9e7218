"""Beam's filesystems behind paths with a scheme, imported only when such a path is met."""

from __future__ import annotations

import argparse
import logging
import threading
from collections.abc import Sequence
from functools import lru_cache, partial

from wit_builder.errors import UserError

UNCOMPRESSED = "uncompressed"  # Beam's CompressionTypes.UNCOMPRESSED: bytes as they are stored

_options: tuple[str, ...] = ()  # Beam's flags, for credentials and endpoints of its filesystems


def set_options(flags: Sequence[str]) -> None:
    """Beam's command-line flags, which hold what its filesystems need (such as --s3_endpoint_url)."""
    global _options
    _options = tuple(flags)
    _filesystems_of.cache_clear()


def options() -> tuple[str, ...]:
    """What `set_options` was given: worker processes are started with it."""
    return _options


def filesystems(path: str):
    """Beam's FileSystems, which know the path's scheme.

    Raises:
      UserError: where they do not.
    """
    return _filesystems_of(path.partition("://")[0])


@lru_cache
def _filesystems_of(scheme: str):
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # what Beam misses for other clouds
    try:
        from apache_beam.io.filesystems import FileSystems
        from apache_beam.options.pipeline_options import PipelineOptions

        FileSystems.set_options(PipelineOptions(list(_options)))  # without flags too: S3 then asks the environment
        _share_s3_clients()
        FileSystems.get_filesystem(f"{scheme}://x")
    except ValueError as error:
        fix = "copy the files to disk or object storage; s3 needs apache-beam[aws], gs apache-beam[gcp]"
        raise UserError(f"Beam reads no {scheme}:// paths here", where=f"{scheme}://", fix=fix) from error
    finally:
        logging.disable(before)
    return FileSystems


def _share_s3_clients() -> None:
    """From now on, Beam's S3 filesystem keeps one boto3 client for each set of options.

    It makes a new one for every open, match, rename and removal, which costs some 0.4 s of CPU time each. boto3's
    clients may be used by many threads; Beam's wrapper around one holds the state of a download, and stays per file.
    """
    try:
        from apache_beam.io.aws.clients.s3 import boto3_client
        from apache_beam.options.pipeline_options import S3Options
    except ImportError:
        return
    if boto3_client.boto3 is None or getattr(boto3_client.Client, "shares", False):
        return
    wrapper, clients, lock = boto3_client.Client, {}, threading.Lock()
    flags = argparse.ArgumentParser()
    S3Options._add_argparse_args(flags)
    names = sorted(vars(flags.parse_args([])))

    class SharingClient(wrapper):
        shares = True

        def __init__(self, options) -> None:
            settings = options.get if isinstance(options, dict) else partial(getattr, options.view_as(S3Options))
            key = tuple(settings(name) for name in names)
            with lock:
                if key in clients:
                    self.client = clients[key]
                    self._download_request, self._download_stream, self._download_pos = None, None, 0
                else:
                    super().__init__(options)
                    clients[key] = self.client

    boto3_client.Client = SharingClient
