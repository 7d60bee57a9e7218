"""robots.txt as RFC 9309 has it: fetched once per host, cached, obeyed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from protego import Protego
from yarl import URL

from wit_builder.download import reasons

MAX_BYTES = 512_000  # of a robots.txt; what follows is ignored, as the RFC allows
_REMEMBERED = 10_000  # hosts
_UNREACHABLE_SECONDS = 300.0
_LONGEST_DELAY = 10.0  # seconds; a longer Crawl-delay is cut to this


@dataclass(frozen=True)
class Rules:
    """What one host's robots.txt says.

    Attributes:
      parsed: its rules; None where there are none.
      failure: why the host may not be visited at all: its robots.txt could not be had.
      crawl_delay: seconds that the host wants between requests.
    """

    parsed: Protego | None = None
    failure: str | None = None
    crawl_delay: float = 0.0


# A host that cannot be reached for its robots.txt cannot be reached for its images either: the reason is its own.
_PASSED_ON = reasons.HOST_IS_DOWN | {reasons.PRIVATE_ADDRESS, reasons.BAD_URL}


def rules_from(body: bytes | None, failure: str | None, agent: str) -> Rules:
    """Rules of a host from its robots.txt, or from the reason why there is none.

    A missing file (any 4xx but 429) allows everything; a server error or none at all forbids everything.
    """
    if body is not None:
        parsed = Protego.parse(body.decode("utf-8", "replace"))
        return Rules(parsed, None, min(float(parsed.crawl_delay(agent) or 0), _LONGEST_DELAY))
    if failure is not None and failure.startswith("http_4") and failure != "http_429":
        return Rules()
    if failure in (reasons.EMPTY_BODY, reasons.TOO_MANY_REDIRECTS, reasons.REDIRECT_LOOP):
        return Rules()  # RFC 9309, 2.3.1.2: such a file may be held to be unavailable
    return Rules(failure=failure if failure in _PASSED_ON else reasons.ROBOTS_UNREACHABLE)


class Robots:
    """The robots.txt of every host met, for one agent.

    Args:
      agent: product token.
      fetch: gives the body of a robots.txt, or the reason why there is none.
    """

    def __init__(self, agent: str, fetch: Callable[[URL], Awaitable[tuple[bytes | None, str | None]]]) -> None:
        self.agent, self._fetch = agent, fetch
        self._known: OrderedDict[str, tuple[float, asyncio.Task[Rules]]] = OrderedDict()

    async def rules(self, url: URL) -> Rules:
        """Rules of the URL's host, fetched where not known."""
        origin = str(url.origin())
        now = asyncio.get_running_loop().time()
        expires, task = self._known.get(origin, (0.0, None))
        if task is None or (task.done() and (task.cancelled() or (task.result().failure and expires <= now))):
            task = asyncio.create_task(self._load(url.origin()))
            self._known[origin] = (now + _UNREACHABLE_SECONDS, task)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(origin)
        return await asyncio.shield(task)

    async def refusal(self, url: URL) -> str | None:
        """Why the URL may not be fetched, or None."""
        rules = await self.rules(url)
        if rules.failure:
            return rules.failure
        if rules.parsed is not None and not rules.parsed.can_fetch(str(url), self.agent):
            return reasons.ROBOTS_FORBID
        return None

    async def _load(self, origin: URL) -> Rules:
        body, failure = await self._fetch(origin.with_path("/robots.txt"))
        return rules_from(body, failure, self.agent)
