"""Where every usable sample of the shards stands, and in which order an epoch takes them.

The headers of each tar are read once, before training starts. From then on a sample is two byte ranges, so any rank and any
worker reads exactly its own samples, and the order is a function of the seed and the position alone.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import fsspec
import numpy as np

from trainer.tars import find_tars
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.outputs import sha256_of
from wit_builder.parallel import run_tasks
from wit_builder.progress import progress
from wit_builder.shards import IMAGE_EXTENSIONS
from wit_builder.tables import read_table

MAX_TEXT = 100_000  # bytes; a longer "text" is something else

SAMPLE = np.dtype(
    [
        ("shard", np.int32),  # index into the list of tars
        ("image_at", np.int64),  # bytes from the start of the tar
        ("image_size", np.int32),
        ("text_at", np.int64),
        ("text_size", np.int32),
    ]
)


@dataclass(frozen=True)
class Index:
    """Usable samples of a list of tars.

    Attributes:
      tars: paths, in order.
      samples: SAMPLE [n], in order of tar and place.
      drops: number of samples (or tars) left out, by reason.
    """

    tars: list[str]
    samples: np.ndarray
    drops: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples)

    def per_tar(self) -> list[int]:
        """Usable samples of each tar."""
        return np.bincount(self.samples["shard"], minlength=len(self.tars)).tolist()


def scan_tar(path: str, excluded: Collection[str] = ()) -> tuple[np.ndarray, dict[str, int]]:
    """Usable samples of one tar, SAMPLE [n] with shard 0, and the number of others by reason.

    A tar that breaks off keeps the samples before the break.
    """
    rows: list[tuple] = []
    drops: Counter = Counter()
    key, parts = None, {}

    def close() -> None:
        if key is None:
            return
        image = next((parts[extension] for extension in IMAGE_EXTENSIONS if extension in parts), None)
        text = parts.get("txt")
        if image is None or not image[1]:
            drops["no image"] += 1
        elif text is None or not text[1]:
            drops["no text"] += 1
        elif text[1] > MAX_TEXT:
            drops["text too long"] += 1
        elif excluded and parts.get("uid") in excluded:
            drops["excluded"] += 1
        else:
            rows.append((0, *image, *text))

    try:
        with fsspec.open(path, "rb").open() as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                tar.members = []  # tarfile would keep them all
                if not member.isfile():
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, extension = name.partition(".")
                if (folder, stem) != key:
                    close()
                    key, parts = (folder, stem), {}
                parts[extension.lower()] = (member.offset_data, member.size)
                if excluded and extension.lower() == "json":
                    parts["uid"] = _uid(tar.extractfile(member).read())
            size = stream.seek(0, 2)
        close()
        whole = [row for row in rows if row[1] + row[2] <= size and row[3] + row[4] <= size]
        drops["cut off"] += len(rows) - len(whole)
        rows = whole
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError):
        # What came before the break is whole. The sample at the break is not counted: its key may not even be readable.
        drops["broken tar"] += 1
    return np.array(rows, SAMPLE), {reason: number for reason, number in drops.items() if number}


def _uid(data: bytes) -> str | None:
    try:
        return json.loads(data).get("uid")
    except (ValueError, AttributeError):
        return None


class _Scan:
    """A task's work: path to (path, samples, drops)."""

    def __init__(self, exclude: str) -> None:
        self.exclude = exclude

    def load(self) -> frozenset[str]:
        return frozenset(read_table(self.exclude, ["uid"])["uid"].to_pylist()) if self.exclude else frozenset()

    def __call__(self, excluded: frozenset[str], path: str):
        return path, *scan_tar(path, excluded)


def build_index(patterns: Sequence[str], exclude: str = "", processes: int = 1, keep: str = "") -> Index:
    """The preflight: finds the tars and reads their headers.

    Args:
      patterns: folders, patterns or paths, local or of any fsspec filesystem.
      exclude: Parquet file with a `uid` column; those samples are left out.
      processes: local processes that read headers.
      keep: path, without its suffix, of two files that keep the index: the next time, only tars that are new or have
        changed are read.

    Raises:
      UserError: where no usable sample is found, with the reasons.
    """
    tars, unfinished = find_tars(patterns)
    scan = _Scan(exclude)
    scan.load()  # a wrong --exclude is told before any process starts
    excluding = sha256_of(exclude) if exclude else ""
    found = _kept(keep, tars, excluding) if keep else {}
    todo = [tar for tar in tars if tar not in found]
    if todo:
        with progress("preflight", len(todo), "shard") as line:
            for tar, samples, reasons in run_tasks(scan, todo, processes if len(todo) > 8 else 1):
                found[tar] = samples, reasons
                line.update()
    drops: Counter = Counter({"unfinished shard": unfinished} if unfinished else {})
    for tar in tars:
        drops.update(found[tar][1])
    samples = np.concatenate([found[tar][0] for tar in tars]) if tars else np.empty(0, SAMPLE)
    if not len(samples):
        told = ", ".join(f"{number} {reason}" for reason, number in sorted(drops.items())) or "they are empty"
        raise UserError(
            f"no usable sample in {len(tars)} tars: {told}",
            where=" ".join(patterns),
            fix="samples are KEY.jpg (or png, webp) with KEY.txt",
        )
    counts = [len(found[tar][0]) for tar in tars]
    samples["shard"] = np.repeat(np.arange(len(tars)), counts)
    if keep and todo:
        with files.atomic_writer(keep + ".npy") as stream:
            np.save(stream, samples)
        listed = [[tar, tars[tar], count, found[tar][1]] for tar, count in zip(tars, counts)]
        files.write_json(keep + ".json", {"excluding": excluding, "tars": listed})
    return Index(list(tars), samples, dict(sorted(drops.items())))


def _load(path: str) -> np.ndarray:
    if not files.is_remote(path):
        return np.load(path, mmap_mode="r", allow_pickle=False)  # it may be gigabytes, of which a copy is made anyway
    return np.load(io.BytesIO(files.read_bytes(path)), allow_pickle=False)


def _kept(keep: str, tars: Mapping[str, str], excluding: str) -> dict[str, tuple[np.ndarray, dict[str, int]]]:
    """Samples and drops of the tars that are as they were when the index was kept; empty where it is not there or not whole."""
    try:
        about = files.read_json(keep + ".json")
        samples = _load(keep + ".npy")
        counts = [count for _, _, count, _ in about["tars"]]
        if about["excluding"] != excluding or samples.dtype != SAMPLE or len(samples) != sum(counts):
            return {}
        starts = np.cumsum([0, *counts])
        return {
            tar: (samples[start : start + count], drops)
            for (tar, stamp, count, drops), start in zip(about["tars"], starts.tolist())
            if tars.get(tar) == stamp
        }
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return {}


_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)


def mix(values: np.ndarray, salt: int) -> np.ndarray:
    """Well-mixed uint64 of uint64 values (splitmix64's finaliser), another for each salt."""
    with np.errstate(over="ignore"):
        x = values.astype(np.uint64) + np.uint64(salt & (2**64 - 1))
        x = (x ^ (x >> np.uint64(30))) * _MULTIPLIER
        x = (x ^ (x >> np.uint64(27))) * _MULTIPLIER_2
        return x ^ (x >> np.uint64(31))


def permute(positions: np.ndarray, size: int, salt: int) -> np.ndarray:
    """Where each position of 0…size−1 goes in a pseudo-random order of that many things, in memory of O(positions).

    A Feistel network permutes the next larger power of four; a result outside is permuted again until it is inside.
    """
    half = max((size - 1).bit_length() + 1, 2) // 2
    mask = np.uint64((1 << half) - 1)
    shift = np.uint64(half)
    result = positions.astype(np.uint64)
    outside = np.ones(len(result), bool)
    while outside.any():
        left, right = result[outside] >> shift, result[outside] & mask
        for turn in range(4):
            left, right = right, left ^ (mix(right, salt + turn * 0x9E3779B97F4A7C15) & mask)
        result[outside] = (left << shift) | right
        outside &= result >= size
    return result.astype(np.int64)
