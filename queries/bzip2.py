"""Blocks of a bz2 file, each decompressed by itself, so that any file can be read from any place by many workers.

A bz2 file is a row of streams; a stream is a header of 4 bytes (`BZh1` to `BZh9`), then blocks of at most 900 kB of data,
then a footer. Blocks and footers start with a 48-bit magic number, at any bit. A block depends on nothing before it:
given a header and a footer of its own it is a whole stream. (Multistream dumps start a stream at every hundred pages;
single-stream dumps are one stream; this reads both alike. Format: https://en.wikipedia.org/wiki/Bzip2#File_format)
"""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from typing import BinaryIO

from wit_builder.errors import UserError

_BLOCK = 0x314159265359
_FOOTER = 0x177245385090
_MAGIC_BITS = 48
_READ = 1 << 20  # bytes
_MAX_BLOCK = 2 << 20  # bytes: no block of 900 kB is longer when compressed


def _needles(magic: int) -> list[tuple[int, bytes]]:
    """For each bit offset in a byte, the whole bytes inside the magic number, and the bit they start at."""
    needles = []
    for offset in range(8):
        skipped = (8 - offset) % 8  # bits of the magic in its first, shared byte
        whole = (_MAGIC_BITS - skipped) // 8
        middle = magic >> (_MAGIC_BITS - skipped - 8 * whole) & ((1 << 8 * whole) - 1)
        needles.append((skipped, middle.to_bytes(whole, "big")))
    return needles


_NEEDLES = [(magic, skipped, needle) for magic in (_BLOCK, _FOOTER) for skipped, needle in _needles(magic)]


def _bits(data: bytes | bytearray, start: int, length: int) -> int:
    """`length` bits from bit `start`, as a number, first bit highest."""
    first, last = start // 8, (start + length + 7) // 8
    number = int.from_bytes(data[first:last], "big")
    return number >> (8 * last - start - length) & ((1 << length) - 1)


def find_magics(data: bytes | bytearray) -> list[tuple[int, bool]]:
    """Bit positions of the magic numbers of blocks (True) and footers (False) in `data`, in order."""
    found = []
    for magic, skipped, needle in _NEEDLES:
        at = data.find(needle)
        while at >= 0:
            start = 8 * at - skipped
            if start >= 0 and start + _MAGIC_BITS <= 8 * len(data) and _bits(data, start, _MAGIC_BITS) == magic:
                found.append((start, magic == _BLOCK))
            at = data.find(needle, at + 1)
    return sorted(found)


def _decompress(data: bytes | bytearray, start: int, end: int) -> bytes:
    """Content of the block at bits start…end, through a stream made of it alone."""
    length = end - start
    checksum = _bits(data, start + _MAGIC_BITS, 32)  # of a stream of one block: the block's own
    stream = (_bits(data, start, length) << 80) | (_FOOTER << 32) | checksum
    padding = -(length + 80) % 8
    return bz2.decompress(b"BZh9" + (stream << padding).to_bytes((length + 80 + padding) // 8, "big"))


def read_blocks(stream: BinaryIO, start: int, end: int, name: str) -> Iterator[tuple[bytes, bool]]:
    """Decompressed blocks from byte `start` of an open bz2 file on.

    Yields (data, own): `own` for blocks that start in bytes start…end, which no other range owns; then the blocks
    after them, for a reader that must finish what it began.

    Raises:
      UserError: where the file is damaged or ends too early.
    """
    stream.seek(start)
    buffer = bytearray()
    base = start  # place of the buffer's first byte in the file
    pending: int | None = None  # bit in the buffer where a block starts whose end is not yet known
    scanned = 0  # bytes of the buffer searched for magic numbers
    damaged = False  # no end tried so far fits the pending block
    begun = False  # the range has blocks of its own, so what they began may go on in the streams after it
    while piece := stream.read(_READ):
        buffer += piece
        from_byte = max(0, scanned - 7)
        for at, is_block in find_magics(buffer[from_byte:]):
            bit = at + 8 * from_byte
            if pending is not None:
                if bit <= pending:
                    continue
                try:
                    data = _decompress(buffer, pending, bit)
                except (OSError, ValueError):
                    # Damage, or once in 2^48 positions: a magic number inside a block, which then goes on.
                    damaged = True
                    continue
                damaged = False
                own = base + pending // 8 < end
                begun |= own
                yield data, own
            elif is_block and base + bit // 8 >= end and not begun:
                return  # the range owns nothing
            pending = bit if is_block else None
        scanned = len(buffer)
        if pending is not None and scanned - pending // 8 > _MAX_BLOCK:
            break
        keep = pending // 8 if pending is not None else max(0, scanned - 7)
        del buffer[:keep]
        base, scanned = base + keep, scanned - keep
        if pending is not None:
            pending -= 8 * keep
    if pending is not None:
        what = "is damaged" if damaged or len(buffer) > _MAX_BLOCK else "ends too early"
        raise UserError(f"the bz2 file {what}", where=name, fix="download it again")


def ends_whole(tail: bytes) -> bool:
    """Whether `tail`, a file's last 16 bytes or more, ends with a stream's footer: a file cut off does not."""
    return any(not is_block and 0 <= 8 * len(tail) - at - 80 < 8 for at, is_block in find_magics(tail))
