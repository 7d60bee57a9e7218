"""One task of extraction: files in, sorted runs of pairs and counts out."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastwarc.warc import WarcRecordType

from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.pairs import archives
from wit_builder.pairs.charsets import decode
from wit_builder.pairs.html import read_page
from wit_builder.pairs.inputs import Source, Task
from wit_builder.pairs.rules import Page, pairs_of
from wit_builder.pairs.spill import SpillWriter
from wit_builder.pairs.wat import read_wat

_KINDS = frozenset((b"response", b"resource", b"metadata"))
MAX_FAULTS = 100  # places of one file that are told; the rest is only counted


@dataclass(frozen=True)
class Extract:
    """A `Work` (`wit_builder.parallel`): reads a task's files, spills their pairs, returns counts.

    The result maps `counts` and `drops` to numbers by name, `runs` to paths, and `faults` to [file, offset, what].

    Raises:
      UserError: where a file is missing or no archive at all; with `strict`, at the first fault.
    """

    work: str
    partitions: int
    text_sources: tuple[str, ...] = ("alt",)
    base_url: str | None = None
    strict: bool = False

    def load(self) -> None:
        return None

    def __call__(self, loaded: None, task: Task) -> dict[str, Any]:
        done = files.join(self.work, f"task-{task.number:05d}.json")
        if files.exists(done):
            return files.read_json(done)
        spill = SpillWriter(self.work, f"run-{task.number:05d}", self.partitions)
        counts: Counter = Counter(files=len(task.sources))
        drops: Counter = Counter()
        faults: list[tuple[str, int, str]] = []

        for source in task.sources:

            def fault(what: str, offset: int, source: Source = source) -> None:
                if self.strict:
                    raise UserError(f"{what} at byte {offset}", where=source.path, fix="get the file again, or leave out --strict")
                counts[what.replace(" ", "_")] += 1
                if len(faults) < MAX_FAULTS:
                    faults.append((source.name, offset, what))

            def page(page: Page, source: Source = source) -> None:
                pairs, why = pairs_of(page, self.text_sources)
                counts["pages"] += 1
                counts["images"] += len(page.images)
                drops.update(why)
                for url, text, text_source in pairs:
                    spill.add(url, text, page.url, source.name, text_source)

            if source.archive:
                self._archive(source, page, fault, counts)
            else:
                self._html(source, page, fault)
        spill.flush()
        counts["pairs_found"] = spill.pairs
        result = {"counts": dict(counts), "drops": dict(drops), "runs": spill.runs, "faults": faults}
        files.write_json(done, result)
        return result

    def _archive(self, source: Source, page: Callable, fault: Callable, counts: Counter) -> None:
        with files.open_read(source.path) as stream:
            try:
                for offset, record, cut in archives.read_records(stream, _KINDS, fault):
                    counts["records"] += 1
                    counts["records_cut"] += cut
                    try:
                        found = page_of(record)
                    except ValueError:
                        fault(archives.BROKEN_RECORD, offset)
                        continue
                    if found is not None:
                        page(found)
            except archives.NotAnArchive as error:
                raise UserError("not a WARC file", where=source.path, fix="check the path, or get the file again") from error

    def _html(self, source: Source, page: Callable, fault: Callable) -> None:
        data = files.read_bytes(source.path)
        if source.path.endswith(".gz"):
            try:
                data = gzip.decompress(data)
            except (OSError, EOFError, zlib.error):
                fault(archives.BROKEN_MEMBER, 0)
                return
        url = self.base_url.rstrip("/") + "/" + quote(source.name) if self.base_url else ""
        page(read_page(url, decode(data[: archives.MAX_BODY])))


def page_of(record: Any) -> Page | None:
    """What a WARC or WAT record says of an HTML page's images; None where it is not about one.

    Raises:
      ValueError: where the record cannot be read.
    """
    url = (record.headers.get("WARC-Target-URI") or "").strip("<> ")
    content_type = record.headers.get("Content-Type") or ""
    if record.record_type == WarcRecordType.metadata:
        return read_wat(record.reader.read()) if content_type.startswith("application/json") else None
    if content_type.startswith("application/http"):
        try:
            record.parse_http(auto_decode="all")
            content_type = record.http_headers.get("Content-Type") or ""
            if content_type.split(";")[0].strip().lower() not in ("text/html", "application/xhtml+xml"):
                return None
            body = record.reader.read(archives.MAX_BODY)
        except OSError as error:
            raise ValueError(str(error)) from error
    elif content_type.split(";")[0].strip().lower() in ("text/html", "application/xhtml+xml"):
        body = record.reader.read(archives.MAX_BODY)
    else:
        return None
    return read_page(url, decode(body, content_type))
