"""Shards of pairs to shards of images: one worker process's event loop, decoding threads and client."""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import logging
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from wit_builder.download import reasons
from wit_builder.download.fetch import Fetcher, host_key, parse_url
from wit_builder.download.hosts import Host, Hosts, Schedule
from wit_builder.download.live import Tally
from wit_builder.download.open_shard import OpenShard, open_planned, reopen, write
from wit_builder.download.planned import Folders, Planned
from wit_builder.download.reasons import is_transient
from wit_builder.download.retry import worth_retrying
from wit_builder.download.settings import FetchSettings
from wit_builder.download.summary import Summary, of_stats
from wit_builder.hashing import hash64
from wit_builder.images import ImageRules, encode_image
from wit_builder.shards import SUCCESS, is_whole, read_stats, shard_paths

_LEAST_TIME = 0.5  # seconds; with less left of its time, a pair is not tried again
_UNDECODED = 16  # bodies; with so many waiting for the decoding threads, nothing more is asked for


@dataclass
class Job:
    """One pair to be tried.

    Attributes:
      seconds: spent so far.
      tries: failed so far.
    """

    shard: OpenShard
    index: int
    url: str
    seconds: float = 0.0
    tries: int = 0


class Downloader:
    """The loop, client and threads of one worker process. Close it when done; at the process's end it closes itself.

    Args:
      settings: limits and manners.
      rules: how images are stored.
      threads: that decode and encode.
      live_folder: where to tell how far it is; nowhere where empty.
    """

    def __init__(self, settings: FetchSettings, rules: ImageRules, threads: int, live_folder: str = "") -> None:
        self.settings, self.rules = settings, rules
        self.tally = Tally(live_folder)
        self.hosts = Hosts(settings.host_connections, settings.host_rate)
        self.decoders = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self.loop = asyncio.new_event_loop()
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # hosts that break TLS off are no news
        warnings.filterwarnings("ignore", module="PIL")  # nor are broken images
        self._thread = threading.Thread(target=self.loop.run_forever, name="download", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self.loop).result()
        atexit.register(self.close)

    async def _open(self) -> None:
        self.schedule = Schedule(self.hosts)
        self.fetcher = Fetcher(self.settings, self.hosts)
        self._places = asyncio.Semaphore(self.settings.in_flight)
        self._undecoded, self._few_undecoded = 0, asyncio.Event()
        self._few_undecoded.set()
        self._jobs: set[asyncio.Task] = set()
        self._background = [asyncio.create_task(self._dispatch()), asyncio.create_task(self.tally.tell())]

    def close(self) -> None:
        """Close every connection and end the loop."""
        if self.loop.is_closed():
            return
        atexit.unregister(self.close)
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        self.decoders.shutdown()

    async def _close(self) -> None:
        for task in (*self._background, *self._jobs):
            task.cancel()
        await self.fetcher.close()

    def run(self, folders: Folders, planned: Sequence[Planned]) -> list[Summary]:
        """Make the shards that are not whole yet, and return a summary of each. May be called from several threads."""
        return asyncio.run_coroutine_threadsafe(self._run(folders, planned), self.loop).result()

    async def _run(self, folders: Folders, planned: Sequence[Planned]) -> list[Summary]:
        shards = []
        for plan in planned:
            paths = shard_paths(folders.output, plan.number)
            if await asyncio.to_thread(is_whole, paths):
                stats = await asyncio.to_thread(read_stats, paths)
                if not (folders.retry_failed and worth_retrying(stats)):
                    self.tally.done += stats["count"]
                    shards.append(asyncio.create_task(_at_once(stats)))
                    continue
                shard = await asyncio.to_thread(reopen, plan.number, paths)
            else:
                shard = await asyncio.to_thread(open_planned, plan)
            await self.schedule.below(self.settings.in_flight)
            await self._begin(shard)
            shards.append(asyncio.create_task(self._end(folders, shard)))
        return [of_stats(stats) for stats in await asyncio.gather(*shards)]

    async def _begin(self, shard: OpenShard) -> None:
        shard.done = self.loop.create_future()
        todo = [index for index, row in enumerate(shard.rows) if row.status != SUCCESS and index not in shard.settled]
        shard.left = len(todo)
        for number, index in enumerate(todo):
            self._add(Job(shard, index, shard.rows[index].url))
            if number % 100 == 99:
                await asyncio.sleep(0)
        if not todo:
            shard.done.set_result(None)

    async def _end(self, folders: Folders, shard: OpenShard) -> dict[str, Any]:
        await shard.done
        with shard.spool:
            return await asyncio.to_thread(write, folders, shard, self.rules.encode_format)

    def _add(self, job: Job, delay: float = 0.0) -> None:
        url = parse_url(job.url)
        if url is None:
            self._fail(job, reasons.BAD_URL)
            return
        host = self.hosts[host_key(url)]
        refused = host.refusal(self.loop.time(), self.settings.max_wait)
        if refused:
            self._fail(job, refused)
        else:
            self.schedule.add(host.name, job, delay=delay)

    def _fail(self, job: Job, reason: str) -> None:
        row = job.shard.rows[job.index]
        row.status, row.error_message = reasons.status_of(reason), reason
        self._settle(job)

    def _settle(self, job: Job) -> None:
        self.tally.count(job.shard.rows[job.index].error_message)
        job.shard.left -= 1
        if not job.shard.left and not job.shard.done.done():
            job.shard.done.set_result(None)

    async def _dispatch(self) -> None:
        while True:
            await self._places.acquire()
            await self._few_undecoded.wait()
            host, job = await self.schedule.next()
            task = asyncio.create_task(self._try(host, job))
            self._jobs.add(task)
            task.add_done_callback(self._jobs.discard)

    async def _try(self, host: Host, job: Job) -> None:
        try:
            started = self.loop.time()
            outcome = await self.fetcher.fetch(job.url, self.settings.timeout - job.seconds)
            now = self.loop.time()
            job.seconds += now - started
            self.tally.bytes += outcome.received
            host.settle(now, outcome.reason)
            if outcome.body is not None:
                self._count_undecoded(1)
                try:
                    await self.loop.run_in_executor(self.decoders, self._store, job, outcome.body)
                finally:
                    self._count_undecoded(-1)
                    self.fetcher.let_go(outcome)
                self._settle(job)
                return
            if outcome.retry_after:
                self.hosts[outcome.host].pause(now, outcome.retry_after, outcome.reason)
            refused = host.refusal(now, self.settings.max_wait)
            if refused:
                self.schedule.drain(host, lambda waiting: self._fail(waiting, refused))
            self._again_or_fail(host, job, outcome.reason, outcome.retry_after, refused)
        except Exception as error:  # a bug, or no space: the shard must end with it, not wait for ever
            if not job.shard.done.done():
                job.shard.done.set_exception(error)
        finally:
            self.schedule.done(host)
            self._places.release()

    def _count_undecoded(self, change: int) -> None:
        self._undecoded += change
        if self._undecoded < _UNDECODED:
            self._few_undecoded.set()
        else:
            self._few_undecoded.clear()

    def _again_or_fail(self, host: Host, job: Job, reason: str, retry_after: float | None, refused: str | None) -> None:
        enough = self.settings.timeout - job.seconds > _LEAST_TIME and job.tries < self.settings.retries
        if refused or not enough or not is_transient(reason) or (retry_after or 0) > self.settings.max_wait:
            self._fail(job, reason)
            return
        jitter = 0.5 + hash64("backoff", job.url, job.tries) / 2**64
        delay = retry_after if retry_after is not None else self.settings.backoff * 2**job.tries * jitter
        job.tries += 1
        self._add(job, delay)

    def _store(self, job: Job, body: bytes) -> None:
        """Decode, resize, encode and keep one image. Runs in a decoding thread."""
        row = job.shard.rows[job.index]
        row.sha256 = hashlib.sha256(body).hexdigest()
        result = encode_image(body, self.rules)
        if isinstance(result, str):
            row.status, row.error_message = reasons.status_of(result), result
            return
        row.status, row.exif = SUCCESS, result.exif
        row.width, row.height = result.width, result.height
        row.original_width, row.original_height = result.original_width, result.original_height
        job.shard.keep(job.index, result.data)


async def _at_once(value: Any) -> Any:
    return value
