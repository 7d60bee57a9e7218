"""The matcher: built once from the query list, saved in one file, shared by all threads of a worker."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.match import kernel
from wit_builder.match.trie import Trie, build
from wit_builder.text import TEXT_VERSION, normal_form, tokens, unicode_table

_FORMAT = 1


class QueryMatcher:
    """Finds every query whose tokens occur consecutively in a text, on the one normal form (`wit_builder.text`).

    Immutable, and its compiled part runs without the interpreter's lock, so threads share one matcher.

    >>> QueryMatcher(["dog", "hot dog", "St. Louis"]).match(["Hot-dog stand in St Louis", "cat"])
    (array([0, 0, 0]), array([0, 1, 2], dtype=int32))
    """

    def __init__(self, queries: Sequence[str] | pa.Array | pa.ChunkedArray) -> None:
        """Build from query strings; `from_tokens` takes normal forms."""
        if isinstance(queries, (pa.Array, pa.ChunkedArray)):
            queries = queries.to_pylist()
        self._set(build([tokens(query) for query in queries]))

    @classmethod
    def from_tokens(cls, token_lists: Sequence[Sequence[str]]) -> QueryMatcher:
        """Build from the tokens of queries, as the query list's file holds them."""
        made = cls.__new__(cls)
        made._set(build(token_lists))
        return made

    def _set(self, trie: Trie) -> None:
        self._trie = trie
        for array in (trie.vocabulary, trie.edges, trie.letters, trie.same):
            array.flags.writeable = False  # built or loaded: the kernel is compiled once for both
        table = unicode_table()
        self._fold = _fold_of_bytes()
        self._unicode = (table["pages"], table["entries"], table["trails"], table["expansions"])

    def __len__(self) -> int:
        """Number of queries."""
        return len(self._trie.same)

    @property
    def nbytes(self) -> int:
        """Bytes that the matcher's tables take in memory."""
        arrays = (self._trie.vocabulary, self._trie.edges, self._trie.letters, self._trie.same, *self._unicode)
        return sum(array.nbytes for array in arrays)

    def match(self, texts: Sequence[str] | pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        """Matches of a batch of texts.

        Args:
          texts: strings, or an Arrow string array; null matches nothing.

        Returns: the text's index, int64 [m], and the query's index, int32 [m]: sorted by text, then query, no repeats.
        """
        array = _as_array(texts)
        data, offsets = _buffers(array)
        texts_found, queries_found, hard = self._run(data, offsets, False)
        if len(hard):
            # Composing or reordering code points: the reference normalises, the kernel matches.
            forms = [normal_form(_decode(data[offsets[i] : offsets[i + 1]])) for i in hard]
            more_texts, more_queries, _ = self._run(*_buffers(pa.array(forms, pa.large_string())), True)
            texts_found = np.concatenate([texts_found, hard[more_texts]])
            queries_found = np.concatenate([queries_found, more_queries])
            order = np.argsort(texts_found, kind="stable")
            texts_found, queries_found = texts_found[order], queries_found[order]
        return texts_found, queries_found

    def _run(self, data: np.ndarray, offsets: np.ndarray, folded: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        trie = self._trie
        tables = (trie.vocabulary, trie.edges, trie.letters, trie.same)
        return kernel.match(data, offsets, folded, self._fold, self._unicode, *tables)

    def save(self, path: str) -> None:
        """Write one file atomically; the same queries give the same bytes."""
        buffer = io.BytesIO()
        header = np.array([_FORMAT, TEXT_VERSION])
        arrays = {name: getattr(self._trie, name) for name in ("vocabulary", "edges", "letters", "same")}
        np.savez(buffer, header=header, **arrays)
        files.write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str) -> QueryMatcher:
        """Read what `save` wrote.

        Raises:
          UserError: where the file is not whole or was made for another normal form.
        """
        made = cls.__new__(cls)
        try:
            with files.open_read(path) as stream, np.load(stream) as arrays:
                written, text_version = arrays["header"].tolist()
                if (written, text_version) != (_FORMAT, TEXT_VERSION):
                    raise UserError("made by another version of this program", where=path, fix="build the matcher again")
                made._set(Trie(arrays["vocabulary"], arrays["edges"], arrays["letters"], arrays["same"]))
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError("not a whole matcher file", where=path, fix="build the matcher again") from error
        return made


def _fold_of_bytes() -> np.ndarray:
    """Folded byte of each byte, 0 for ASCII separators: uint8 [256]."""
    return np.array([i if i >= 128 else ord(chr(i).lower()) if chr(i).isalnum() else 0 for i in range(256)], np.uint8)


def _decode(data: np.ndarray) -> str:
    return data.tobytes().decode("utf-8", "replace")


def _as_array(texts: Sequence[str] | pa.Array | pa.ChunkedArray) -> pa.Array:
    """One Arrow array of large strings; lone surrogates, which no file can hold, become U+FFFD."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.cast(pa.large_string()).combine_chunks()
    if not isinstance(texts, pa.Array):
        try:
            texts = pa.array(texts, pa.large_string())
        except UnicodeEncodeError:
            clean = [None if text is None else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
            texts = pa.array(clean, pa.large_string())
    if not pa.types.is_large_string(texts.type):
        texts = texts.cast(pa.large_string())
    return pc.fill_null(texts, "") if texts.null_count else texts


def _buffers(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Bytes and offsets of an array of large strings, without a copy: uint8 [n], int64 [texts + 1].

    Both are read-only, whether Arrow's memory is or not: the kernel is compiled once for each kind.
    """
    _, offsets, data = array.buffers()
    if len(array) == 0:
        found = np.zeros(0, np.uint8), np.zeros(1, np.int64)
    else:
        found = (
            np.frombuffer(data if data is not None else b"", np.uint8),
            np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1],
        )
    for one in found:
        one.flags.writeable = False
    return found
