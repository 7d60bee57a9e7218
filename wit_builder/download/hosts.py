"""Whose turn it is: many pairs, each host visited only so often, by so many connections, and not while it asks for peace.

All of it lives in one worker process, so the limits are per process: with W workers a host may see W times as much.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wit_builder.download.reasons import HOST_IS_DOWN

_DOWN_AFTER = 8  # failures to connect, one after the other
_DOWN_SECONDS = 300.0
_REMEMBERED = 50_000  # hosts


@dataclass
class Host:
    """What is known of one host (name and port). Times are the event loop's, in seconds.

    Attributes:
      active: requests under way.
      interval: between requests.
      next_time: no request before this, by the rate.
      paused_until, paused_by: no request before this, because it answered with this reason and a Retry-After.
      failures: to connect, one after the other.
      down_until, down_reason: it is held to be down.
      waiting: jobs not yet given out.
    """

    name: str
    interval: float = 0.0
    active: int = 0
    next_time: float = 0.0
    paused_until: float = 0.0
    paused_by: str = ""
    failures: int = 0
    down_until: float = 0.0
    down_reason: str = ""
    waiting: deque[Any] = field(default_factory=deque)
    queued: bool = False  # in the scheduler's heap

    @property
    def start_time(self) -> float:
        """When the next request may go out."""
        return max(self.next_time, self.paused_until)

    def refusal(self, now: float, max_wait: float) -> str | None:
        """Why this host is not to be asked at all now: it is down, or wants more peace than `max_wait` seconds."""
        if self.down_until > now:
            return self.down_reason
        return self.paused_by if self.paused_until > now + max_wait else None

    def start(self, now: float) -> None:
        """A request goes out."""
        self.active += 1
        self.next_time = max(now, self.next_time) + self.interval

    def pause(self, now: float, seconds: float, reason: str) -> None:
        """The host asked for peace."""
        self.paused_until = max(self.paused_until, now + seconds)
        self.paused_by = reason

    def settle(self, now: float, reason: str | None) -> None:
        """What came of a request: failures to connect add up, any answer wipes them out."""
        if reason not in HOST_IS_DOWN:
            self.failures = 0
            return
        self.failures += 1
        if self.failures >= _DOWN_AFTER:
            self.down_until, self.down_reason = now + _DOWN_SECONDS, reason


class Hosts:
    """All hosts that a worker process has met; the longest unused are forgotten first."""

    def __init__(self, connections: int, rate: float) -> None:
        self.connections = connections
        self.interval = 1 / rate if rate else 0.0
        self._hosts: OrderedDict[str, Host] = OrderedDict()

    def __getitem__(self, name: str) -> Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(name, self.interval)
            self._forget()
        else:
            self._hosts.move_to_end(name)
        return host

    def _forget(self) -> None:
        for name in list(itertools.islice(self._hosts, max(0, len(self._hosts) - _REMEMBERED))):
            host = self._hosts[name]
            if not host.active and not host.waiting:
                del self._hosts[name]

    def is_full(self, host: Host) -> bool:
        """Whether as many requests are under way as may be."""
        return 0 < self.connections <= host.active


class Schedule:
    """Jobs by host, given out one at a time as each host's limits allow.

    Used from one event loop only, with one caller of `next`.
    """

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.pending = 0  # jobs not yet given out
        self._ready: list[tuple[float, int, Host]] = []
        self._later: list[tuple[float, int, Host, Any]] = []
        self._order = itertools.count()
        self._changed = asyncio.Event()
        self._emptier: list[tuple[int, asyncio.Future]] = []

    def add(self, host_name: str, job: Any, *, delay: float = 0.0) -> None:
        """A job for a host, to be given out not before `delay` seconds from now."""
        host = self.hosts[host_name]
        self.pending += 1
        if delay > 0:
            heapq.heappush(self._later, (asyncio.get_running_loop().time() + delay, next(self._order), host, job))
        else:
            host.waiting.append(job)
            self._queue(host)
        self._changed.set()

    def done(self, host: Host) -> None:
        """A job of this host that was given out has ended."""
        host.active -= 1
        self._queue(host)
        self._changed.set()

    async def below(self, number: int) -> None:
        """Wait until fewer than `number` jobs are left to give out."""
        if self.pending >= number:
            future = asyncio.get_running_loop().create_future()
            self._emptier.append((number, future))
            await future

    async def next(self) -> tuple[Host, Any]:
        """The next job whose host may be visited now; its host counts it as under way."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            while self._later and self._later[0][0] <= now:
                _, _, host, job = heapq.heappop(self._later)
                host.waiting.append(job)
                self._queue(host)
            while self._ready and self._ready[0][0] <= now:
                _, _, host = heapq.heappop(self._ready)
                host.queued = False
                if not host.waiting or self.hosts.is_full(host):
                    continue  # `add` or `done` puts it back
                if host.start_time > now:  # paused since it was queued
                    self._queue(host)
                    continue
                host.start(now)
                job = host.waiting.popleft()
                self.pending -= 1
                self._queue(host)
                self._tell()
                return host, job
            self._changed.clear()
            times = [heap[0][0] for heap in (self._ready, self._later) if heap]
            try:
                await asyncio.wait_for(self._changed.wait(), max(0.0, min(times) - now) if times else None)
            except TimeoutError:
                pass

    def drain(self, host: Host, take: Callable[[Any], None]) -> None:
        """Take every waiting job of a host away at once: it is down, or asked for a longer peace than we wait."""
        while host.waiting:
            self.pending -= 1
            take(host.waiting.popleft())
        self._tell()

    def _queue(self, host: Host) -> None:
        if host.waiting and not host.queued and not self.hosts.is_full(host):
            host.queued = True
            heapq.heappush(self._ready, (host.start_time, next(self._order), host))

    def _tell(self) -> None:
        still = []
        for number, future in self._emptier:
            if self.pending < number and not future.done():
                future.set_result(None)
            elif not future.done():
                still.append((number, future))
        self._emptier = still
