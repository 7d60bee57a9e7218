"""Tars of evaluation sets in CLIP_benchmark's layout: read with care, written the same on every machine.

A sample is a run of members that share a key: KEY.jpg (or png, webp, …) with KEY.cls (a class number in ASCII), KEY.npy
(a multi-hot vector, for several labels), KEY.txt (captions, one a line) and KEY.json (columns, such as a clip or groups).
"""

from __future__ import annotations

import io
import json
import math
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wit_builder import files

IMAGE_SUFFIXES = ("webp", "png", "jpg", "jpeg", "gif", "bmp", "tif", "tiff", "ppm", "pgm")  # the first found is taken
MAX_IMAGE_BYTES = 64 << 20
MAX_OTHER_BYTES = 1 << 20
CLIP_COLUMN = "clip"  # the column of KEY.json that says which clip a frame belongs to


@dataclass(frozen=True)
class Example:
    """One image of an evaluation set.

    Attributes:
      eval_key: `split/tar/key`, or the path below the set's folder; unique in its set.
      image: the file's bytes, not yet decoded.
      label: class number, or None where the set gives none or several.
      labels: all class numbers, ascending; empty where the set gives none.
      captions: texts that describe the image, for retrieval.
      clip: names the video that this frame belongs to; empty for an image of its own.
      columns: what KEY.json says, scalars only.
      offset: where the image's bytes stand in its tar, in bytes; -1 for a file of its own.
    """

    eval_key: str
    image: bytes = field(repr=False)
    label: int | None = None
    labels: tuple[int, ...] = ()
    captions: tuple[str, ...] = ()
    clip: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)
    offset: int = -1


class Skipped:
    """What could not be used: a count for each reason, and the first names."""

    NAMED = 100

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.named: list[dict[str, str]] = []

    def add(self, reason: str, eval_key: str) -> None:
        """Count one more; it is named while there are fewer than `NAMED`."""
        self.counts[reason] += 1
        if len(self.named) < self.NAMED:
            self.named.append({"eval_key": eval_key, "reason": reason})

    def __len__(self) -> int:
        return self.counts.total()


_BROKEN = re.compile("[\0\ud800-\udfff]")
_MEMBER = re.compile(r"((?:.*/|)[^./][^.]*)\.([^/]*)", re.DOTALL)  # webdataset's rule: the key ends at the name's first dot

_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def safe_name(name: str) -> str:
    """A name from a tar or a disk as valid UTF-8: NUL and bytes that are none become U+FFFD."""
    return _BROKEN.sub("\ufffd", name)


def read_tar(path: str, tar_key: str, classes: int | None, skipped: Skipped) -> Iterator[Example]:
    """Examples of one tar, in its order, holding one sample in memory.

    Nothing in it is trusted: names are never used as paths, only plain members are read, sizes are bounded. What cannot be
    used goes to `skipped`; a tar that breaks off gives what came before.

    Args:
      path: the tar.
      tar_key: `split/tar`, the head of its eval_keys.
      classes: labels must lie below this; None takes any.
      skipped: what could not be used.
    """
    seen: set[str] = set()
    for key, parts, offsets in _samples(path, tar_key, skipped):
        eval_key = f"{tar_key}/{safe_name(key)}"
        if eval_key in seen:
            skipped.add("repeated key", eval_key)
            continue
        seen.add(eval_key)
        made = _example(eval_key, parts, offsets, classes)
        if isinstance(made, str):
            skipped.add(made, eval_key)
        else:
            yield made


def _samples(path: str, tar_key: str, skipped: Skipped) -> Iterator[tuple[str, dict[str, bytes | None], dict[str, int]]]:
    """Runs of members with one key: suffix to bytes, None where the member is too large to read; and suffix to place in the tar."""
    current, parts, offsets = "", {}, {}
    with files.open_read(path) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as tar:
                for member in tar:
                    tar.members = []  # or the list of all headers stays in memory
                    named = _MEMBER.fullmatch(member.name)
                    if not named or not member.isreg() or member.issparse():
                        continue
                    key, suffix = named.group(1), named.group(2).lower()
                    if key != current:
                        if parts:
                            yield current, parts, offsets
                        current, parts, offsets = key, {}, {}
                    limit = MAX_IMAGE_BYTES if suffix in IMAGE_SUFFIXES else MAX_OTHER_BYTES
                    if suffix not in parts:
                        offsets[suffix] = member.offset_data
                        parts[suffix] = _payload(tar, member) if member.size <= limit else None
        except (tarfile.TarError, EOFError, ValueError, OverflowError, KeyError, IndexError):
            # tarfile lets some of a hostile header's errors through as they are.
            skipped.add("broken tar", tar_key)
            return
    if parts:
        yield current, parts, offsets


def _payload(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    data = stream.read() if stream else b""
    if len(data) != member.size:
        raise EOFError("the tar ends within a member")
    return data


def _example(eval_key: str, parts: Mapping[str, bytes | None], offsets: Mapping[str, int], classes: int | None) -> Example | str:
    """The example, or the reason why there is none."""
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if suffix in parts), None)
    if suffix is None:
        return "no image"
    if any(data is None for data in parts.values()):
        return "too large"
    image = parts[suffix]
    if not image:
        return "empty image"
    label, labels = None, ()
    try:
        if "cls" in parts:
            label = int(parts["cls"].decode("ascii"))
            labels = (label,)
        elif "npy" in parts:
            labels = _multi_hot(parts["npy"])
        columns = json.loads(parts["json"]) if "json" in parts else {}
    except (ValueError, RecursionError):
        return "bad label or columns"
    if any(number < 0 or (classes is not None and number >= classes) for number in labels):
        return "label out of range"
    if not isinstance(columns, dict):
        return "bad label or columns"
    columns = {safe_name(name): value for name, value in columns.items() if isinstance(value, (str, int, float, bool))}
    columns = {name: safe_name(value) if isinstance(value, str) else value for name, value in columns.items()}
    captions = parts.get("txt", b"").decode("utf-8", "replace").replace("\0", "\ufffd").splitlines()
    return Example(
        eval_key,
        image,
        label,
        labels,
        tuple(line.strip() for line in captions if line.strip()),
        str(columns.get(CLIP_COLUMN, "")),
        columns,
        offsets[suffix],
    )


def _multi_hot(data: bytes) -> tuple[int, ...]:
    """Class numbers of a NumPy file that holds a vector of zeros and ones; nothing in it is unpickled."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = _READ_HEADER[version](stream)
    except Exception as error:  # NumPy parses the header as Python: damage raises SyntaxError, TokenError and others
        raise ValueError("not a NumPy file") from error
    # The shape is checked before anything is allocated for it.
    if len(shape) != 1 or dtype.kind not in "buif" or math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise ValueError("not a plain vector")
    return tuple(np.flatnonzero(np.frombuffer(data, dtype, offset=stream.tell()) > 0).tolist())


def multi_hot_file(labels: Sequence[int], classes: int) -> bytes:
    """A NumPy file with a vector uint8 [classes] that is one at each label: how several labels are stored."""
    vector = np.zeros(classes, np.uint8)
    vector[list(labels)] = 1
    stream = io.BytesIO()
    np.save(stream, vector, allow_pickle=False)
    return stream.getvalue()


def write_tar(path: str, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> int:
    """Write samples (key, suffix to bytes) as one tar, atomically; owner, mode and time are pinned. Returns their number."""
    count = 0
    with files.atomic_writer(path) as stream, tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for key, parts in samples:
            for suffix, data in parts.items():
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
            count += 1
    return count
