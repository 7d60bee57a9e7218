"""Small dumps in MediaWiki's format, for the tests of the query list."""

import bz2
from html import escape

from queries.parts import plan
from queries.words import MergeWords, ReadArticles, write_vocabulary

HEAD = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">\n'
    "  <siteinfo><dbname>enwiki</dbname></siteinfo>\n"
)
TAIL = "</mediawiki>\n"


def page(title: str, text: str, namespace: int = 0, redirect: bool = False, model: str = "wikitext") -> str:
    target = '    <redirect title="Elsewhere" />\n' if redirect else ""
    return (
        f"  <page>\n    <title>{escape(title)}</title>\n    <ns>{namespace}</ns>\n    <id>1</id>\n{target}"
        f"    <revision><id>2</id><comment>a &lt;page&gt; was made</comment><model>{model}</model>"
        f'<text xml:space="preserve">{escape(text)}</text></revision>\n  </page>\n'
    )


def dump(pages: list[str]) -> bytes:
    return (HEAD + "".join(pages) + TAIL).encode()


def multistream(pages: list[str], each: int) -> tuple[bytes, bytes]:
    """The dump with a bz2 stream for every `each` pages, and its index."""
    data, index = bz2.compress(HEAD.encode()), []
    for start in range(0, len(pages), each):
        group = pages[start : start + each]
        index += [f"{len(data)}:{start + number}:Title: {number}\n" for number in range(len(group))]
        data += bz2.compress("".join(group).encode())
    return data + bz2.compress(TAIL.encode()), "".join(index).encode()


def count_words(path, folder, part_bytes, min_count, partitions=3):
    """Parts of a dump, read and merged in this process; the parts, and what the merge of each partition told."""
    parts = plan(str(path), part_bytes)
    for index, part in enumerate(parts):
        ReadArticles(str(folder), partitions)(None, (index, part))
    merged = [MergeWords(str(folder), len(parts), min_count, 4)(None, partition) for partition in range(partitions)]
    write_vocabulary(str(folder), partitions)
    return parts, merged
