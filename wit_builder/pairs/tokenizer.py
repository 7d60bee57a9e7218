"""The tags of an HTML page that matter here, found by the standard's tokenizer in one pass over its bytes.

Image attributes need no tree. A tree builder must walk its stack of open elements at every stray tag, and a page of
half a megabyte made for the purpose keeps lexbor (Resiliparse, selectolax) busy for tens of seconds; this takes time
in proportion to the bytes, whatever they are (docs/benchmarks.md). It follows the states of the WHATWG standard
(13.2.5 Tokenization) with scripting off: comments, quoted attributes, raw text and escaped scripts hold no tags.
What differs from a tree: images inside `select`, `template` or `frameset` pages are found, `image` is not `img`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.entities import html5

import numpy as np

from wit_builder.compiled import compiled

# What the tokenizer reports: start tags, and CLOSE added for end tags.
OTHER, IMG, SOURCE, PICTURE, BASE, FIGURE, FIGCAPTION, RAW, SCRIPT, PLAINTEXT = range(10)
CLOSE = 16

_NAMES = {
    b"img": IMG, b"source": SOURCE, b"picture": PICTURE, b"base": BASE, b"figure": FIGURE, b"figcaption": FIGCAPTION,
    b"script": SCRIPT, b"plaintext": PLAINTEXT,
    **dict.fromkeys((b"style", b"xmp", b"iframe", b"noembed", b"noframes", b"textarea", b"title"), RAW),
}  # fmt: skip
_LONGEST = max(map(len, _NAMES))
_TABLE = np.zeros((len(_NAMES), _LONGEST), np.uint8)  # names padded with zeros
for _row, _name in zip(_TABLE, _NAMES):
    _row[: len(_name)] = np.frombuffer(_name, np.uint8)
_KINDS = np.array(list(_NAMES.values()), np.int64)
_CHUNK = 4096  # tags reported at once

_SPACE = np.zeros(256, np.bool_)
_SPACE[[9, 10, 12, 13, 32]] = True
_LETTER = np.zeros(256, np.bool_)
_LETTER[65:91] = _LETTER[97:123] = True


@compiled
def _lower(byte):
    return byte + 32 if 65 <= byte <= 90 else byte


@compiled
def _kind_of(data, start, end, table, kinds):
    """Kind of the element whose name is data[start:end]."""
    size = end - start
    if size > table.shape[1]:
        return 0
    for row in range(table.shape[0]):
        if size < table.shape[1] and table[row, size] != 0:
            continue
        same = True
        for column in range(size):
            if _lower(data[start + column]) != table[row, column]:
                same = False
                break
        if same:
            return kinds[row]
    return 0


@compiled
def _is_name_at(data, place, start, end, space):
    """Whether data[start:end] stands at `place`, whatever its case, and a tag's name ends there."""
    size = end - start
    if place + size >= data.size:
        return False
    for column in range(size):
        if _lower(data[place + column]) != _lower(data[start + column]):
            return False
    after = data[place + size]
    return space[after] or after == 47 or after == 62


@compiled
def _raw_end(data, place, start, end, space):
    """Where the end tag of the raw text element named data[start:end] begins; the end of the page where there is none."""
    while place < data.size:
        if data[place] == 60 and place + 1 < data.size and data[place + 1] == 47 and _is_name_at(data, place + 2, start, end, space):
            return place
        place += 1
    return data.size


@compiled
def _script_end(data, place, start, end, space):
    """As `_raw_end`, for a script, in which a comment may hold a whole script with its end tag."""
    depth = 0  # 1: escaped, 2: double escaped
    while place < data.size:
        byte = data[place]
        if byte == 60:
            if depth < 2 and place + 1 < data.size and data[place + 1] == 47 and _is_name_at(data, place + 2, start, end, space):
                return place
            if depth == 0 and place + 3 < data.size and data[place + 1] == 33 and data[place + 2] == 45 and data[place + 3] == 45:
                depth = 1
                place += 2  # its dashes may be those of the end
                continue
            if depth == 1 and _is_name_at(data, place + 1, start, end, space):
                depth = 2
            elif depth == 2 and place + 1 < data.size and data[place + 1] == 47 and _is_name_at(data, place + 2, start, end, space):
                depth = 1
        elif depth and byte == 45 and place + 2 < data.size and data[place + 1] == 45 and data[place + 2] == 62:
            depth = 0
        place += 1
    return data.size


@compiled
def _comment_end(data, place):
    """Just after the comment whose `<!--` ends at `place`."""
    if place < data.size and data[place] == 62:
        return place + 1
    if place + 1 < data.size and data[place] == 45 and data[place + 1] == 62:
        return place + 2
    while place + 2 < data.size:
        if data[place] == 45 and data[place + 1] == 45:
            if data[place + 2] == 62:
                return place + 3
            if data[place + 2] == 33 and place + 3 < data.size and data[place + 3] == 62:
                return place + 4
        place += 1
    return data.size


@compiled
def _attributes_end(data, place, space):
    """Just after the `>` of the tag whose name ends at `place`; -1 where the page ends first."""
    size = data.size
    while place < size:
        byte = data[place]
        if byte == 62:
            return place + 1
        if space[byte] or byte == 47:
            place += 1
            continue
        place += 1  # an attribute's name; a first `=` belongs to it
        while place < size and not space[data[place]] and data[place] != 47 and data[place] != 62 and data[place] != 61:
            place += 1
        while place < size and space[data[place]]:
            place += 1
        if place < size and data[place] == 61:
            place += 1
            while place < size and space[data[place]]:
                place += 1
            if place < size and (data[place] == 34 or data[place] == 39):
                quote = data[place]
                place += 1
                while place < size and data[place] != quote:
                    place += 1
                place += 1
            else:
                while place < size and not space[data[place]] and data[place] != 62:
                    place += 1
    return -1


@compiled
def _scan(data, place, every, found, table, kinds, space, letter):
    """Fills `found` with (kind, start, end of name, end) of tags from `place` on; how many there are, and where to go on."""
    count, size = 0, data.size
    while place < size and count < found.shape[0]:
        if data[place] != 60:
            place += 1
            continue
        start = place
        place += 1
        if place >= size:
            break
        byte = data[place]
        if byte == 33 and place + 2 < size and data[place + 1] == 45 and data[place + 2] == 45:
            place = _comment_end(data, place + 3)
            kind, name_end = 0, place
        elif byte == 33 or byte == 63 or (byte == 47 and place + 1 < size and not letter[data[place + 1]]):
            while place < size and data[place] != 62:
                place += 1
            place = min(place + 1, size)
            kind, name_end = 0, place
        elif letter[byte] or byte == 47:
            closing = byte == 47
            if closing:
                place += 1
                if place >= size:
                    break
            name = place
            while place < size and not space[data[place]] and data[place] != 47 and data[place] != 62:
                place += 1
            name_end = place
            kind = _kind_of(data, name, name_end, table, kinds)
            place = _attributes_end(data, place, space)
            if place < 0:
                place = size
                break
            end = place
            if not closing:
                if kind == PLAINTEXT:
                    place = size
                elif kind == SCRIPT:
                    place = _script_end(data, place, name, name_end, space)
                elif kind == RAW:
                    place = _raw_end(data, place, name, name_end, space)
            else:
                kind += CLOSE
            if every or OTHER < kind % CLOSE < RAW:
                found[count, 0], found[count, 1], found[count, 2], found[count, 3] = kind, start, name_end, end
                count += 1
            continue
        else:
            continue
        if every:
            found[count, 0], found[count, 1], found[count, 2], found[count, 3] = kind, start, name_end, place
            count += 1
    return count, place


def tags(data: bytes, *, every: bool = False) -> Iterator[tuple[int, int, int, int]]:
    """Tags of a page in UTF-8 as (kind, start, end of name, end), in bytes; those that matter, or every tag and comment."""
    page = np.frombuffer(data, np.uint8)
    found = np.empty((min(_CHUNK, data.count(b"<") + 1), 4), np.int64)
    place = 0
    while place < len(data):
        count, place = _scan(page, place, every, found, _TABLE, _KINDS, _SPACE, _LETTER)
        yield from found[:count].tolist()


_ATTRIBUTE = re.compile(
    rb"""[\t\n\f\r /]*+(=?[^\t\n\f\r />=]*+)(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+(?:"([^"]*+)"?|'([^']*+)'?|([^\t\n\f\r >]*+)))?"""
)


def attributes(data: bytes, wanted: frozenset[bytes]) -> dict[str, str]:
    """The wanted attributes of a tag, from its bytes between name and `>`; of equal names the first counts.

    >>> attributes(b''' SRC=a.png alt="x &amp; y" class=b''', frozenset((b"src", b"alt")))
    {'src': 'a.png', 'alt': 'x & y'}
    """
    values: dict[str, str] = {}
    place, end = 0, len(data)
    while place < end:
        match = _ATTRIBUTE.match(data, place)
        if match.end() == place:
            place += 1
            continue
        place = match.end()
        name = match[1].lower()
        if name in wanted and (key := name.decode()) not in values:
            value = match[2] or match[3] or match[4] or b""
            values[key] = unescape(value.decode("utf-8", "replace"), attribute=True)
    return values


_REFERENCE = re.compile(r"&(?:#(?:[xX]([0-9A-Fa-f]+)|([0-9]+));?|([A-Za-z][A-Za-z0-9]*;?))(?=(=?))")
_LONGEST_NAME = max(map(len, html5))
# Numbers that the standard takes for windows-1252 (13.2.5.80).
_NUMBERS = {number: bytes((number,)).decode("cp1252", "replace") for number in range(0x80, 0xA0)}


def unescape(text: str, *, attribute: bool) -> str:
    """Character references decoded as the standard says; in an attribute, `&copy=1` of a URL's query stays as it is.

    >>> unescape("/i?a=1&copy=2&amp;b", attribute=True)
    '/i?a=1&copy=2&b'
    """
    if "&" not in text:
        return text

    def decode(match: re.Match) -> str:
        if match[3] is None:
            digits = (match[1] or match[2]).lstrip("0") or "0"
            number = int(digits, 16 if match[1] else 10) if len(digits) < 9 else -1
            if 0x80 <= number < 0xA0:
                character = _NUMBERS[number]
                return chr(number) if character == "\ufffd" else character
            return chr(number) if 0 < number < 0xD800 or 0xDFFF < number < 0x110000 else "\ufffd"
        name = match[3]
        if name in html5 and name.endswith(";"):
            return html5[name]
        for size in range(min(len(name), _LONGEST_NAME), 1, -1):
            if name[:size] in html5:
                after = name[size : size + 1] or match[4]
                if attribute and (after == "=" or after.isalnum()):
                    break
                return html5[name[:size]] + name[size:]
        return match[0]

    return _REFERENCE.sub(decode, text)
