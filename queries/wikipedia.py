"""Articles of a MediaWiki dump, read in parts by many workers.

A dump (`pages-articles`, `.xml` or `.xml.bz2`, one stream or many) is read in parts (`queries.parts`); a part owns the
pages whose `<page>` starts in it. Each page is parsed by an expat parser of its own, which never sees a document type: no entity but
XML's five can be defined, so none can be expanded.
"""

from __future__ import annotations

import bz2
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from xml.parsers import expat

from queries import bzip2
from queries.parts import Part, chunks
from wit_builder import files
from wit_builder.errors import UserError

MAX_PAGE_BYTES = 32 << 20  # of XML; MediaWiki refuses pages of more than 2 MiB of wikitext
_START, _END = b"<page>", b"</page>"
_FIX = "give a pages-articles dump of MediaWiki, .xml or .xml.bz2"


def check_dump(path: str) -> None:
    """Look at a dump's first and last bytes.

    Raises:
      UserError: where it is no dump of MediaWiki, or cut off.
    """
    compressed = path.endswith(".bz2")
    if not compressed and not path.endswith(".xml"):
        raise UserError("neither .xml nor .xml.bz2", where=path, fix=_FIX)
    length = files.size(path)
    with files.open_read(path) as stream:
        head = stream.read(1 << 20)
        stream.seek(max(0, length - 1024))
        tail = stream.read()
    if compressed:
        try:
            head = bz2.BZ2Decompressor().decompress(head, max_length=4096)
        except (OSError, EOFError) as error:
            raise UserError("not a bz2 file", where=path, fix=_FIX) from error
    if b"<mediawiki" not in head[:4096]:
        raise UserError("not a MediaWiki dump: it does not start with <mediawiki>", where=path, fix=_FIX)
    whole = bzip2.ends_whole(tail) if compressed else tail.rstrip().endswith(b"</mediawiki>")
    if not whole:
        raise UserError("the dump ends too early", where=path, fix="download it again")


def read_index(path: str) -> list[int]:
    """Where a multistream dump's streams of pages start, in bytes, from its index (`offset:page id:title` a line).

    Raises:
      UserError: where the file is no such index.
    """
    offsets: set[int] = set()
    with files.open_read(path) as raw:
        stream = bz2.open(raw) if path.endswith(".bz2") else raw
        try:
            for line in io.BufferedReader(stream):  # type: ignore[arg-type]
                offsets.add(int(line.split(b":", 1)[0]))
        except (ValueError, OSError, EOFError) as error:
            raise UserError("not an index of a multistream dump", where=path, fix="give its …-multistream-index.txt.bz2") from error
    return sorted(offsets)


def page_xml(chunks: Iterable[tuple[bytes, bool]], name: str) -> Iterator[bytes | None]:
    """The XML of each page that starts in the part's own chunks; None for one beyond `MAX_PAGE_BYTES`.

    Raises:
      UserError: where the dump ends inside a page.
    """
    buffer = bytearray()
    own = 0  # bytes at the buffer's front where a page may start
    inside = False  # the buffer starts with a page
    too_long = False
    searched = 0
    for data, is_own in chunks:
        buffer += data
        if is_own:
            own = len(buffer)
        while True:
            if not inside:
                at = buffer.find(_START)
                if at < 0 or at >= own:
                    kept = min(len(buffer), len(_START) - 1)
                    own = max(0, own - (len(buffer) - kept))
                    del buffer[: len(buffer) - kept]
                    break
                del buffer[:at]
                own -= at
                inside, searched = True, 0
            at = buffer.find(_END, searched)
            if at >= 0:
                end = at + len(_END)
                yield None if too_long or end > MAX_PAGE_BYTES else bytes(buffer[:end])
                del buffer[:end]
                own -= end
                inside = too_long = False
                continue
            if len(buffer) > MAX_PAGE_BYTES:
                too_long = True
                own -= len(buffer) - len(_END)
                del buffer[: -len(_END)]
            searched = max(0, len(buffer) - len(_END))
            break
        if not inside and not is_own and own <= 0:
            return
    if inside:
        raise UserError("the dump ends inside a page", where=name, fix="download it again")


class _PageParser:
    """What a page's XML says: title, namespace, whether it redirects, the last revision's text and content model."""

    def __init__(self) -> None:
        self.title = self.namespace = self.model = self.text = ""
        self.redirect = False
        self._pieces: list[str] = []
        self._path: list[str] = []

    def parse(self, xml: bytes) -> None:
        parser = expat.ParserCreate("UTF-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._pieces.append
        parser.Parse(xml, True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        self._pieces.clear()
        if name == "redirect":
            self.redirect = True

    def _end(self, name: str) -> None:
        depth = len(self._path)
        if depth == 2 and name == "title":
            self.title = "".join(self._pieces)
        elif depth == 2 and name == "ns":
            self.namespace = "".join(self._pieces)
        elif depth == 3 and name == "text":
            self.text = "".join(self._pieces)
        elif depth == 3 and name == "model":
            self.model = "".join(self._pieces)
        self._path.pop()


def article(xml: bytes) -> tuple[str, str] | str:
    """Title and wikitext of a page that is an article; else the reason why it is not counted."""
    page = _PageParser()
    try:
        page.parse(xml)
    except (expat.ExpatError, ValueError):
        return "page is not well-formed XML"
    if page.namespace.strip() != "0":
        return "not an article (other namespace)"
    if page.redirect:
        return "redirect"
    if page.model.strip() not in ("", "wikitext"):
        return "not wikitext"
    return page.title, page.text


def articles(part: Part, counts: Counter) -> Iterator[tuple[str, str]]:
    """(title, wikitext) of the part's articles, in the dump's order. Pages and drops are added to `counts`."""
    for xml in page_xml(chunks(part), part.path):
        counts["pages"] += 1
        found = "page too long" if xml is None else article(xml)
        if isinstance(found, str):
            counts[f"drop: {found}"] += 1
        else:
            counts["articles"] += 1
            yield found
