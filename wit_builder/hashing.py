"""Hashes that name pairs, place rows and stand in for chance.

Anything that looks random in this project is a salted hash of a key, so that the same inputs and seed give the
same bytes on any runner. BLAKE2b is specified (RFC 7693), fast, and the same on every machine.
"""

from __future__ import annotations

from hashlib import blake2b

from wit_builder.errors import UserError


def pair_uid(url: str, text: str) -> str:
    """Name of an image-text pair: BLAKE2b-128 of the URL, a zero byte and the text in UTF-8, as 32 hex digits.

    Both must already be clean (`wit_builder.text.clean`): no NUL, no lone surrogate.
    """
    return blake2b(f"{url}\0{text}".encode(), digest_size=16).hexdigest()


def hash64(*parts: str | bytes | int) -> int:
    """Unsigned 64-bit hash of the parts, in order; parts never run into each other."""
    digest = blake2b(digest_size=8)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return int.from_bytes(digest.digest(), "big")


def file_of(key: str | bytes | int, files: int) -> int:
    """Which of `files` numbered files a row with this key belongs to.

    Raises:
      UserError: where `files` is not positive.
    """
    if files < 1:
        raise UserError(f"the number of files must be at least 1, not {files}")
    return hash64("file", key) % files
