"""Records of WARC and WAT files, gzip member by gzip member, so that what is broken costs nothing but itself.

FastWARC's own iterator ends at the first fault, and does not notice a file that was cut off inside a record which
nobody reads. Here every member is inflated on its own and every record's length is checked against what follows it;
FastWARC parses the whole records. A fault is reported with its place, and reading goes on at the next member, or
within one at the next `WARC/`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from fastwarc.warc import WarcRecord
from zlib_ng import zlib_ng

BLOCK = 1 << 18  # bytes read from the file at once
INFLATED = 1 << 20  # bytes inflated at once
MAX_BODY = 16 << 20  # bytes of a record that are kept: pages are far smaller, and Common Crawl cuts them far earlier
MAX_HEADER = 1 << 16
BOMB, BOMB_RATIO = 64 << 20, 200  # a member that inflates to more bytes than this, and this many times its size, is broken
RESCAN = 64 << 20  # bytes of one file that may be read again in search of the next member

CUT_OFF, BROKEN_MEMBER, BROKEN_RECORD = "cut off", "broken gzip member", "broken record"

_GZIP = b"\x1f\x8b\x08"
_BLANK = re.compile(rb"[\r\n]*")
_HEADER = re.compile(rb"WARC/\d.*?\r?\n\r?\n", re.DOTALL)
_NEXT = re.compile(rb"\n(?=WARC/[01]\.\d+[ \t]*\r?\n)")
_TYPE = re.compile(rb"\nWARC-Type:[ \t]*([\w-]+)", re.IGNORECASE)
_LENGTH = re.compile(rb"\nContent-Length:[ \t]*(\d{1,15})[ \t]*\r?\n", re.IGNORECASE)


class NotAnArchive(ValueError):
    """The file does not begin as a WARC file does."""


class Record(NamedTuple):
    """A whole record: where it stands (of its gzip member, in bytes from the file's start), and whether its end was left out."""

    offset: int
    record: WarcRecord
    cut: bool


def read_records(
    stream: BinaryIO, kinds: frozenset[bytes], on_fault: Callable[[str, int], None], max_body: int = MAX_BODY
) -> Iterator[Record]:
    """Records of the wanted kinds (values of WARC-Type, in lower case), in order, from a seekable stream.

    Args:
      on_fault: called with what is broken and its offset in bytes; what was read before has been given by then.

    Raises:
      NotAnArchive: where the stream holds no WARC record at its start.
    """
    file = _File(stream)
    if file.peek(3) != _GZIP:
        if not _BLANK.sub(b"", file.peek(64), count=1).startswith(b"WARC/"):
            raise NotAnArchive
        yield from _Records(_Plain(file), 0, kinds, on_fault, max_body)
        return
    first = True
    rescan = RESCAN
    while file.peek(1):
        start = file.position
        member = _Member(file)
        try:
            if first and not _BLANK.sub(b"", member.start(64), count=1).startswith(b"WARC/"):
                raise NotAnArchive
            first = False
            yield from _Records(member, start, kinds, on_fault, max_body)
            while member.read():
                pass
        except zlib_ng.error as error:
            if first:
                raise NotAnArchive from error
            on_fault(BROKEN_MEMBER, start)
            failed = file.position
            rescan -= failed - start
            file.seek(start + 1 if rescan > 0 else failed)
        if member.cut:
            on_fault(CUT_OFF, start)
            return
        file.skip_zeros()
        if file.peek(3) != _GZIP:
            if file.peek(1) and member.ended:
                on_fault(BROKEN_MEMBER, file.position)
            _seek_member(file)


def _seek_member(file: _File) -> None:
    """Go to the next place that inflates to the start of a record, or to the end of the file."""
    while file.find(_GZIP):
        place = file.position
        try:
            member = _Member(file)
            if _BLANK.sub(b"", member.start(64), count=1).startswith(b"WARC/"):
                file.seek(place)
                return
        except zlib_ng.error:
            pass
        file.seek(place + 1)


class _File:
    """A file read forward in blocks, that can look ahead and go back."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.ahead = b""  # read, not yet taken
        self.end = 0  # where the next block begins

    @property
    def position(self) -> int:
        return self.end - len(self.ahead)

    def _more(self) -> bool:
        block = self.stream.read(BLOCK)
        self.ahead += block
        self.end += len(block)
        return bool(block)

    def take(self) -> bytes:
        """The next bytes, however many are at hand; empty at the end."""
        if not self.ahead:
            self._more()
        taken, self.ahead = self.ahead, b""
        return taken

    def give_back(self, data: bytes) -> None:
        """Undo a part of the last `take`."""
        self.ahead = data

    def peek(self, size: int) -> bytes:
        while len(self.ahead) < size and self._more():
            pass
        return self.ahead[:size]

    def seek(self, position: int) -> None:
        if self.position <= position <= self.end:
            self.ahead = self.ahead[position - self.position :]
        else:
            self.stream.seek(position)
            self.ahead, self.end = b"", position

    def skip_zeros(self) -> None:
        while self.peek(1) == b"\0":
            self.ahead = self.ahead.lstrip(b"\0")

    def find(self, wanted: bytes) -> bool:
        """Go to the next place that holds `wanted`; to the end of the file where there is none."""
        while True:
            place = self.ahead.find(wanted)
            if place >= 0:
                self.ahead = self.ahead[place:]
                return True
            self.ahead = self.ahead[-(len(wanted) - 1) :]
            if not self._more():
                self.ahead = b""
                return False


class _Member:
    """One gzip member, inflated as it is read. `ended`: to its end, checksum right; `cut`: the file ended first."""

    def __init__(self, file: _File) -> None:
        self.file, self.inflater = file, zlib_ng.decompressobj(31)
        self.ahead = b""
        self.begin, self.inflated = file.position, 0
        self.ended = self.cut = False

    def start(self, size: int) -> bytes:
        """The first bytes, to look at; `read` gives them again."""
        while len(self.ahead) < size:
            data = self._inflate()
            if not data:
                break
            self.ahead += data
        return self.ahead[:size]

    def read(self) -> bytes:
        """The next bytes; empty at the end. Raises zlib_ng.error where the member is broken."""
        if self.ahead:
            data, self.ahead = self.ahead, b""
            return data
        return self._inflate()

    def _inflate(self) -> bytes:
        while not (self.ended or self.cut):
            if self.inflated > max(BOMB, BOMB_RATIO * (self.file.position - self.begin)):
                raise zlib_ng.error("inflates without end")
            compressed = self.inflater.unconsumed_tail or self.file.take()
            if not compressed:
                self.cut = True
                break
            data = self.inflater.decompress(compressed, INFLATED)
            self.inflated += len(data)
            if self.inflater.eof:
                self.ended = True
                self.file.give_back(self.inflater.unused_data)
            if data:
                return data
        return b""


class _Plain:
    """A file that is not compressed."""

    cut = False

    def __init__(self, file: _File) -> None:
        self.file = file

    def read(self) -> bytes:
        return self.file.take()


class _Records:
    """The records of one gzip member, or of a file that is not compressed."""

    def __init__(self, source: _Member | _Plain, start: int, kinds, on_fault, max_body: int) -> None:
        self.source, self.start, self.kinds, self.on_fault, self.max_body = source, start, kinds, on_fault, max_body
        self.data, self.place = b"", 0  # what is at hand, and how much of it is used
        self.before = 0  # bytes of the source before `data`

    def __iter__(self) -> Iterator[Record]:
        while self._next_line():
            begin = self.before + self.place  # within the source
            offset = begin if isinstance(self.source, _Plain) else self.start
            header = self._header()
            length = _LENGTH.search(header)
            kind = _TYPE.search(header)
            record = b""
            whole = False
            if length and kind:
                size, wanted = int(length[1]), kind[1].lower() in self.kinds
                kept = min(size, self.max_body if wanted else INFLATED)
                whole = self._have(len(header) + kept)
                record = self.data[self.place : self.place + len(header) + kept]
                self.place += len(record)
                # A record counts as whole only once the end or another record follows it.
                whole = whole and self._skip(size - kept) and (not self._next_line() or self.data.startswith(b"WARC/", self.place))
            if whole:
                if wanted:
                    yield Record(offset, WarcRecord.from_bytes(record), size > kept)
                continue
            short = not self._have(1)
            if short and self.source.cut:
                return
            found = self._seek_record(begin, record)
            self.on_fault(CUT_OFF if short and not found and isinstance(self.source, _Plain) else BROKEN_RECORD, offset)

    def _have(self, size: int) -> bool:
        """Whether `size` unused bytes are at hand, reading on where they are not."""
        if len(self.data) - self.place >= size:
            return True
        pieces = [self.data[self.place :]]
        self.before += self.place
        self.place, there = 0, len(pieces[0])
        while there < size and (piece := self.source.read()):
            pieces.append(piece)
            there += len(piece)
        self.data = b"".join(pieces)
        return there >= size

    def _next_line(self) -> bool:
        """Skip blank lines; whether anything follows."""
        while self._have(1):
            self.place = _BLANK.match(self.data, self.place).end()
            if self.place < len(self.data):
                self._have(5)
                return True
        return False

    def _header(self) -> bytes:
        """The WARC header at hand with its empty line; empty where there is none."""
        size = 1024
        while True:
            whole = self._have(size)
            found = _HEADER.match(self.data, self.place, self.place + MAX_HEADER)
            if found or not whole or size >= MAX_HEADER or not self.data.startswith(b"WARC/", self.place):
                return found[0] if found else b""
            size *= 4

    def _skip(self, size: int) -> bool:
        while size > 0:
            if not self._have(1):
                return False
            step = min(size, len(self.data) - self.place)
            self.place += step
            size -= step
        return True

    def _seek_record(self, begin: int, record: bytes) -> bool:
        """Go to the next record after the one that begins at `begin` in the source; False, and to the end, where there is none."""
        if isinstance(self.source, _Plain):
            self.source.file.seek(begin + 1)
            self.data, self.place, self.before = b"", 0, begin + 1
        elif record:
            self.data, self.place = record[1:] + self.data[self.place :], 0
        while True:
            found = _NEXT.search(self.data, self.place)
            if found:
                self.place = found.end()
                return True
            self.place = max(self.place, len(self.data) - 32)
            if not self._have(len(self.data) - self.place + 1):
                self.place = len(self.data)
                return False
