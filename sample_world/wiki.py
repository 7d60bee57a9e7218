"""The made world's encyclopedia: a MediaWiki XML dump, multistream with its index, and page-view files beside it.

Its articles tell of the same things, colours and grounds as the web's captions, often enough to give words, bigrams
and titles to the query list, in wikitext with all that real articles hold: templates, tables, references, images,
lists, comments, mathematics, and now and then broken markup.
"""

from __future__ import annotations

import bz2
import gzip
import os
import urllib.parse
from xml.sax.saxutils import escape

import numpy as np

from sample_world.chance import chance, choose
from sample_world.vocabulary import COLOURS, GROUNDS, PATTERNS, THINGS
from wit_builder import files

PAGES_PER_STREAM = 40
NAMESPACES = {0: "", 1: "Talk", 2: "User", 4: "Wikipedia", 6: "File", 10: "Template", 14: "Category"}

_PLACES = ("northern villages", "old ports", "mountain towns", "river valleys", "island schools", "city markets")
_PEOPLE = ("painters", "sailors", "gardeners", "weavers", "potters", "printers", "children", "travellers")
_DOINGS = ("drew", "painted", "carved", "printed", "collected", "described", "photographed", "counted")
_SENTENCES = (
    "A photo of a {colour} [[{thing}]] {where} was taken in {year}.",
    "The '''{colour} {thing}''' is common in the {place}.",
    "Many {people} {did} {things} of this kind, most of them {colour} or {colour2}.",
    "In {year} a {pattern} [[{thing}|{thing}]] stood {where}, beside two {colour2} {things2}.",
    "{People} of the {place} {did} a {colour} {thing} and a {colour2} {thing2}.",
    "The word ''{thing}'' has been in use since {year}.<ref>{{{{cite book|title=On {things}|year={year}|page={page}}}}}</ref>",
    "A {colour} [[{thing2}]] {where} is a picture that {people} know well.",
    "Three {pattern} {things2} were seen {where}; one of them was {colour}.",
    "Its {pattern} form is found on [[coat of arms|coats of arms]] and on [[traffic sign]]s.",
    "A drawing of the {thing}, with {colour} {things2} {where}, hangs in the town hall.",
    "The [[postage stamp]] of {year} shows a {colour} {thing} {where}.",
    "There is a {pattern} {colour} {thing2} in the garden, and a {thing} {where}.",
)


def _sentence(g: np.random.Generator, thing: str, colour: str) -> str:
    other = choose(g, list(THINGS))
    people = choose(g, _PEOPLE)
    return choose(g, _SENTENCES).format(
        thing=thing, things=THINGS[thing][0], thing2=other, things2=THINGS[other][0], colour=colour, colour2=choose(g, list(COLOURS)),
        pattern=choose(g, list(PATTERNS)[1:]), where=GROUNDS[choose(g, list(GROUNDS))][0], place=choose(g, _PLACES), people=people,
        People=people.capitalize(), did=choose(g, _DOINGS), year=int(g.integers(1600, 2026)), page=int(g.integers(1, 400)),
    )  # fmt: skip


def _subjects() -> list[tuple[str, str | None, str | None]]:
    """Titles of all articles, with the thing and the colour that each is about."""
    subjects: list[tuple[str, str | None, str | None]] = [(thing.capitalize(), thing, None) for thing in THINGS]
    subjects += [(colour.capitalize(), None, colour) for colour in COLOURS]
    subjects += [(f"{colour.capitalize()} {thing}", thing, colour) for thing in THINGS for colour in COLOURS]
    subjects += [(f"{pattern.capitalize()} {thing}", thing, None) for pattern in list(PATTERNS)[1:] for thing in list(THINGS)[:5]]
    subjects += [(title, None, None) for title in (
        "Coat of arms", "Traffic sign", "Postage stamp", "Town hall", "Brick wall", "Grey paper", "On the water", "In the snow",
        "Jack-o'-lantern", "São Paulo (painting)", "AC/DC (cup)", "Café", "C♯ moon", "Stock photo", "My garden",
    )]  # fmt: skip
    return subjects


def _article(seed: int, title: str, thing: str | None, colour: str | None, tokens: int) -> str:
    """Wikitext of one article of about so many words."""
    g = chance("article", seed, title)

    def paragraph(sentences: int) -> str:
        return " ".join(
            _sentence(g, thing or choose(g, list(THINGS)), colour if colour and g.random() < 0.6 else choose(g, list(COLOURS)))
            for _ in range(sentences)
        )

    parts = [
        f"{{{{Short description|{title} of the made world}}}}\n{{{{Infobox thing\n| name = {title}\n| image = {title}.jpg\n"
        f"| caption = {{{{nowrap|hidden caption of {title}}}}}\n}}}}",
        f"[[File:{title}.jpg|thumb|right|A {title.lower()} in a thumbnail]]\n'''{title}''' is the subject of this article. {paragraph(4)}",
    ]
    headings = ("History", "Form and colour", "In pictures", "In the arts", "Uses", "Names")
    words = 0
    for number in range(12):
        if words > tokens:
            break
        text = paragraph(int(g.integers(5, 9)))
        words += len(text.split())
        parts.append(f"== {headings[number % len(headings)]} ==\n{text}")
        extra = int(g.integers(8))
        if extra == 0:
            rows = "".join(f"|-\n| {choose(g, list(COLOURS))} || {int(g.integers(1, 99))}\n" for _ in range(4))
            parts.append(f'{{| class="wikitable"\n! Colour !! Number\n{rows}|}}')
        elif extra == 1:
            parts.append("\n".join(f"* [[{choose(g, list(THINGS))}]] {GROUNDS[choose(g, list(GROUNDS))][0]}" for _ in range(4)))
        elif extra == 2:
            parts.append("<!-- a comment that no reader sees --> <math>\\frac{a}{b} = \\pi r^2</math> <code>for x in y</code>")
        elif extra == 3:
            parts.append("<gallery>\nFile:One.jpg|a picture\nFile:Two.jpg|another picture\n</gallery>")
        elif extra == 4 and g.random() < 0.3:
            parts.append("{{unclosed|template [[and a link '''without an end")
    parts.append("== References ==\n{{reflist}}\n[[Category:Things]]")
    parts.append(f"* [http://sample.invalid/{urllib.parse.quote(title)} An external link]")
    return "\n\n".join(parts)


def _pages(seed: int, tokens: int) -> list[tuple[str, int, str, str | None]]:
    """(title, namespace, wikitext, title redirected to) of every page, in the order of the dump."""
    pages: list[tuple[str, int, str, str | None]] = []
    for title, thing, colour in _subjects():
        pages.append((title, 0, _article(seed, title, thing, colour, tokens), None))
        g = chance("around", seed, title)
        if g.random() < 0.25:
            plural = f"{title}s"
            pages.append((plural, 0, f"#REDIRECT [[{title}]]", title))
        if g.random() < 0.3:
            namespace = choose(g, list(NAMESPACES)[1:])
            pages.append((f"{NAMESPACES[namespace]}:{title}", namespace, f"Not an article, though it names a {title.lower()}. ~~~~", None))
    return pages


def _page_xml(number: int, page: tuple[str, int, str, str | None]) -> str:
    title, namespace, text, target = page
    redirect = f'    <redirect title="{escape(target)}" />\n' if target else ""
    return (
        f"  <page>\n    <title>{escape(title)}</title>\n    <ns>{namespace}</ns>\n    <id>{number}</id>\n{redirect}"
        f"    <revision>\n      <id>{number + 10_000}</id>\n      <timestamp>2026-01-01T00:00:00Z</timestamp>\n"
        f"      <contributor><username>Maker</username><id>1</id></contributor>\n      <model>wikitext</model>\n"
        f'      <format>text/x-wiki</format>\n      <text bytes="{len(text.encode())}" xml:space="preserve">{escape(text)}</text>\n'
        f"      <sha1></sha1>\n    </revision>\n  </page>\n"
    )


def write_dump(folder: str, seed: int, tokens_per_article: int) -> dict[str, int]:
    """Write the dump (bz2, multistream) and its index into the folder. Returns the pages by kind."""
    pages = _pages(seed, tokens_per_article)
    names = "".join(f'      <namespace key="{key}" case="first-letter">{name}</namespace>\n' for key, name in NAMESPACES.items())
    streams = [
        '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">\n  <siteinfo>\n'
        "    <sitename>Sample</sitename>\n    <dbname>samplewiki</dbname>\n    <namespaces>\n"
        f"{names}    </namespaces>\n  </siteinfo>\n"
    ]
    index, position = [], len(bz2.compress(streams[0].encode()))
    for first in range(0, len(pages), PAGES_PER_STREAM):
        group = list(enumerate(pages))[first : first + PAGES_PER_STREAM]
        streams.append("".join(_page_xml(number + 1, page) for number, page in group))
        index += [f"{position}:{number + 1}:{page[0]}\n" for number, page in group]
        position += len(bz2.compress(streams[-1].encode()))
    streams.append("</mediawiki>\n")
    name = os.path.join(folder, "samplewiki-20260101-pages-articles-multistream")
    files.write_bytes(f"{name}.xml.bz2", b"".join(bz2.compress(stream.encode()) for stream in streams))
    files.write_bytes(f"{name}-index.txt.bz2", bz2.compress("".join(index).encode()))
    redirects = sum(target is not None for *_, target in pages)
    others = sum(namespace != 0 for _, namespace, *_ in pages)
    return {"articles": len(pages) - redirects - others, "redirects": redirects, "other namespaces": others}


def write_pageviews(folder: str, seed: int) -> None:
    """Write three hourly files and one daily file of page views, in the two forms that Wikimedia publishes."""
    titles = [title for title, *_ in _subjects()]
    # Popularity falls off with the rank; the rank is by chance, and the same in every file.
    rank = {title: place for place, title in enumerate(sorted(titles, key=lambda title: chance("popularity", seed, title).random()))}

    def views(title: str, *key: str | int) -> int:
        return int(chance("views", seed, title, *key).poisson(3000 / (rank[title] + 3)))

    for hour in range(3):
        lines = []
        for title in titles:
            name = title.replace(" ", "_")
            name = urllib.parse.quote(name) if hour == 1 else name
            for project in ("en", "en.m"):
                if number := views(title, hour, project):
                    lines.append(f"{project} {name} {number} 0\n")
        # other projects, pages that are no articles, titles that the dump lacks
        lines += ["de Stern 500 0\n", "en Special:Search 9000 0\n", "en Main_Page 7000 0\n", "en No_such_article 800 0\n"]
        stream = gzip.compress("".join(sorted(lines)).encode(), mtime=0)
        files.write_bytes(os.path.join(folder, f"pageviews-20260101-{hour:02d}0000.gz"), stream)
    lines = []
    for number, title in enumerate(titles):
        for access in ("desktop", "mobile-web"):
            if count := views(title, "day", access):
                lines.append(f"en.wikipedia {title.replace(' ', '_')} {number + 1} {access} {count} A{count}\n")
    lines += ["fr.wikipedia Étoile 17 desktop 400 B400\n", "en.wikipedia Star_(disambiguation) null desktop 60 C60\n"]
    files.write_bytes(os.path.join(folder, "pageviews-20260102-user.bz2"), bz2.compress("".join(sorted(lines)).encode()))
