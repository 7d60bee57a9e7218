"""One task of extraction: files in, sorted runs of pairs and counts out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from isal import isal_zlib

from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.pairs import archives
from wit_builder.pairs.charsets import to_utf8
from wit_builder.pairs.html import read_page
from wit_builder.pairs.inputs import Source, Task
from wit_builder.pairs.pages import MAX_PAGE, page_of
from wit_builder.pairs.rules import Page, pairs_of
from wit_builder.pairs.spill import SpillWriter
from wit_builder.text import clean

KINDS = frozenset((b"response", b"resource", b"metadata"))
MAX_FAULTS = 100  # places of one task that are told; the rest is only counted


@dataclass(frozen=True)
class Extract:
    """A `Work` (`wit_builder.parallel`): reads a task's files, spills their pairs, returns counts.

    A task that was done before, by a run that was interrupted, is not done again. The result maps `counts` and
    `drops` to numbers by name, `runs` to paths, and `faults` to [file, offset in bytes, what].

    Raises:
      UserError: where a file is no archive; with `strict`, at the first fault.
    """

    work: str
    partitions: int
    text_sources: tuple[str, ...] = ("alt",)
    base_url: str | None = None
    strict: bool = False

    def load(self) -> None:
        return None

    def __call__(self, loaded: None, task: Task) -> dict[str, Any]:
        done = files.join(self.work, f"task-{task.number:06d}.json")
        if files.exists(done):
            return files.read_json(done)
        reading = _Reading(self, task)
        for source in task.sources:
            reading.read(source)
        result = reading.result()
        files.write_json(done, result)
        return result


class _Reading:
    """A task under way: what was found so far."""

    def __init__(self, extract: Extract, task: Task) -> None:
        self.extract = extract
        self.captions = "figcaption" in extract.text_sources
        self.spill = SpillWriter(extract.work, f"run-{task.number:06d}", extract.partitions)
        self.counts: Counter = Counter()
        self.drops: Counter = Counter()
        self.faults: list[tuple[str, int, str]] = []

    def result(self) -> dict[str, Any]:
        self.spill.flush()
        self.counts["pairs_found"] = self.spill.pairs
        return {"counts": dict(self.counts), "drops": dict(self.drops), "runs": self.spill.runs, "faults": self.faults}

    def read(self, source: Source) -> None:
        self.counts["files"] += 1
        if source.archive:
            self._read_archive(source)
        else:
            self._read_html(source)

    def _read_archive(self, source: Source) -> None:
        def on_fault(what: str, offset: int) -> None:
            self._fault(source, offset, what)

        with files.open_read(source.path) as stream:
            try:
                for record in archives.read_records(stream, KINDS, on_fault):
                    self.counts["records"] += 1
                    self.counts["records_cut_at_16_MiB"] += record.cut
                    try:
                        page = page_of(record, captions=self.captions)
                    except ValueError:
                        on_fault(archives.BROKEN_RECORD, record.offset)
                        continue
                    if page is not None:
                        self._add(source, page)
            except archives.NotAnArchive as error:
                raise UserError("not a WARC file", where=source.path, fix="check the path, or get the file again") from error

    def _read_html(self, source: Source) -> None:
        with files.open_read(source.path) as stream:
            data = stream.read(MAX_PAGE)
        if data.startswith(b"\x1f\x8b"):
            try:
                inflater = isal_zlib.decompressobj(31)
                data = inflater.decompress(data, MAX_PAGE)
                if not inflater.eof and not inflater.unconsumed_tail:
                    self._fault(source, 0, archives.CUT_OFF)
            except isal_zlib.error:
                self._fault(source, 0, archives.BROKEN_MEMBER)
                return
        base = self.extract.base_url
        url = f"{base.rstrip('/')}/{quote(source.name)}" if base else ""
        self._add(source, read_page(url, to_utf8(data), captions=self.captions))

    def _add(self, source: Source, page: Page) -> None:
        pairs, drops = pairs_of(page, self.extract.text_sources)
        self.counts["pages"] += 1
        self.counts["images"] += len(page.images)
        self.drops.update(drops)
        self.spill.add(pairs, clean(page.url), source.name)

    def _fault(self, source: Source, offset: int, what: str) -> None:
        if self.extract.strict:
            raise UserError(f"{what} at byte {offset}", where=source.path, fix="get the file again, or leave out --strict")
        self.counts[f"faults_{what.replace(' ', '_')}"] += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append((source.name, offset, what))
