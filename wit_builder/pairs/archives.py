"""Records of WARC and WAT files, gzip member by gzip member, so that what is broken costs nothing but itself.

FastWARC's own iterator ends at the first fault, and does not notice a file that was cut off inside a record which
nobody reads. Here every member is inflated on its own and every record's length is checked against what follows it;
FastWARC parses those whose HTTP headers are wanted. A fault is reported with its place, and reading goes on at the next
member, or within one at the next `WARC/`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from fastwarc.warc import WarcRecord
from isal import isal_zlib

BLOCK = 1 << 16  # bytes read from the file at once
INFLATED = 1 << 20  # bytes inflated at once
MAX_BODY = 16 << 20  # bytes of a record that are kept: pages are far smaller, and Common Crawl cuts them far earlier
MAX_HEADER = 1 << 16
BOMB, BOMB_RATIO = 64 << 20, 200  # a member that inflates to more bytes than this, and this many times its size, is broken
RESCAN = 256 << 20  # bytes that may be inflated again in search of the next member, in a file made of faults
RETURNS = 4  # times that an uncompressed file is read again from where a record claimed a wrong, large size

CUT_OFF, BROKEN_MEMBER, BROKEN_RECORD = "cut off", "broken gzip member", "broken record"

_GZIP = b"\x1f\x8b\x08"
_BLANK = re.compile(rb"[\r\n]*")
_VERSION = rb"WARC/[01]\.\d+[ \t]*\r?\n"
_BEGIN, _NEXT = re.compile(_VERSION), re.compile(rb"\n(?=" + _VERSION + rb")")
_HEADER_END = re.compile(rb"\n\r?\n")
_TYPE = re.compile(rb"\nWARC-Type:[ \t]*([\w-]+)", re.IGNORECASE)
_LENGTH = re.compile(rb"\nContent-Length:[ \t]*(\d{1,15})[ \t]*\r?\n", re.IGNORECASE)


class NotAnArchive(ValueError):
    """The file does not begin as a WARC file does."""


class Record(NamedTuple):
    """A whole record.

    Attributes:
      offset: where it stands, or its gzip member, in bytes from the file's start.
      kind: its WARC-Type, in lower case.
      header: the WARC header with its empty line.
      body: what follows.
      cut: whether the body's end was left out.
    """

    offset: int
    kind: bytes
    header: bytes
    body: bytes
    cut: bool

    def with_body(self, body: bytes) -> Record:
        """The same with another body."""
        length = b"\nContent-Length: %d\r\n" % len(body)
        return self._replace(header=_LENGTH.sub(length, self.header, count=1), body=body)

    def parse(self) -> WarcRecord:
        """Itself as FastWARC has it.

        Raises:
          ValueError: where FastWARC does not accept its header.
        """
        try:
            return WarcRecord.from_bytes(self.header + self.body)
        except OSError as error:
            raise ValueError(str(error)) from error


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
    if not _begins_record(file):
        _seek_member(file)
        if not file.peek(1):
            raise NotAnArchive
        on_fault(BROKEN_MEMBER, 0)
    rescan = RESCAN
    while start_bytes := file.peek(3):
        start = file.position
        if start_bytes != _GZIP:
            _seek_member(file)
            at_end = not file.peek(1)
            on_fault(CUT_OFF if at_end and _GZIP.startswith(start_bytes) else BROKEN_MEMBER, start)
            continue
        whole = _small_member(file, max_body)
        if whole is not None:
            if whole.kind in kinds:
                yield whole
            continue
        member = _Member(file)
        broken = False
        try:
            yield from _Records(member, start, kinds, on_fault, max_body)
            while member.read():
                pass
        except isal_zlib.error:
            broken = True
        if broken or member.cut:
            # A broken member may run on through those after it before that shows, even to the end of the file.
            rescan -= 4096 + member.inflated + max(0, file.position - start - BLOCK)
            if rescan > 0 and not member.bomb:
                file.seek(start + 1)
            _seek_member(file)
            on_fault(BROKEN_MEMBER if broken or file.peek(1) else CUT_OFF, start)
        else:
            file.skip_zeros()


def _small_member(file: _File, max_body: int) -> Record | None:
    """The record of a member that holds one sound record and little else, as nearly all do; and go past it.

    None, and nothing moved, where there is more to it.
    """
    inflater, start = isal_zlib.decompressobj(31), file.position
    try:
        data = inflater.decompress(file.ahead, min(INFLATED, max_body))
        if not inflater.eof and not inflater.unconsumed_tail and (block := file.more()):
            data += inflater.decompress(block, max(1, min(INFLATED, max_body) - len(data)))
    except isal_zlib.error:
        return None
    end = _HEADER_END.search(data) if inflater.eof and _BEGIN.match(data) else None
    if not end:
        return None
    header = data[: end.end()]
    length, kind = _LENGTH.search(header), _TYPE.search(header)
    if not (length and kind) or len(header) + int(length[1]) + 4 != len(data) or not data.endswith(b"\r\n\r\n"):
        return None
    file.give_back(inflater.unused_data)
    file.skip_zeros()
    return Record(start, kind[1].lower(), header, data[len(header) : -4], False)


def _begins_record(file: _File) -> bool:
    """Whether the gzip member here inflates to the start of a record, or the file ends before that shows."""
    compressed = file.peek(4096)
    try:
        start = isal_zlib.decompressobj(31).decompress(compressed, 64)
    except isal_zlib.error:
        return False
    return _BLANK.sub(b"", start, count=1).startswith(b"WARC/") or (not start and len(compressed) < 18)


def _seek_member(file: _File) -> None:
    """Go to the next place that inflates to the start of a record, or to the end of the file."""
    while file.find(_GZIP):
        if _begins_record(file):
            return
        file.seek(file.position + 1)


class _File:
    """A file read forward in blocks, that can look ahead and go back."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.ahead = b""  # read, not yet taken
        self.end = 0  # where the next block begins

    @property
    def position(self) -> int:
        return self.end - len(self.ahead)

    def more(self) -> bytes:
        """Read a block, to lie behind what is at hand; empty at the end."""
        block = self.stream.read(BLOCK)
        self.ahead += block
        self.end += len(block)
        return block

    def take(self) -> bytes:
        """The next bytes, however many are at hand; empty at the end."""
        if not self.ahead:
            self.more()
        taken, self.ahead = self.ahead, b""
        return taken

    def give_back(self, data: bytes) -> None:
        """Undo a part of the last `take`."""
        self.ahead = data

    def peek(self, size: int) -> bytes:
        while len(self.ahead) < size and self.more():
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
            if not self.more():
                self.ahead = b""
                return False


class _Member:
    """One gzip member, inflated as it is read. `ended`: to its end, checksum right; `cut`: the file ended first."""

    def __init__(self, file: _File) -> None:
        self.file, self.inflater = file, isal_zlib.decompressobj(31)
        self.begin, self.inflated = file.position, 0
        self.ended = self.cut = self.bomb = False

    def read(self) -> bytes:
        """The next bytes, a megabyte at most; empty at the end. Raises isal_zlib.error where the member is broken."""
        while not (self.ended or self.cut):
            if self.inflated > max(BOMB, BOMB_RATIO * (self.file.position - self.begin)):
                self.bomb = True
                self.file.give_back(self.inflater.unconsumed_tail)
                raise isal_zlib.error("inflates without end")
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
        self.plain = isinstance(source, _Plain)
        self.data, self.place = b"", 0  # what is at hand, and how much of it is used
        self.before = 0  # bytes of the source before `data`
        self.finished = False
        self.returns = RETURNS

    def __iter__(self) -> Iterator[Record]:
        while self._skip_blank():
            begin = self.before + self.place  # within the source
            offset = begin if self.plain else self.start
            header = self._header()
            length, kind = _LENGTH.search(header), _TYPE.search(header)
            size = int(length[1]) if length else 0
            wanted = kind is not None and kind[1].lower() in self.kinds
            kept = len(header) + min(size, self.max_body if wanted else INFLATED)
            cut = kept < len(header) + size
            body: bytes | None = None
            if length and kind and self._have(kept) and (cut or self._followed(kept)):
                body = self.data[self.place + len(header) : self.place + kept] if wanted else b""
                self.place += kept
                if cut and not (self._skip(len(header) + size - kept) and self._followed(0)):
                    body = None
                    self._return(begin)
            if body is None:
                at_end = self.finished and self.source.cut
                if self._seek_record():
                    self.on_fault(BROKEN_RECORD, offset)
                elif not at_end:  # of a member that the file ends in, the caller tells
                    self.on_fault(CUT_OFF if self.plain else BROKEN_RECORD, offset)
            elif wanted:
                yield Record(offset, kind[1].lower(), header, body, cut)

    def _have(self, size: int) -> bool:
        """Whether `size` unused bytes are at hand, reading on where they are not."""
        there = len(self.data) - self.place
        if there >= size or self.finished:
            return there >= size
        pieces = [self.data[self.place :]]
        self.before += self.place
        self.place = 0
        while there < size:
            piece = self.source.read()
            if not piece:
                self.finished = True
                break
            pieces.append(piece)
            there += len(piece)
        self.data = b"".join(pieces)
        return there >= size

    def _skip_blank(self) -> bool:
        """Skip blank lines; whether anything follows."""
        self._have(INFLATED)  # most members are whole then, and nothing more need be read
        while self._have(1):
            self.place = _BLANK.match(self.data, self.place).end()
            if self.place < len(self.data):
                return True
        return False

    def _followed(self, size: int) -> bool:
        """Whether a record may well end after `size` bytes: at the end, at its two empty lines, or at another record."""
        self._have(size + 1024)
        end = self.place + size
        place = _BLANK.match(self.data, end).end()
        return place == len(self.data) or self.data.startswith(b"\r\n\r\n", end) or self.data.startswith(b"WARC/", place)

    def _header(self) -> bytes:
        """The WARC header at hand with its empty line; empty where there is none."""
        size = 1024
        while True:
            more = self._have(size)
            if not self.data.startswith(b"WARC/", self.place):
                return b""
            end = _HEADER_END.search(self.data, self.place, self.place + size)
            if end:
                header = self.data[self.place : end.end()]
                return header if _BEGIN.match(header) else b""
            if not more or size >= MAX_HEADER:
                return b""
            size *= 4

    def _skip(self, size: int) -> bool:
        while size > 0:
            if not self._have(1):
                return False
            step = min(size, len(self.data) - self.place)
            self.place += step
            size -= step
        return True

    def _return(self, begin: int) -> None:
        """Go back to a record whose length was wrong, where the file allows it and was not made of such records."""
        if self.plain and self.returns > 0:
            self.returns -= 1
            self.source.file.seek(begin)
            self.data, self.place, self.before, self.finished = b"", 0, begin, False

    def _seek_record(self) -> bool:
        """Go to the next record after this place; False, and to the end, where there is none."""
        while True:
            found = _NEXT.search(self.data, self.place + 1)
            if found:
                self.place = found.end()
                return True
            self.place = max(self.place, len(self.data) - 32)
            if not self._have(len(self.data) - self.place + 1):
                self.place = len(self.data)
                return False
