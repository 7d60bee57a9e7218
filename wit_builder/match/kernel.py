"""Compiled loops of the matcher: UTF-8 bytes in, (text, query) matches out.

Everything compiled for matching stands in this one file: Numba's cache notices a changed file, not a changed import.
"""

from __future__ import annotations

import numpy as np

from wit_builder.compiled import compiled

NO_EDGE = np.uint64(0xFFFFFFFFFFFFFFFF)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_LONG = np.uint64(0xFF00000000000000)  # top byte of a long token's key: no byte of UTF-8 is 0xFF
_HAS_CHILDREN = np.uint64(0x80000000)
_NODE = np.uint64(0x7FFFFFFF)
_PRIME = np.uint64(0x100000001B3)
_ONE = np.uint64(1)
_SHORT = 8  # bytes of a token that fit its key

# Entries of the Unicode table (wit_builder/make_unicode_table.py), repeated here because compiled code holds constants.
_POINT = 0x1FFFFF
_CLASS_SHIFT = 21
_WHAT = 0x70000000
_COMPLEX = 0x10000000
_DELETED = 0x20000000
_EXPANDS = 0x30000000
_MARK_ABOVE = 0x40000000
_START, _MARK = 1, 2

_SPACE = 0x20
_FULL, _HARD = -1, -2  # in place of a length
_ANY = np.uint64(0xFFFFFFFFFFFFFFFF)


@compiled
def _mix(x):
    """SplitMix64's finaliser: every input bit changes every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled
def _token_key(word, tail, length):
    """Key of a token: its bytes where they fit a word, else a hash under the mark of long tokens."""
    if length <= _SHORT:
        return word
    return _LONG | (_mix(_mix(word) ^ tail) >> np.uint64(8))


@compiled
def token_keys(letters, offsets, sizes):
    """Keys of tokens that stand in `letters`: uint64 [n]."""
    keys = np.empty(len(offsets), np.uint64)
    for i in range(len(offsets)):
        word, tail = np.uint64(0), np.uint64(0)
        for n in range(sizes[i]):
            byte = np.uint64(letters[offsets[i] + n])
            if n < _SHORT:
                word |= byte << np.uint64(8 * n)
            else:
                tail = (tail ^ byte) * _PRIME
        keys[i] = _token_key(word, tail, sizes[i])
    return keys


@compiled
def _follow_bit(token):
    return _ONE << (_mix(token) & np.uint64(63))


@compiled
def follow_bits(tokens):
    """The bit of each token number in the 64-bit Bloom filters: uint64 [n]."""
    bits = np.empty(len(tokens), np.uint64)
    for i in range(len(tokens)):
        bits[i] = _follow_bit(np.uint64(tokens[i]))
    return bits


@compiled
def fill(table, rows, free):
    """Insert rows into an open-addressing table by their first word; two long tokens may share a key."""
    mask = np.uint64(len(table) - 1)
    for i in range(len(rows)):
        slot = _mix(rows[i, 0]) & mask
        while table[np.int64(slot), 0] != free:
            slot = (slot + _ONE) & mask
        for column in range(rows.shape[1]):  # and not the row at once, which takes seconds more to compile
            table[np.int64(slot), column] = rows[i, column]


@compiled
def _find_token(vocabulary, letters, key, form, begin, end, fold):
    """Slot of the token that stands in form[begin:end], or -1."""
    mask = np.uint64(len(vocabulary) - 1)
    slot = _mix(key) & mask
    while True:
        row = np.int64(slot)
        found = vocabulary[row, 0]
        if found == key:
            if end - begin <= _SHORT:
                return row
            place = vocabulary[row, 2]
            if np.int64(place >> _HALF) == end - begin:
                offset = np.int64(place & _LOW) - begin
                i = begin
                while i < end and letters[offset + i] == fold[form[i]]:
                    i += 1
                if i == end:
                    return row
        elif found == np.uint64(0):
            return -1
        slot = (slot + _ONE) & mask


@compiled
def _find_edge(edges, key):
    """Value of the edge, or 0."""
    mask = np.uint64(len(edges) - 1)
    slot = _mix(key) & mask
    while True:
        found = edges[np.int64(slot), 0]
        if found == key:
            return edges[np.int64(slot), 1]
        if found == NO_EDGE:
            return np.uint64(0)
        slot = (slot + _ONE) & mask


@compiled
def _longer(array):
    bigger = np.empty(2 * len(array), array.dtype)
    for i in range(len(array)):
        bigger[i] = array[i]
    return bigger


@compiled
def _sift_down(values, root, end):
    while 2 * root + 1 < end:
        child = 2 * root + 1
        if child + 1 < end and values[child] < values[child + 1]:
            child += 1
        if values[root] >= values[child]:
            return
        values[root], values[child] = values[child], values[root]
        root = child


@compiled
def _sort(values, n):
    """Sort the first n values in place; heap sort where there are many, so that no text makes it quadratic."""
    if n <= 48:
        for i in range(1, n):
            value = values[i]
            j = i - 1
            while j >= 0 and values[j] > value:
                values[j + 1] = values[j]
                j -= 1
            values[j + 1] = value
        return
    for root in range(n // 2 - 1, -1, -1):
        _sift_down(values, root, n)
    for end in range(n - 1, 0, -1):
        values[0], values[end] = values[end], values[0]
        _sift_down(values, 0, end)


@compiled
def _decode(data, i, end):
    """Code point at i and where the next one begins; a byte that is not UTF-8 reads as U+FFFD."""
    lead = np.int64(data[i])
    if lead < 0x80:
        return lead, i + 1
    if 0xC2 <= lead < 0xE0:
        more, point, least = 1, lead & 0x1F, 0x80
    elif 0xE0 <= lead < 0xF0:
        more, point, least = 2, lead & 0x0F, 0x800
    elif 0xF0 <= lead < 0xF5:
        more, point, least = 3, lead & 0x07, 0x10000
    else:
        return 0xFFFD, i + 1
    if i + more >= end:
        return 0xFFFD, i + 1
    for k in range(1, more + 1):
        byte = np.int64(data[i + k])
        if byte & 0xC0 != 0x80:
            return 0xFFFD, i + 1
        point = point << 6 | byte & 0x3F
    if point < least or point > 0x10FFFF or 0xD800 <= point < 0xE000:
        return 0xFFFD, i + 1
    return point, i + 1 + more


@compiled
def _encode(point, form, length):
    """Append a code point in UTF-8 and return the new length."""
    if point < 0x80:
        form[length] = point
        return length + 1
    if point < 0x800:
        form[length] = 0xC0 | point >> 6
        form[length + 1] = 0x80 | point & 0x3F
        return length + 2
    if point < 0x10000:
        form[length] = 0xE0 | point >> 12
        form[length + 1] = 0x80 | point >> 6 & 0x3F
        form[length + 2] = 0x80 | point & 0x3F
        return length + 3
    form[length] = 0xF0 | point >> 18
    form[length + 1] = 0x80 | point >> 12 & 0x3F
    form[length + 2] = 0x80 | point >> 6 & 0x3F
    form[length + 3] = 0x80 | point & 0x3F
    return length + 4


@compiled
def _fold_text(data, begin, end, pages, entries, trails, expansions, form):
    """Write a text's normal form, tokens with white space between them, into `form`.

    Returns: its length; `_FULL` where `form` is too small; `_HARD` where code points compose or reorder.
    """
    length, in_token = 0, False
    trail = 0  # canonical combining class that the text so far ends with
    i = begin
    while i < end:
        point, i = _decode(data, i, end)
        place = np.int64(pages[point >> 8]) << 8 | point & 0xFF
        entry = np.int64(entries[place])
        what = entry & _WHAT
        if what == _COMPLEX or (what == _MARK_ABOVE and trail > trails[place]):
            return _HARD
        if what == _DELETED:
            continue
        trail = np.int64(trails[place])
        first, last = 0, 1
        if what == _EXPANDS:
            first = entry & _POINT
            last = first + (entry >> _CLASS_SHIFT & 0x1F)
        if length + 4 * (last - first) > len(form):
            return _FULL
        for k in range(first, last):
            value = np.int64(expansions[k]) if what == _EXPANDS else entry
            kind = value >> _CLASS_SHIFT & 3
            if kind == _START or (kind == _MARK and in_token):
                length = _encode(value & _POINT or point, form, length)
                in_token = True
            else:
                form[length] = _SPACE
                length += 1
                in_token = False
    return length


@compiled
def _tokenise(form, begin, end, fold, vocabulary, letters, slots):
    """Vocabulary slots of the tokens in form[begin:end], -1 for unknown ones. Returns their number, or `_FULL`."""
    count, n, word, tail = 0, 0, np.uint64(0), np.uint64(0)
    for i in range(begin, end + 1):
        byte = fold[form[i]] if i < end else np.uint8(0)
        if byte != 0:
            if n < _SHORT:
                word |= np.uint64(byte) << np.uint64(8 * n)
            else:
                tail = (tail ^ np.uint64(byte)) * _PRIME
            n += 1
        elif n > 0:
            if count == len(slots):
                return _FULL
            slots[count] = _find_token(vocabulary, letters, _token_key(word, tail, n), form, i - n, i, fold)
            count += 1
            n, word, tail = 0, np.uint64(0), np.uint64(0)
    return count


@compiled
def _walk(slots, tokens, vocabulary, edges, same, found):
    """Queries that begin at each token in turn, with repeats. Returns their number, or `_FULL`."""
    count = 0
    for start in range(tokens):
        if slots[start] < 0:
            continue
        value = vocabulary[slots[start], 1]
        follows = vocabulary[slots[start], 3]
        node = value & _LOW
        at = start + 1
        while True:
            query = np.int64(value >> _HALF) - 1
            while query >= 0:
                if count == len(found):
                    return _FULL
                found[count] = query
                count += 1
                query = np.int64(same[query])
            if at == tokens or slots[at] < 0:
                break
            token = vocabulary[slots[at], 1] & _LOW
            if not follows & _follow_bit(token):
                break
            value = _find_edge(edges, node << _HALF | token)
            if value == np.uint64(0):
                break
            node = value & _NODE
            follows = _ANY if value & _HAS_CHILDREN else np.uint64(0)
            at += 1
    return count


@compiled
def _is_ascii(data, begin, end):
    every = np.uint8(0)
    for i in range(begin, end):
        every |= data[i]
    return every < 0x80


@compiled
def match(data, offsets, folded, fold, unicode, vocabulary, edges, letters, same):
    """Matches of texts that stand in `data` between `offsets`.

    Args:
      folded: the texts are in normal form already.
      fold: what each byte of a normal form or of an ASCII text becomes, 0 for separators: uint8 [256].

    Returns: texts int64 [m] and queries int32 [m], sorted, without repeats; and texts that need the reference, int64 [k].
    """
    pages, entries, trails, expansions = unicode
    texts, queries = np.empty(1024, np.int64), np.empty(1024, np.int32)
    hard = np.empty(16, np.int64)
    form, slots, found = np.empty(1024, np.uint8), np.empty(256, np.int64), np.empty(256, np.int32)
    total, hard_total = 0, 0
    for text in range(len(offsets) - 1):
        begin, end = offsets[text], offsets[text + 1]
        if folded or _is_ascii(data, begin, end):
            source = data
        else:
            length = _fold_text(data, begin, end, pages, entries, trails, expansions, form)
            while length == _FULL:
                form = _longer(form)
                length = _fold_text(data, begin, end, pages, entries, trails, expansions, form)
            if length == _HARD:
                if hard_total == len(hard):
                    hard = _longer(hard)
                hard[hard_total] = text
                hard_total += 1
                continue
            source, begin, end = form, 0, length
        tokens = _tokenise(source, begin, end, fold, vocabulary, letters, slots)
        while tokens == _FULL:
            slots = _longer(slots)
            tokens = _tokenise(source, begin, end, fold, vocabulary, letters, slots)
        count = _walk(slots, tokens, vocabulary, edges, same, found)
        while count == _FULL:
            found = _longer(found)
            count = _walk(slots, tokens, vocabulary, edges, same, found)
        _sort(found, count)
        while total + count > len(texts):
            texts, queries = _longer(texts), _longer(queries)
        previous = -1
        for i in range(count):
            if found[i] != previous:
                previous = found[i]
                texts[total] = text
                queries[total] = previous
                total += 1
    return texts[:total].copy(), queries[:total].copy(), hard[:hard_total].copy()
