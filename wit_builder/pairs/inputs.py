"""What there is to read: archives, HTML files, folders and Common Crawl's `paths` files become tasks of bounded size."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.pairs.archives import NotAnArchive, read_records

_ARCHIVE = re.compile(r"\.(?:warc|wat)(?:\.gz)?$", re.IGNORECASE)
_HTML = re.compile(r"\.(?:html?|xhtml|shtml)(?:\.gz)?$", re.IGNORECASE)
_PATHS = re.compile(r"\.paths(?:\.gz)?$", re.IGNORECASE)
HTML_TASK_FILES, HTML_TASK_BYTES = 256, 64 << 20  # loose pages of one task


@dataclass(frozen=True)
class Source:
    """One file to read.

    Attributes:
      path: where it is.
      name: its `source_file`: the path below the input's root.
      archive: WARC or WAT rather than HTML.
      bytes: its size.
    """

    path: str
    name: str
    archive: bool
    bytes: int


@dataclass(frozen=True)
class Task:
    """Files that one process reads in a row: one archive, or a few hundred loose pages."""

    number: int
    sources: tuple[Source, ...]

    @property
    def bytes(self) -> int:
        return sum(source.bytes for source in self.sources)


def find_sources(patterns: Sequence[str], prefix: str | None = None) -> list[Source]:
    """Every file that the patterns name, sorted by name and without repeats.

    A folder stands for all archives and pages in it and below it. A `paths` file stands for its lines, each
    after `prefix` (without one: in the folder of the paths file).

    Raises:
      UserError: where a pattern names nothing that can be read.
    """
    names: dict[str, str] = {}
    for pattern in patterns:
        for path, raw_name in _expand(pattern, prefix):
            name = raw_name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # disks take any bytes
            names[path] = min(name, names.get(path, name))  # of a file that several patterns name
    sizes = files.sizes(list(names))
    missing = sorted(names.keys() - sizes.keys())
    if missing:
        others = f", and {len(missing) - 1:,} others neither" if len(missing) > 1 else ""
        raise UserError(f"not there{others}", where=missing[0], fix="check the path, and --prefix where a paths file names it")
    sources = [Source(path, name, _ARCHIVE.search(path) is not None, sizes[path]) for path, name in names.items()]
    for source in sources:
        if source.archive and not files.is_remote(source.path):
            _check(source)
    return sorted(sources, key=lambda source: (source.name, source.path))


def _check(source: Source) -> None:
    """Tell at once, before the output folder is touched, of a local file that is no archive. Workers find out for others."""
    with files.open_read(source.path) as stream:
        try:
            next(read_records(stream, frozenset((b"warcinfo", b"response", b"resource", b"metadata")), lambda what, offset: None), None)
        except NotAnArchive as error:
            raise UserError("not a WARC file", where=source.path, fix="check the path, or get the file again") from error


def _expand(pattern: str, prefix: str | None) -> Iterable[tuple[str, str]]:
    if not pattern.endswith("*") and files.is_folder(pattern):
        wanted = [path for path in files.below(pattern) if _is_readable(path)]
        if not wanted:
            raise UserError("no WARC, WAT or HTML files in this folder", where=pattern, fix="check the path")
        yield from ((path, files.relative_name(path, pattern)) for path in wanted)
        return
    for path in files.match_all([pattern], what="file"):
        if _PATHS.search(path):
            yield from _paths(path, prefix)
        elif _is_readable(path):
            yield path, files.relative_name(path, files.input_root(pattern))
        else:
            raise UserError(
                "neither an archive (.warc, .wat), a page (.html) nor a list of archives (.paths)", where=path, fix="check the path"
            )


def _is_readable(path: str) -> bool:
    return _ARCHIVE.search(path) is not None or _HTML.search(path) is not None


def _paths(path: str, prefix: str | None) -> Iterable[tuple[str, str]]:
    data = files.read_bytes(path)
    try:
        lines = (gzip.decompress(data) if path.endswith(".gz") else data).decode().split()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"not a list of paths: {error}", where=path, fix="download it again") from error
    if not lines:
        raise UserError("lists nothing", where=path, fix="download it again")
    root = files.input_root(path) if prefix is None else prefix
    for line in lines:
        if not _is_readable(line):
            raise UserError(f"lists {line}, neither an archive (.warc, .wat) nor a page", where=path, fix="take warc.paths or wat.paths")
        yield files.join(root, line), line


def make_tasks(sources: Sequence[Source]) -> list[Task]:
    """One task for each archive; loose pages in groups. The same for any number of workers."""
    groups: list[list[Source]] = []
    pages: list[Source] = []
    for source in sources:
        if source.archive:
            groups.append([source])
            continue
        if pages and (len(pages) >= HTML_TASK_FILES or sum(page.bytes for page in pages) + source.bytes > HTML_TASK_BYTES):
            groups.append(pages)
            pages = []
        pages.append(source)
    if pages:
        groups.append(pages)
    return [Task(number, tuple(group)) for number, group in enumerate(groups)]
