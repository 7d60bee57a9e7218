"""Large files read in parts by many workers: plain or bz2 cut into byte ranges, gzip whole.

A part owns the records that start in it, and its reader goes on past its end to finish the last one, so the records
are the same however a file is cut.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from queries import bzip2
from wit_builder import files
from wit_builder.errors import UserError

_READ = 1 << 20
_LEAST = 64  # bytes of a part: the first one must hold the start of a bz2 file's first block
_RATIO = {"bz2": 4, ".gz": 4}  # decompressed bytes a stored byte, about


@dataclass(frozen=True)
class Part:
    """Bytes start…end of a file, as stored."""

    path: str
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def content_bytes(self) -> int:
        """Bytes when decompressed, about."""
        return self.size * _RATIO.get(self.path[-3:], 1)


def plan(path: str, content_bytes: int, places: Sequence[int] = ()) -> list[Part]:
    """Cut a file into parts of about `content_bytes` decompressed; at the given places only, where there are any."""
    length = files.size(path)
    step = max(_LEAST, content_bytes // _RATIO.get(path[-3:], 1))
    cuts: list[int] = []
    if path.endswith(".gz"):
        pass
    elif places:
        for place in places:
            if place - (cuts[-1] if cuts else 0) >= step and place < length:
                cuts.append(place)
    else:
        cuts = list(range(step, length, step))
    return [Part(path, start, end) for start, end in zip([0, *cuts], [*cuts, length])]


def check_whole(path: str) -> None:
    """Look at a bz2 file's last bytes.

    Raises:
      UserError: where it is cut off.
    """
    if path.endswith(".bz2"):
        with files.open_read(path) as stream:
            stream.seek(max(0, files.size(path) - 64))
            if not bzip2.ends_whole(stream.read()):
                raise UserError("the bz2 file ends too early", where=path, fix="download it again")


def chunks(part: Part) -> Iterator[tuple[bytes, bool]]:
    """Decompressed bytes from the part's start on; False beside what no longer belongs to it.

    Raises:
      UserError: where the file is damaged or ends too early.
    """
    with files.open_read(part.path) as stream:
        if part.path.endswith(".bz2"):
            yield from bzip2.read_blocks(stream, part.start, part.end, part.path)
        elif part.path.endswith(".gz"):
            try:
                with gzip.GzipFile(fileobj=stream) as content:
                    while data := content.read(_READ):
                        yield data, True
            except (OSError, EOFError, zlib.error) as error:
                raise UserError("the gzip file is damaged or ends too early", where=part.path, fix="download it again") from error
        else:
            stream.seek(part.start)
            left = part.size
            while data := stream.read(min(_READ, left) if left > 0 else _READ):
                yield data, left > 0
                left -= len(data)


def lines(pieces: Iterable[tuple[bytes, bool]], first: bool, longest: int) -> Iterator[bytes]:
    """Lines whose preceding line end is the part's own, without their line ends.

    Args:
      pieces: what `chunks` yields.
      first: whether the part is its file's first, which owns the first line too.
      longest: bytes kept of a line that no piece ends.
    """
    rest = b"" if first else None  # the line under way; None before the part's first line end
    for data, own in pieces:
        if rest is None:
            at = data.find(b"\n")
            if not own:
                return
            if at < 0:
                continue
            data, rest = data[at + 1 :], b""
        found = (rest + data).split(b"\n")
        if not own and len(found) > 1:
            yield found[0]
            return
        rest = found.pop()[:longest]
        yield from found
    if rest:
        yield rest
