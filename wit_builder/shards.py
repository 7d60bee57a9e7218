"""Shards in img2dataset's layout, so that webdataset, open_clip and DataComp's tools read them unchanged.

`00000.tar` holds KEY.jpg, KEY.txt and KEY.json of every pair whose image was saved; `00000.parquet` a row for every pair
tried; `00000_stats.json` the counts. KEY is five digits of the shard and four of the pair's place in it.

The statistics are written last and hold the SHA-256 of the other two: they are the commit. A tar or Parquet file
that does not match its statistics, or has none, belongs to an attempt that ended early; it is not read and is made again.
Tar headers hold no time, owner or other trace of the machine, and the order is that of the rows.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pyarrow as pa

from wit_builder import files
from wit_builder.braces import expand_braces
from wit_builder.errors import UserError
from wit_builder.hashing import pair_uid
from wit_builder.outputs import sha256_of
from wit_builder.records import SHARD_ROWS
from wit_builder.tables import parquet_bytes

MAX_ROWS = 10_000  # four digits of the key
MAX_SHARDS = 100_000  # five digits

SUCCESS = "success"
FAILED_DOWNLOAD = "failed_to_download"
FAILED_RESIZE = "failed_to_resize"

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")

_BLOCK = tarfile.BLOCKSIZE
_RECORD = tarfile.RECORDSIZE


@dataclass(frozen=True, order=True)
class ShardPaths:
    """The three files of one shard; `name` is its number as it stands in the file names."""

    name: str
    tar: str
    parquet: str
    stats: str


@dataclass(frozen=True)
class Sample:
    """One image with its text, as stored.

    Attributes:
      key: nine digits, unique in the data set.
      uid: name of the pair (`wit_builder.hashing.pair_uid`).
      image: encoded bytes.
      text: the alt text.
      metadata: what KEY.json holds.
    """

    key: str
    uid: str
    image: bytes
    text: str
    metadata: dict[str, Any]


@dataclass
class ShardRow:
    """One pair that was tried, and its image where it was saved.

    Attributes:
      uid, url, text, query_ids: of the pair.
      status: `success`, `failed_to_download` or `failed_to_resize`, as img2dataset names them.
      error_message: a short fixed reason; None for a success.
      image: the encoded bytes to store, None unless a success.
      width, height: of the stored image, in pixels.
      original_width, original_height: of the downloaded image as it is meant to be seen, in pixels.
      sha256: of the bytes as downloaded, in hex.
      exif: the downloaded image's EXIF fields, where they were asked for.
      more: other columns of the pair's table, kept by name.
    """

    uid: str
    url: str
    text: str
    query_ids: list[int] = field(default_factory=list)
    status: str = FAILED_DOWNLOAD
    error_message: str | None = None
    image: bytes | None = None
    width: int | None = None
    height: int | None = None
    original_width: int | None = None
    original_height: int | None = None
    sha256: str | None = None
    exif: dict[str, str] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


def shard_paths(folder: str, number: int) -> ShardPaths:
    """Where a shard's files stand in an output folder.

    Raises:
      UserError: where the number does not fit five digits.
    """
    if not 0 <= number < MAX_SHARDS:
        raise UserError(f"shard {number} does not fit five digits", where=folder, fix="use more pairs per shard, or a second folder")
    return _named(files.join(folder, f"{number:05d}"))


def _named(stem: str) -> ShardPaths:
    return ShardPaths(stem.replace(os.sep, "/").rsplit("/", 1)[-1], stem + ".tar", stem + ".parquet", stem + "_stats.json")


def sample_key(number: int, row: int) -> str:
    """KEY of the pair at place `row` of shard `number`."""
    return f"{number:05d}{row:04d}"


def is_whole(shard: ShardPaths, *, check_hashes: bool = True) -> bool:
    """Whether a shard's files are all there and match its statistics.

    `check_hashes` reads both files; without it the recorded sizes have to do. Shards of img2dataset, whose
    statistics hold neither, count as whole when all three files are there.
    """
    if not all(files.exists(path) for path in (shard.tar, shard.parquet, shard.stats)):
        return False
    try:
        stats = json.loads(files.read_bytes(shard.stats))
    except (ValueError, RecursionError):
        return False
    if not isinstance(stats, dict):
        return False
    for kind, path in (("tar", shard.tar), ("parquet", shard.parquet)):
        if stats.get(f"{kind}_bytes", (size := files.size(path))) != size:
            return False
        if check_hashes and f"{kind}_sha256" in stats and stats[f"{kind}_sha256"] != sha256_of(path):
            return False
    return True


def find_shards(path_or_pattern: str, *, check_hashes: bool = False) -> list[ShardPaths]:
    """Whole shards in a folder, or those whose tars a pattern names, in order of their paths.

    Raises:
      UserError: where there is none.
    """
    pattern = path_or_pattern
    if not pattern.endswith(".tar"):
        pattern = files.join(pattern, "*.tar")
    tars = [path for each in expand_braces(pattern) for path in files.match(each) if path.endswith(".tar")]
    found = [shard for tar in tars if is_whole(shard := _named(tar.removesuffix(".tar")), check_hashes=check_hashes)]
    if not found:
        seen = f"{len(tars)} tar files, none with matching statistics beside it" if tars else "no shards there"
        raise UserError(seen, where=path_or_pattern, fix="give the output folder of download_images, or a pattern such as 'DIR/*.tar'")
    return found


def read_stats(shard: ShardPaths) -> dict[str, Any]:
    """Statistics of a shard. Raises as `files.read_object` does."""
    return files.read_object(shard.stats)


def read_samples(shard: ShardPaths) -> Iterator[Sample]:
    """Samples of one shard, in order.

    Raises:
      UserError: where the tar is broken.
    """
    try:
        with files.open_read(shard.tar) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            key, parts = "", {}
            for member in tar:
                if not member.isfile():
                    continue
                name, _, extension = member.name.rsplit("/", 1)[-1].partition(".")
                if name != key:
                    if parts:
                        yield _sample(key, parts)
                    key, parts = name, {}
                parts[extension.lower()] = tar.extractfile(member).read()
            if parts:
                yield _sample(key, parts)
    except (tarfile.TarError, EOFError, KeyError, ValueError) as error:
        raise UserError(f"not a whole shard ({error})", where=shard.tar, fix="run download_images again on its folder") from error


def _sample(key: str, parts: Mapping[str, bytes]) -> Sample:
    metadata = json.loads(parts["json"]) if "json" in parts else {}
    text = parts["txt"].decode("utf-8", "replace") if "txt" in parts else metadata.get("caption") or ""
    uid = metadata.get("uid") or pair_uid(metadata.get("url") or key, text)
    image = next((parts[extension] for extension in IMAGE_EXTENSIONS if extension in parts), None)
    if image is None:
        raise KeyError(f"no image at key {key}")
    return Sample(key, uid, image, text, metadata)


class _Hashed:
    """Passes bytes on to a stream, and keeps their number and SHA-256."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.bytes = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.stream.write(data)
        self.digest.update(data)
        self.bytes += len(data)


def _add(stream: _Hashed, name: str, data: bytes) -> int:
    """Append a member, and return where its payload begins."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    stream.write(member.tobuf(tarfile.USTAR_FORMAT))
    offset = stream.bytes
    stream.write(data)
    stream.write(bytes(-len(data) % _BLOCK))
    return offset


def _metadata(row: ShardRow, key: str) -> bytes:
    values = {
        "caption": row.text,
        "url": row.url,
        "key": key,
        "status": row.status,
        "error_message": row.error_message,
        "width": row.width,
        "height": row.height,
        "original_width": row.original_width,
        "original_height": row.original_height,
        "sha256": row.sha256,
        "uid": row.uid,
        "query_ids": list(row.query_ids),
    }
    if row.exif is not None:
        values["exif"] = row.exif
    return json.dumps({**row.more, **values}, ensure_ascii=False).encode()


def other_columns(schema: pa.Schema, names: Iterable[str]) -> pa.Schema:
    """The columns of a table beside those named."""
    return pa.schema([column.remove_metadata() for column in schema if column.name not in set(names)])


def write_shard(
    folder: str,
    number: int,
    rows: Iterable[ShardRow],
    *,
    extension: str = "jpg",
    more: Mapping[str, Any] | None = None,
    kept: pa.Schema = pa.schema([]),
) -> dict[str, Any]:
    """Write one shard, in the order of the rows, and return its statistics.

    All three files are whole under their final names; the statistics come last.

    Args:
      folder: the output folder.
      number: of the shard.
      rows: every pair tried, at most `MAX_ROWS`; taken one at a time, so images need not all be in memory.
      extension: of the stored images.
      more: further statistics, JSON values.
      kept: columns that the rows hold in `more`; they follow ours in the Parquet file.

    Raises:
      UserError: where there are too many rows.
    """
    shard = shard_paths(folder, number)
    schema = pa.schema([*SHARD_ROWS, *kept])
    columns: dict[str, list] = {name: [] for name in schema.names}
    statuses: Counter = Counter()
    outcomes: Counter = Counter()
    with files.atomic_writer(shard.tar) as target:
        stream = _Hashed(target)
        for index, row in enumerate(rows):
            if index >= MAX_ROWS:
                raise UserError(f"more than {MAX_ROWS} pairs in one shard", where=shard.tar)
            key = sample_key(number, index)
            offset = None
            if row.image is not None:
                offset = _add(stream, f"{key}.{extension}", row.image)
                _add(stream, f"{key}.txt", row.text.encode())
                _add(stream, f"{key}.json", _metadata(row, key))
            statuses[row.status] += 1
            outcomes[row.error_message or row.status] += 1
            size = None if row.image is None else len(row.image)
            values = {**vars(row), "caption": row.text, "key": key, "tar_offset": offset, "tar_size": size, **row.more}
            for name, column in columns.items():
                column.append(values[name])
        stream.write(bytes(2 * _BLOCK))
        stream.write(bytes(-stream.bytes % _RECORD))
    table = parquet_bytes(pa.table(columns, schema=schema))
    files.write_bytes(shard.parquet, table)
    stats = {
        "count": sum(statuses.values()),
        "successes": statuses[SUCCESS],
        "failed_to_download": statuses[FAILED_DOWNLOAD],
        "failed_to_resize": statuses[FAILED_RESIZE],
        "status_dict": dict(outcomes),
        "tar_bytes": stream.bytes,
        "tar_sha256": stream.digest.hexdigest(),
        "parquet_bytes": len(table),
        "parquet_sha256": hashlib.sha256(table).hexdigest(),
        **(more or {}),
    }
    files.write_json(shard.stats, stats)
    return stats


def read_image(stream: BinaryIO, tar_offset: int, tar_size: int) -> bytes:
    """One stored image out of an open tar, by the offsets that the Parquet file holds."""
    stream.seek(tar_offset, io.SEEK_SET)
    return stream.read(tar_size)
