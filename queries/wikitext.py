"""Wikitext to plain text: two linear passes of one regular expression each.

What counts as text is what mwparserfromhell's `parse(text).strip_code()` keeps (docs/queries.md lists it construct by
construct). The first pass settles what hides other markup: comments, tags whose content is not wikitext, templates and
arguments. The second strips links, tags, tables, entities and quotation styles from what is left. Markup that is never
closed stays as text, as in MediaWiki. Both passes take time in proportion to the page: nothing is ever read twice, and
open constructs beyond `MAX_DEPTH` become text, oldest first.
"""

from __future__ import annotations

import re
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
_TEMPLATE_NAME = re.compile(r"\s*+[^\[\]<>{}|\n]*+\s*+(?:\||$)")

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
    return _strip_markup(_hide(wikitext))


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
            out.append(found.group())
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
    out.append(text[position:])
    return "".join(out)


def _close_braces(text: str, start: int, end: int, out: list[str], open_braces: list[list[int]]) -> int:
    """Close templates (two braces) and arguments (three) with the run text[start:end]; returns where to read on."""
    while end - start >= 2 and open_braces:
        opened = open_braces[-1]
        length, place, content = opened
        braces = 3 if length >= 3 and end - start >= 3 else 2
        if braces == 3:
            default = "".join(out[place + 1 :]).partition("|")[2]
            out[place:] = ["{" * (length - 3), default]
        elif _TEMPLATE_NAME.match(text, content, start):
            out[place:] = ["{" * (length - 2)]
        else:
            out[place] = "{" * (length - 2) + "{{"  # no template: its braces are text
        start += braces
        opened[0] -= braces
        if opened[0] < 2:
            open_braces.pop()
        else:
            opened[2] = start
    if end > start:
        out.append("}" * (end - start))
    return end


_LINK, _EXTERNAL, _TABLE = "[[", "[", "{|"  # kinds on the stack beside the names of tags


class _Open:
    """A construct that waits for its end. Where that never comes, what `out` holds at `place` stays as text."""

    __slots__ = ("kind", "place", "start", "cell", "cell_start")

    def __init__(self, kind: str, place: int, start: int) -> None:
        self.kind, self.place, self.start = kind, place, start
        self.cell = -1  # of a table: where in `out` a cell starts whose attributes may still come
        self.cell_start = 0


def _strip_markup(text: str) -> str:
    """Second pass: the text without links' targets, tags, tables' marks and attributes, quotation styles, entities."""
    out: list[str] = []
    stack: list[_Open] = []
    position = 0
    text = "\n" + text  # so that the first line is a line like any other

    def push(kind: str, literal: str, start: int) -> _Open:
        out.append(literal)
        if len(stack) >= MAX_DEPTH:
            del stack[0]
        stack.append(_Open(kind, len(out) - 1, start))
        return stack[-1]

    search = _MARKUP.search
    while found := search(text, position):
        start, end = found.span()
        if start > position:
            out.append(text[position:start])
        position = end
        first = text[start]
        source = found.group()
        if first == "[":
            if source.startswith("[["):
                target, bar, shown = source[2:].partition("|")
                if not bar:
                    out.append(target[:-2])
                elif shown:
                    out.append(shown[:-2])
                else:
                    push(_LINK, source, start)
            else:
                push(_EXTERNAL, source, start)
        elif first == "]":
            position = _close_bracket(text, source, start, out, stack)
        elif first == "'":
            out.append("" if len(source) in (2, 3, 5) else "'")
        elif first == "&":
            out.append(_entity(source))
        elif first == "<":
            _tag(source, start, out, stack, push)
        else:
            _table_mark(text, source, start, end, out, stack, push)
    out.append(text[position:])
    return "".join(out).strip("\n")


def _close_bracket(text: str, source: str, start: int, out: list[str], stack: list[_Open]) -> int:
    """Close the link that `]` or `]]` ends; returns where to read on."""
    for depth in range(len(stack) - 1, -1, -1):
        opened = stack[depth]
        if opened.kind == _TABLE:
            break
        if opened.kind == _LINK and source == "]]":
            out[opened.place] = ""
            del stack[depth:]
            return start + 2
        if opened.kind == _EXTERNAL:
            same_line = text.find("\n", opened.start, start) < 0
            if same_line:
                out[opened.place] = ""
            del stack[depth:]
            if same_line:
                return start + 1
            return _close_bracket(text, source, start, out, stack)
    out.append(source)
    return start + len(source)


def _tag(source: str, start: int, out: list[str], stack: list[_Open], push) -> None:
    """Open or close a tag of HTML or of an extension."""
    name = _TAG_NAME.match(source).group(1).lower()  # type: ignore[union-attr]
    space = " " if name in _BREAKS else ""
    if name in _SINGLE or source[-2] == "/":
        out.append(space)
        return
    if source[1] != "/":
        push(name, source, start)
        return
    for depth in range(len(stack) - 1, -1, -1):
        opened = stack[depth]
        if opened.kind in (_LINK, _EXTERNAL, _TABLE):
            break
        if opened.kind == name:
            out[opened.place] = space
            out.append(space)
            for unclosed in stack[depth + 1 :]:
                if unclosed.kind in _SINGLE_TOO:
                    out[unclosed.place] = " "
            del stack[depth:]
            return
    out.append(source)


def _table_mark(text: str, source: str, start: int, end: int, out: list[str], stack: list[_Open], push) -> None:
    """A mark that means something in tables, and elsewhere is text."""
    mark = source.lstrip("\n \t")
    line_start = source[0] == "\n"
    if mark.startswith("{|"):
        push(_TABLE, source, start)
        return
    if not line_start:
        # Inside a link's or a tag's content the mark belongs to that.
        table = stack[-1] if stack and stack[-1].kind == _TABLE else None
    else:
        table = None
        for depth in range(len(stack) - 1, -1, -1):
            if stack[depth].kind == _TABLE:
                table = stack[depth]
                del stack[depth + 1 :]  # what a cell opened and did not close is text
                break
    if table is None:
        out.append(source)
        return
    out.append("\n")
    if mark == "|}":
        out[table.place] = "\n"
        stack.pop()
    elif mark.startswith("|-"):
        table.cell = -1
    elif mark == "|" and not line_start:
        if table.cell >= 0 and text.find("\n", table.cell_start, start) < 0:
            del out[table.cell :]  # what stood before the bar were the cell's attributes
            out.append("\n")
        table.cell = -1
    else:
        table.cell, table.cell_start = len(out), end
