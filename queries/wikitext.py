"""Wikitext to plain text: two linear passes of one regular expression each.

What counts as text is what mwparserfromhell's `parse(text).strip_code()` keeps (docs/queries.md lists it construct by
construct). The first pass settles what hides other markup: comments, tags whose content is not wikitext, templates and
arguments. The second strips links, tags, tables, entities and quotation styles from what is left. Markup that is never
closed stays as text, as in MediaWiki. Both passes take time in proportion to the page: nothing is ever read twice, and
open constructs beyond `MAX_DEPTH` become text, oldest first.
"""

from __future__ import annotations

import re
from functools import lru_cache
from html.entities import name2codepoint

MAX_DEPTH = 100  # open links, tags and tables kept in mind; mwparserfromhell stops there too

# Parser extension tags: their content is not wikitext. https://www.mediawiki.org/wiki/Parser_extension_tags
_RAW_SHOWN = frozenset({"ce", "chem", "hiero", "nowiki", "pre", "source", "syntaxhighlight"})
_RAW_HIDDEN = frozenset({
    "categorytree", "gallery", "graph", "imagemap", "inputbox", "math", "score", "section", "templatedata", "timeline",
})  # fmt: skip
_RAW = _RAW_SHOWN | _RAW_HIDDEN

# Tags that end a word, as the line or block break they draw; `ref` draws a footnote mark.
_BREAKS = frozenset({
    "blockquote", "br", "center", "dd", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "ref", "table", "td",
    "th", "tr", "ul",
})  # fmt: skip
_SINGLE = frozenset({"br", "wbr", "hr", "meta", "link", "img"})  # never closed
_SINGLE_TOO = frozenset({"li", "dt", "dd", "th", "td", "tr"})  # may stay open

_HIDING = re.compile(
    r"\{\{++|\}\}++|<!--|<(?:" + "|".join(sorted(_RAW)) + r")(?=[\s/>])[^<>]*+>",
    re.IGNORECASE,
)
_CLOSING_RAW = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in _RAW}
_TAG_NAME = re.compile(r"</?([^\s/<>]+)")
# A template's name holds none of these; a line break only at its ends.
_TEMPLATE_NAME = re.compile(r"\s*+[^\[\]<>|\n]{0,512}+\s*+(?:\||$)")
# Characters; they bound what one closing brace or bracket can cost.
_MAX_NAME, _MAX_CUT, _MAX_TITLE = 512, 10_000, 10_000

_ENTITY = r"&(?:\#[0-9]{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
_ENTITY_ALONE = re.compile(_ENTITY)
_SCHEMES = (
    "bitcoin:|ftps?://|geo:|git://|gopher://|https?://|ircs?://|magnet:|mailto:|mms://|news:|nntp://|redis://|sftp://|sips?:|sms:|ssh://|"
    "svn://|tel:|telnet://|urn:|worldwind://|xmpp:|//"
)
_MARKUP = re.compile(
    rf"""
    \[\[ [^\[\]{{}}<>|\n]*+ (?: \]\] | \| (?: [^\[\]{{}}<>|\n&']*+ \]\] )?+ )   # a link: whole where it is simple, else its opening
    | \[ (?:{_SCHEMES}) [^\s\[\]<>"]++ [ \t]*+                                  # an external link's opening and address
    | \]\]?
    | </?[A-Za-z] [^<>]*+ >                                                     # a tag
    | {_ENTITY}
    | ''++
    | \n [ \t]?+ (?: \{{\| [^\n]*+ | \|\}} | \|-[^\n]*+ | [|!] )                # a line of a table
    | \|\|? | !!
    """,
    re.VERBOSE,
)
_NEUTRAL = {ord(character): " " for character in "[]{}<>|'&!\n="}


def to_text(wikitext: str) -> str:
    """Text of a page as its reader sees it: no templates, no markup, entities decoded.

    >>> to_text("'''Dogs''' are [[animal|animals]].{{citation needed}}")
    'Dogs are animals.'
    """
    return _Stripper(_hide(wikitext)).strip()


def _entity(source: str) -> str:
    """The character an entity stands for; the entity itself where it stands for none."""
    name = source[1:-1]
    if name[0] != "#":
        point = name2codepoint.get(name)
    elif name[1] in "xX":
        point = int(name[2:], 16)
    else:
        point = int(name[1:])
    return chr(point) if point and point <= 0x10FFFF else source


def _raw_text(content: str) -> str:
    """Content of a tag that is not wikitext, with nothing left in it that the second pass would take for markup."""
    return _ENTITY_ALONE.sub(lambda found: _entity(found.group()), content).translate(_NEUTRAL)


def _hide(text: str) -> str:
    """First pass: the text without comments, templates, and tags whose content is not wikitext."""
    out: list[str] = []
    open_braces: list[list[int]] = []  # [length of the run of braces, position in `out`, start of the content in `text`]
    unclosed: set[str] = set()  # what is not closed anywhere ahead, not to be looked for again
    position = 0
    while found := _HIDING.search(text, position):
        start, end = found.span()
        if start > position:
            out.append(text[position:start])
        kind = text[start]
        position = end
        if kind == "{":
            out.append("")  # written when it is known how many of the braces close
            open_braces.append([end - start, len(out) - 1, end])
        elif kind == "}":
            position = _close_braces(text, start, end, out, open_braces)
        elif text.startswith("<!--", start):
            closing = -1 if "<!--" in unclosed else text.find("-->", end)
            if closing < 0:
                unclosed.add("<!--")
                out.append(" ")
            else:
                position = closing + 3
        else:
            name = _TAG_NAME.match(text, start).group(1).lower()  # type: ignore[union-attr]
            if text[end - 2] == "/":
                continue
            closed = None if name in unclosed else _CLOSING_RAW[name].search(text, end)
            if closed is None:
                unclosed.add(name)
                out.append(found.group())
                continue
            if name in _RAW_SHOWN:
                out.append(_raw_text(text[end : closed.start()]))
            position = closed.end()
    for length, place, _ in open_braces:
        out[place] = "{" * length
    out.append(text[position:])
    return "".join(out)


def _close_braces(text: str, start: int, end: int, out: list[str], open_braces: list[list[int]]) -> int:
    """Close templates (two braces) and arguments (three) with the run text[start:end]; returns where to read on."""
    while end - start >= 2 and open_braces:
        opened = open_braces[-1]
        length, place, content = opened
        braces = 3 if length >= 3 and end - start >= 3 else 2
        if braces == 3:
            _keep_default(out, place)
        elif _TEMPLATE_NAME.match(text, content, start):
            del out[place + 1 :]
        else:
            out.append("}}")  # no template: its braces are text
        start += braces
        opened[0] -= braces
        if opened[0] < 2:
            out[place] = "{" * opened[0]
            open_braces.pop()
        else:
            opened[2] = start
    if end > start:
        out.append("}" * (end - start))
    return end


def _keep_default(out: list[str], place: int) -> None:
    """Of an argument's content, what follows its name: nothing where it has no default."""
    bar = out[place + 1].find("|", 0, _MAX_NAME) if len(out) > place + 1 else -1
    if bar < 0:
        del out[place + 1 :]
    elif len(out[place + 1]) < _MAX_CUT:
        out[place + 1] = out[place + 1][bar + 1 :]


_LINK, _EXTERNAL, _TABLE = "[[", "[", "{|"


class _Frame:
    """A link, an external link or a table that waits for its end, and the tags open inside it.

    Where the end never comes, what `out` holds at `place` stays as text.
    """

    __slots__ = ("kind", "place", "start", "tags", "names", "cell", "cell_start")

    def __init__(self, kind: str, place: int, start: int) -> None:
        self.kind, self.place, self.start = kind, place, start
        self.tags: list[tuple[str, int]] = []  # name, place in `out`
        self.names: dict[str, int] = {}  # how many of each name are among the tags
        self.cell = -1  # of a table: where in `out` a cell starts whose attributes may still come
        self.cell_start = 0


class _Stripper:
    """Second pass: the text without links' targets, tags, tables' marks and attributes, quotation styles, entities.

    Every step costs the same however much is open: a search among what is open ends it, or finds by its counts that
    there is nothing to find.
    """

    def __init__(self, text: str) -> None:
        self.text = "\n" + text  # so that the first line is a line like any other
        self.out: list[str] = []
        self.frames = [_Frame("", -1, 0)]
        self.tables = 0  # among the frames

    def strip(self) -> str:
        text, out, search = self.text, self.out, _MARKUP.search
        position = 0
        while found := search(text, position):
            start, end = found.span()
            if start > position:
                out.append(text[position:start])
            position = end
            source = found.group()
            first = source[0]
            if first == "[":
                if source[1] != "[":
                    self._push(_EXTERNAL, source, start)
                    continue
                target, bar, shown = source[2:].partition("|")
                if not bar:
                    out.append(target[:-2])
                elif shown:
                    out.append(shown[:-2])
                else:
                    self._push(_LINK, source, start)
            elif first == "]":
                position = self._close_bracket(source, start)
            elif first == "'":
                if len(source) not in (2, 3, 5):
                    out.append("'")
            elif first == "&":
                out.append(_entity(source))
            elif first == "<":
                self._tag(source)
            else:
                self._table_mark(source, start, end)
        out.append(text[position:])
        return "".join(out).strip("\n")

    def _push(self, kind: str, literal: str, start: int) -> None:
        if len(self.frames) > MAX_DEPTH:
            self.tables -= self.frames[1].kind == _TABLE
            del self.frames[1]
        self.frames.append(_Frame(kind, len(self.out), start))
        self.tables += kind == _TABLE
        self.out.append(literal)

    def _close_bracket(self, source: str, start: int) -> int:
        """Close the link that `]` or `]]` ends; returns where to read on."""
        while (frame := self.frames[-1]).kind == _EXTERNAL:
            self.frames.pop()
            if self.text.find("\n", frame.start, min(start, frame.start + _MAX_TITLE)) < 0:
                self.out[frame.place] = ""
                return start + 1
        if frame.kind == _LINK and source == "]]":
            self.frames.pop()
            self.out[frame.place] = ""
        else:
            self.out.append(source)
        return start + len(source)

    def _tag(self, source: str) -> None:
        """Open or close a tag of HTML or of an extension."""
        name, closes, alone = _tag_of(source) if len(source) < 64 else _read_tag(source)
        space = " " if name in _BREAKS else ""
        if alone:
            self.out.append(space)
            return
        frame = self.frames[-1]
        tags, names = frame.tags, frame.names
        if not closes:
            if len(tags) >= MAX_DEPTH:
                names[tags.pop(0)[0]] -= 1
            tags.append((name, len(self.out)))
            names[name] = names.get(name, 0) + 1
            self.out.append(source)
            return
        if not names.get(name):
            self.out.append(source)
            return
        while True:
            opened, place = tags.pop()
            names[opened] -= 1
            if opened == name:
                self.out[place] = space
                self.out.append(space)
                return
            if opened in _SINGLE_TOO:
                self.out[place] = " "

    def _table_mark(self, source: str, start: int, end: int) -> None:
        """A mark that means something in tables, and elsewhere is text."""
        mark = source.lstrip("\n \t")
        line_start = source[0] == "\n"
        if mark.startswith("{|"):
            self._push(_TABLE, source, start)
            return
        if line_start and self.tables:
            while self.frames[-1].kind != _TABLE:
                self.frames.pop()  # what a cell opened and did not close is text
        frame = self.frames[-1]
        # Inside a link's or a tag's content the mark belongs to that.
        if frame.kind != _TABLE or (frame.tags and not line_start):
            self.out.append(source)
            return
        if line_start:
            frame.tags.clear()
            frame.names.clear()
        self.out.append("\n")
        if mark == "|}":
            self.out[frame.place] = "\n"
            self.frames.pop()
            self.tables -= 1
        elif mark == "|" and not line_start:
            if frame.cell >= 0 and self.text.find("\n", frame.cell_start, start) < 0:
                del self.out[frame.cell :]  # what stood before the bar were the cell's attributes
                self.out.append("\n")
            frame.cell = -1
        elif mark.startswith("|-"):
            frame.cell = -1
        else:
            frame.cell, frame.cell_start = len(self.out), end


def _read_tag(source: str) -> tuple[str, bool, bool]:
    """Name of a tag, whether it closes, and whether it stands alone."""
    name = _TAG_NAME.match(source).group(1).lower()  # type: ignore[union-attr]
    return name, source[1] == "/", name in _SINGLE or source[-2] == "/"


_tag_of = lru_cache(4096)(_read_tag)  # most tags are the same few
