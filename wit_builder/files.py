"""Reading and writing by path, on the local disk or on any filesystem that Beam knows.

Local paths use the operating system directly. A path with a scheme (`s3://…`, `gs://…`, `hdfs://…`)
goes through Beam's FileSystems (`wit_builder.remote`).
"""

from __future__ import annotations

import errno
import glob
import itertools
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

from wit_builder.braces import expand_braces
from wit_builder.errors import UserError
from wit_builder.remote import UNCOMPRESSED, filesystems

_GLOB_CHARACTERS = frozenset("*?[")


def is_remote(path: str) -> bool:
    """Whether the path carries a scheme and so is reached through Beam."""
    return "://" in path


def absolute(path: str) -> str:
    """The path from the root of the file system; one with a scheme as it is."""
    return path if is_remote(path) else os.path.abspath(path)


def join(folder: str, *names: str) -> str:
    """Path of a file in a folder, local or remote."""
    return "/".join([folder.rstrip("/"), *names]) if is_remote(folder) else os.path.join(folder, *names)


def exists(path: str) -> bool:
    """Whether a file (or, locally, a folder) is there."""
    return filesystems(path).exists(path) if is_remote(path) else os.path.exists(path)


def is_folder(path: str) -> bool:
    """Whether the path is a folder, or remotely a prefix under which files stand."""
    if not is_remote(path):
        return os.path.isdir(path)
    return bool(filesystems(path).match([path.rstrip("/") + "/*"])[0].metadata_list)


def size(path: str) -> int:
    """Bytes of a file."""
    if not is_remote(path):
        return os.path.getsize(path)
    return filesystems(path).match([path])[0].metadata_list[0].size_in_bytes


_FEW = 10


def sizes(paths: Sequence[str]) -> dict[str, int]:
    """Bytes of each file, by path; those that are not there are left out.

    Remote folders of which more than a few files are wanted are listed: a request for each of 100,000 would take hours.
    """
    found = {path: os.path.getsize(path) for path in paths if not is_remote(path) and os.path.isfile(path)}
    folders: dict[str, list[str]] = {}
    for path in paths:
        if is_remote(path):
            folders.setdefault(path.rsplit("/", 1)[0], []).append(path)
    patterns = [name for folder, inside in folders.items() for name in (inside if len(inside) < _FEW else [folder + "/*"])]
    for pattern in patterns:
        found.update((entry.path, entry.size_in_bytes) for entry in filesystems(pattern).match([pattern])[0].metadata_list)
    return {path: found[path] for path in paths if path in found}


def match(pattern: str) -> list[str]:
    """Files that a pattern names, sorted; a folder stands for the files directly in it. May be empty."""
    if not is_remote(pattern):
        if os.path.isdir(pattern):
            pattern = os.path.join(glob.escape(pattern), "*")
        if not _GLOB_CHARACTERS.intersection(pattern):
            return [pattern] if os.path.isfile(pattern) else []
        return sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
    files = [entry.path for entry in filesystems(pattern).match([pattern])[0].metadata_list]
    if not files and not _GLOB_CHARACTERS.intersection(pattern):
        files = [entry.path for entry in filesystems(pattern).match([pattern.rstrip("/") + "/*"])[0].metadata_list]
    return sorted(files)


def below(folder: str) -> list[str]:
    """All files in a folder, at any depth, hidden ones too, sorted."""
    if is_remote(folder):
        return match(folder.rstrip("/") + "/**")
    return sorted(os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names)


def match_all(patterns: list[str], *, what: str) -> list[str]:
    """Files of several patterns, braces among them, sorted and without repeats.

    Raises:
      UserError: where a pattern names nothing.
    """
    found: set[str] = set()
    for pattern in itertools.chain.from_iterable(map(expand_braces, patterns)):
        files = match(pattern)
        if not files:
            raise UserError(f"no {what} there", where=pattern, fix="check the path or the pattern")
        found.update(files)
    return sorted(found)


def open_read(path: str) -> BinaryIO:
    """Open for reading, bytes as they are stored (never decompressed on the way)."""
    if not is_remote(path):
        return open(path, "rb")
    return filesystems(path).open(path, compression_type=UNCOMPRESSED)


def read_bytes(path: str) -> bytes:
    """The whole file."""
    with open_read(path) as stream:
        return stream.read()


def read_json(path: str) -> Any:
    """A JSON file's value.

    Raises:
      UserError: where it is not JSON.
    """
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"not valid JSON: {error}", where=path, fix="delete it and make it again") from error


def read_object(path: str) -> dict[str, Any]:
    """A JSON file's object.

    Raises:
      UserError: where it is not JSON, or another kind of value.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError("not a JSON object", where=path, fix="delete it and make it again")
    return found


@contextmanager
def reading_kept(path: str) -> Iterator[None]:
    """For what an earlier run kept at `path`, and whole: that it is not is the disk's doing, or somebody's.

    Raises:
      UserError: in place of what a broken file does to its reader.
    """
    try:
        yield
    except (EOFError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"an earlier run kept this, and it is broken: {error!r}", where=path, fix="delete it and run again") from error


def make_folder(path: str) -> None:
    """Make a folder and those above it; object stores have none.

    Raises:
      UserError: where there can be none.
    """
    if is_remote(path):
        return
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        in_the_way = isinstance(error, (FileExistsError, NotADirectoryError))
        what = "a file is in the way" if in_the_way else str(error.strerror).lower()
        raise UserError(f"this folder cannot be made: {what}", where=path, fix="give another path") from error


@contextmanager
def atomic_writer(path: str) -> Iterator[BinaryIO]:
    """Open `path` for writing under a temporary name of its own; rename when the block ends well.

    Two attempts at the same file never touch each other's bytes, and the final name is always whole.

    Raises:
      UserError: where something stands there that is not a file: a folder, or a device, which a rename would replace for all.
    """
    if not is_remote(path) and os.path.exists(path) and not os.path.isfile(path):
        what = "a folder" if os.path.isdir(path) else "a device or a pipe"
        raise UserError(f"{what} stands there, where a file is to be written", where=path, fix="give another path")
    temporary = f"{path}.tmp-{uuid.uuid4().hex[:12]}"
    if is_remote(path):
        stream = filesystems(path).create(temporary, compression_type=UNCOMPRESSED)
    else:
        make_folder(os.path.dirname(path) or ".")
        stream = open(temporary, "wb")
    try:
        with stream:
            yield stream
            if not is_remote(path):
                stream.flush()
                os.fsync(stream.fileno())
        replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise


def write_bytes(path: str, data: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_writer(path) as stream:
        stream.write(data)


def write_json(path: str, value: Any) -> None:
    """Write JSON atomically, keys sorted, so that equal values give equal bytes."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())


def replace(source: str, target: str) -> None:
    """Rename over whatever stands at the target."""
    if is_remote(target):
        filesystems(target).rename([source], [target])
    else:
        os.replace(source, target)


def remove(path: str) -> None:
    """Remove a file or a folder with all in it; nothing happens where it is not there."""
    if is_remote(path):
        present = [*([path] if exists(path) else []), *below(path)]
        if present:
            filesystems(path).delete(present)
    elif os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)


def relative_name(path: str, root: str) -> str:
    """The path below `root` with forward slashes, the same on every machine that holds the same tree."""
    if is_remote(path):
        return path[len(root.rstrip("/")) + 1 :] if path.startswith(root.rstrip("/") + "/") else path.rsplit("/", 1)[-1]
    return os.path.relpath(path, root).replace(os.sep, "/")


def input_root(pattern: str) -> str:
    """The folder that `source_file` names are relative to: the part of a pattern before its first wildcard."""
    if not is_remote(pattern) and os.path.isdir(pattern):
        return pattern.rstrip("/") or "/"
    head = pattern
    for character in _GLOB_CHARACTERS:
        head = head.split(character, 1)[0]
    if is_remote(pattern):
        return head.rsplit("/", 1)[0]
    return os.path.dirname(head) or "."
