"""Titles of much-read articles: page views in both formats that Wikimedia publishes, added up by title.

- hourly `pageviews-YYYYMMDD-HH0000.gz`: `en.m Title_with_underscores 12 0`: project, title, views, bytes;
  https://dumps.wikimedia.org/other/pageviews/
- daily or monthly `pageviews-YYYYMMDD-user.bz2` of pageview_complete:
  `en.wikipedia Title 1234 mobile-web 12 A5B7`: project, title, page id, access, views, views by hour;
  https://dumps.wikimedia.org/other/pageview_complete/

Desktop and mobile views count alike. Page views stand in for the search volume of the paper.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import numpy as np
import pyarrow as pa

from queries import spill
from queries.parts import Part, chunks, lines
from wit_builder import files
from wit_builder.text import clean, normal_form

VIEWS = pa.schema([("title", pa.string()), ("views", pa.int64())])
CANDIDATES = pa.schema([("query", pa.string()), ("count", pa.int64()), ("score", pa.float64())])

MAX_TITLE_BYTES = 255  # MediaWiki's own limit
_MAX_LINE = 64 << 10  # bytes: a longer line is no line of page views
_SPILL_TITLES = 500_000  # titles held before they are spilled
_MAX_VIEWS = 10**15

_ACCESS = frozenset({"desktop", "mobile-web", "mobile-app"})
_QUALIFIER = re.compile(r"\s*\(disambiguation\)$", re.IGNORECASE)
# Pages that are no articles, where no dump says which are: MediaWiki's namespaces on the English Wikipedia.
_NAMESPACE = re.compile(
    r"(?:(?:media|special|talk|user|wikipedia|project|wp|file|image|mediawiki|template|help|category|portal|book|draft|education program|"
    r"timedtext|module|gadget|gadget definition|topic)(?: talk)?|mos):",
    re.IGNORECASE,
)


def decode_title(encoded: bytes) -> str | None:
    """A title as its article bears it: percent-encoding and underscores decoded, first letter upper case.

    None where it is no title: not UTF-8, longer than MediaWiki allows, or empty.
    """
    raw = unquote_to_bytes(encoded) if b"%" in encoded else encoded
    if len(raw) > MAX_TITLE_BYTES:
        return None
    try:
        title = clean(raw.decode("utf-8").replace("_", " "))
    except UnicodeDecodeError:
        return None
    return title[:1].upper() + title[1:] or None


def title_query(title: str) -> str:
    """The query that a title makes: without a trailing "(disambiguation)"."""
    return _QUALIFIER.sub("", title)


def title_key(title: str) -> str:
    """Normal form of the query that a title makes: titles with the same key are one query."""
    return normal_form(title_query(title))


def parse_line(line: bytes, project: str) -> tuple[bytes, int] | None:
    """(encoded title, views) of a line of either format; None where it is another project's or no such line.

    Args:
      project: as in "en.wikipedia": "en", "en.m" and "en.zero" are its codes in the hourly files.
    """
    fields = line.split(b" ")
    language = project.removesuffix(".wikipedia").encode()
    if len(fields) == 4:
        code, title, views = fields[0], fields[1], fields[2]
        if code != language and code not in (language + b".m", language + b".zero"):
            return None
    elif len(fields) == 6:
        code, title, views = fields[0], fields[1], fields[4]
        if code != project.encode() or fields[3].decode("ascii", "replace") not in _ACCESS:
            return None
    else:
        return None
    if not views.isdigit() or len(views) > 15:
        return None
    return title, int(views)


@dataclass(frozen=True)
class ReadViews:
    """Work: a part of a page-view file to spill files of views by title. Result: counts."""

    folder: str
    partitions: int
    project: str

    def load(self) -> None:
        return None

    def __call__(self, _: None, task: tuple[int, Part]) -> dict[str, int]:
        index, part = task
        done = files.join(self.folder, f"views-{index:06d}.json")
        if files.exists(done):  # written last: an interrupted run goes on behind it
            return files.read_json(done)["counts"]
        counts: Counter = Counter()
        views: Counter[bytes] = Counter()
        runs = 0
        for line in lines(chunks(part), part.start == 0, _MAX_LINE):
            found = parse_line(line, self.project)
            if found is None:
                counts["page-view lines of other projects"] += 1
                continue
            counts["page-view lines"] += 1
            views[found[0]] += found[1]
            if len(views) >= _SPILL_TITLES:
                self._write(index, runs, views, counts)
                views.clear()
                runs += 1
        self._write(index, runs, views, counts)
        files.write_json(done, {"counts": dict(counts), "runs": runs + 1})
        return dict(counts)

    def _write(self, index: int, run: int, views: Counter[bytes], counts: Counter) -> None:
        by_title: Counter[str] = Counter()
        for encoded, number in views.items():
            title = decode_title(encoded)
            if title is None:
                counts["drop: page view of no title"] += 1
            else:
                by_title[title] += number
        titles = sorted(by_title)
        partition = np.array([spill.partition_of(title_key(title), self.partitions) for title in titles], np.int64)
        table = pa.table([titles, [min(by_title[title], _MAX_VIEWS) for title in titles]], VIEWS)
        spill.write(files.join(self.folder, _views_name(index, run)), table, partition, self.partitions)


def _views_name(index: int, run: int) -> str:
    return spill.name(f"views-{index:06d}", run)


def merge_views(views: dict[str, int], known: set[str] | None) -> tuple[list[tuple[str, int]], Counter]:
    """Queries and their views, most viewed first, of titles that are articles.

    Titles with the same normal form are one query: views add up, and the most viewed title is displayed.

    Args:
      views: by title.
      known: the dump's articles; None where there is no dump.
    """
    counts: Counter = Counter()
    best: dict[str, tuple[int, str]] = {}
    total: Counter[str] = Counter()
    for title, number in views.items():
        if (title not in known) if known is not None else _NAMESPACE.match(title) is not None:
            counts["drop: viewed title is no article"] += 1
            continue
        key = title_key(title)
        if not key:
            counts["drop: title without a word"] += 1
            continue
        total[key] += number
        if key not in best or (-number, title) < (-best[key][0], best[key][1]):
            best[key] = (number, title)
    counts["titles"] = len(total)
    found = [(title_query(best[key][1]), number) for key, number in total.items()]
    return sorted(found, key=lambda row: (-row[1], row[0])), counts


@dataclass(frozen=True)
class MergeTitles:
    """Work: one partition of all page views and articles to candidates by falling views."""

    folder: str
    parts: int  # of dumps; 0 where there is none
    view_parts: int
    min_views: int

    def load(self) -> None:
        return None

    def __call__(self, _: None, partition: int) -> dict[str, int]:
        views: Counter[str] = Counter()
        for index in range(self.view_parts):
            for run in range(files.read_json(files.join(self.folder, f"views-{index:06d}.json"))["runs"]):
                batch = spill.read(files.join(self.folder, _views_name(index, run)), partition)
                for title, number in zip(batch["title"].to_pylist(), batch["views"].to_pylist()):
                    views[title] += number
        known = None
        if self.parts:
            known = set()
            for index in range(self.parts):
                known.update(spill.read(files.join(self.folder, spill.name("titles", index)), partition)["title"].to_pylist())
        rows, counts = merge_views(views, known)
        kept = [(query, number) for query, number in rows if number >= self.min_views]
        queries, numbers = [query for query, _ in kept], [number for _, number in kept]
        table = pa.table([queries, numbers, [float(number) for number in numbers]], CANDIDATES)
        spill.write_batches(files.join(self.folder, spill.name("title-candidates", partition)), CANDIDATES, iter([table]))
        return dict(counts) | {f"histogram: views {octave}": number for octave, number in spill.count_histogram(numbers).items()}
