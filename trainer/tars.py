"""Which tars shards, folders and patterns name, and whether they have changed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

import fsspec
from fsspec.core import url_to_fs

from wit_builder.braces import expand_braces
from wit_builder.errors import UserError

_CHANGES_WITH_CONTENT = ("mtime", "LastModified", "last_modified", "updated", "ETag", "etag", "created")  # as fsspec's filesystems name it
_AT_ONCE = 1_000  # files of statistics


def find_tars(patterns: Sequence[str]) -> tuple[dict[str, str], int]:
    """Tars that folders, patterns (braces too) or paths name, and the number left out because they are not finished.

    Where a folder holds `_stats.json` files, as ours and img2dataset's do, a tar without one, or of another size than it says, is
    an attempt that ended early.

    Returns:
      By path, sorted, a text that is another one when the tar has another content: its size, and when it was written. And the
      number left out.

    Raises:
      UserError: where a pattern names none.
    """
    found: dict[str, str] = {}
    unfinished = 0
    for pattern in itertools.chain.from_iterable(map(expand_braces, patterns)):
        filesystem, path = url_to_fs(pattern)
        if path.endswith(".tar") and filesystem.isfile(path):
            matched = {path: filesystem.info(path)}
        else:
            matched = filesystem.glob(path if path.endswith(".tar") else path.rstrip("/") + "/*.tar", detail=True)
        if not matched:
            raise UserError("no tar files there", where=pattern, fix="give a folder of shards, or a pattern such as 'DIR/*.tar'")
        stats = _statistics(filesystem, list(matched))
        for tar, about in matched.items():
            if stats and (tar not in stats or not _finished(stats[tar], about["size"])):
                unfinished += 1
            else:
                written = next((str(about[name]) for name in _CHANGES_WITH_CONTENT if about.get(name)), "")
                found[_full(filesystem, tar, pattern)] = f"{about['size']} {written}"
    return dict(sorted(found.items())), unfinished


def _full(filesystem: fsspec.AbstractFileSystem, path: str, pattern: str) -> str:
    """The path as the pattern names its filesystem, with what is chained before it (`simplecache::s3://…`)."""
    if "://" not in pattern:
        return path
    chain = pattern.rpartition("::")[0]
    return f"{chain}::{filesystem.unstrip_protocol(path)}" if chain else filesystem.unstrip_protocol(path)


def _statistics(filesystem: fsspec.AbstractFileSystem, tars: Sequence[str]) -> dict[str, bytes]:
    """The `_stats.json` of those tars that have one."""
    listed = {path for folder in {tar.rpartition("/")[0] for tar in tars} for path in filesystem.ls(folder, detail=False)}
    paths = {tar: stats for tar in tars if (stats := tar.removesuffix(".tar") + "_stats.json") in listed}
    if not filesystem.async_impl:
        return {tar: filesystem.cat_file(stats) for tar, stats in paths.items()}
    found, todo = {}, list(paths)
    for start in range(0, len(todo), _AT_ONCE):  # at once, since each takes as long as the network does
        some = todo[start : start + _AT_ONCE]
        read = filesystem.cat_ranges([paths[tar] for tar in some], [None] * len(some), [None] * len(some), on_error="return")
        found.update(zip(some, read))
    return found


def _finished(statistics: bytes | Exception, size: int) -> bool:
    try:
        return json.loads(statistics).get("tar_bytes", size) == size
    except (ValueError, TypeError, AttributeError):  # a read that failed among them
        return False
