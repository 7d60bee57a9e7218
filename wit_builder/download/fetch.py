"""One URL to the bytes behind it, or to the reason why not: deadlines, caps, redirects, opt-outs, refused addresses."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import email.utils
import ssl
import time
import zlib
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from wit_builder import images
from wit_builder.download import reasons
from wit_builder.download.addresses import GuardedResolver, NameNotFound, RefusedAddress
from wit_builder.download.hosts import Hosts
from wit_builder.download.optout import opt_out
from wit_builder.download.robots import MAX_BYTES as ROBOTS_BYTES
from wit_builder.download.robots import Robots
from wit_builder.download.settings import FetchSettings

_REDIRECTS = (301, 302, 303, 307, 308)
_WAIT_REQUESTS = (429, 503)

# Bodies above this hold one of a few places, so that what is in memory at once stays bounded:
# in_flight * _SMALL + _LARGE_AT_ONCE * max_bytes.
_SMALL = 2_000_000  # bytes
_LARGE_AT_ONCE = 8


# asyncio sets aside 256 KiB for every TLS connection to decrypt into; an eighth is as fast (benchmarks/download.py).
asyncio.sslproto.SSLProtocol.max_size = 1 << 15


class Refused(Exception):
    """The fetch ends here.

    Attributes:
      reason: see `wit_builder.download.reasons`.
      retry_after: seconds for which the host wants peace, where it said so.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.retry_after = reason, retry_after


@dataclass
class Outcome:
    """What came of a fetch: the body, or the reason why there is none.

    Attributes:
      host: key of the host that answered last, after redirects (`host_key`).
      received: bytes of body that came over the wire.
      is_large: the body holds one of the few places for large ones, until `Fetcher.let_go`.
    """

    body: bytes | None = None
    reason: str | None = None
    retry_after: float | None = None
    host: str = ""
    received: int = 0
    is_large: bool = False


def parse_url(text: str, base: URL | None = None) -> URL | None:
    """A URL that may be fetched, without fragment and credentials; None where it is none of http or https."""
    try:
        url = URL(text) if base is None else base.join(URL(text))
        if url.scheme not in ("http", "https") or not url.host or not url.port:
            return None
        url.raw_host.encode("idna" if not url.raw_host.isascii() else "ascii")
        return url.with_user(None).with_fragment(None)
    except (ValueError, UnicodeError, TypeError):
        return None


def host_key(url: URL) -> str:
    """What politeness counts as one host: name and port."""
    return f"{url.raw_host}:{url.port}"


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait by a Retry-After header, in seconds or as a date; None where it says nothing usable.

    `now` is in seconds since 1970.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), 86_400.0)
    try:
        return min(max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now), 86_400.0)
    except (ValueError, TypeError, OverflowError):
        return None


def reason_of(error: BaseException) -> str:
    """The short fixed reason for an exception of the network."""
    chain, current = [], error
    while current is not None and len(chain) < 8:
        chain.append(current)
        current = getattr(current, "os_error", None) or current.__cause__ or current.__context__
    kinds = (
        (RefusedAddress, reasons.PRIVATE_ADDRESS),
        (NameNotFound, reasons.DNS_NOT_FOUND),
        (aiohttp.ClientConnectorDNSError, reasons.DNS_ERROR),
        ((ssl.SSLError, ssl.CertificateError, aiohttp.ClientSSLError), reasons.TLS_ERROR),
        (aiohttp.ConnectionTimeoutError, reasons.CONNECT_TIMEOUT),
        (TimeoutError, reasons.TIMEOUT),
        (aiohttp.InvalidURL, reasons.BAD_URL),
        (aiohttp.http_exceptions.LineTooLong, reasons.HEADERS_TOO_LARGE),
        (ConnectionRefusedError, reasons.CONNECTION_REFUSED),
        ((ConnectionResetError, BrokenPipeError, aiohttp.ServerDisconnectedError), reasons.CONNECTION_RESET),
        (aiohttp.ClientPayloadError, reasons.INCOMPLETE_BODY),
        ((aiohttp.ClientResponseError, aiohttp.http_exceptions.HttpProcessingError), reasons.BAD_RESPONSE),
    )
    for link in chain:  # aiohttp tells these two in words only
        if "Too many headers" in str(link):
            return reasons.HEADERS_TOO_LARGE
        if isinstance(link, aiohttp.ClientPayloadError) and "ConnectionResetError" in str(link):
            return reasons.CONNECTION_RESET
    for kind, reason in kinds:
        if any(isinstance(link, kind) for link in chain):
            return reason
    return reasons.CONNECTION_ERROR


class Fetcher:
    """The HTTP client of one worker process, with aiohttp's one TLS context. Made and used in one event loop.

    Args:
      settings: limits and manners.
      hosts: what is known of hosts, shared with the schedule.
      resolver: what looks names up, in place of DNS.
    """

    def __init__(self, settings: FetchSettings, hosts: Hosts, resolver: AbstractResolver | None = None) -> None:
        self.settings, self.hosts = settings, hosts
        self.resolver = GuardedResolver(allow_private=settings.allow_private, host_map=settings.host_map, resolver=resolver)
        self.robots = Robots(settings.agent, self._robots_txt)
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                resolver=self.resolver,
                socket_factory=self.resolver.open_socket,
                keepalive_timeout=4,
                ttl_dns_cache=300,
                dns_cache_max_size=50_000,
            ),
            headers={"User-Agent": settings.user_agent, "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout),
            auto_decompress=False,
            read_bufsize=1 << 16,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()
        await self.resolver.close()

    async def fetch(self, url: str, seconds: float) -> Outcome:
        """The body behind a URL, or the reason why there is none, within that many seconds. Never raises on account of the web."""
        outcome = Outcome()
        try:
            async with asyncio.timeout(seconds):
                outcome.body = await self._follow(url, outcome, self.settings.max_bytes)
        except Refused as refused:
            outcome.reason, outcome.retry_after = refused.reason, refused.retry_after
        except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError, ValueError) as error:
            outcome.reason = reason_of(error)
        if outcome.body is None:
            self.let_go(outcome)
        return outcome

    def let_go(self, outcome: Outcome) -> None:
        """The body is used up: drop it, and give its place to another."""
        outcome.body = None
        if outcome.is_large:
            outcome.is_large = False
            self._large.release()

    async def _robots_txt(self, url: URL) -> tuple[bytes | None, str | None]:
        outcome = Outcome()
        for _ in range(2):
            try:
                async with asyncio.timeout(self.settings.timeout):
                    return await self._follow(str(url), outcome, ROBOTS_BYTES, robots_txt=True), None
            except Refused as refused:
                outcome.reason = refused.reason
            except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError, ValueError) as error:
                outcome.reason = reason_of(error)
            if not reasons.is_transient(outcome.reason) or outcome.reason in reasons.HOST_IS_DOWN | {reasons.TIMEOUT}:
                break
        return None, outcome.reason

    async def _follow(self, text: str, outcome: Outcome, max_bytes: int, *, robots_txt: bool = False) -> bytes:
        url, seen = parse_url(text), set()
        if url is None:
            raise Refused(reasons.BAD_URL)
        first_host = host_key(url)
        while True:
            outcome.host = host_key(url)
            if not self.resolver.allows_literal(url.host):
                raise Refused(reasons.PRIVATE_ADDRESS)
            seen.add(url)
            if not robots_txt:
                await self._ask_leave(url, is_first=outcome.host == first_host)
            answer = await self._request(url, outcome, max_bytes, robots_txt)
            if isinstance(answer, bytes):
                return answer
            url = answer
            if url in seen:
                raise Refused(reasons.REDIRECT_LOOP)
            if len(seen) > self.settings.max_redirects:
                raise Refused(reasons.TOO_MANY_REDIRECTS)

    async def _ask_leave(self, url: URL, *, is_first: bool) -> None:
        """Robots, and after a redirect the other host's turn."""
        host = self.hosts[host_key(url)]
        if self.settings.obey_robots:
            rules = await self.robots.rules(url)
            host.interval = max(host.interval, rules.crawl_delay)
            refused = await self.robots.refusal(url)
            if refused:
                raise Refused(refused)
        if not is_first:
            now = asyncio.get_running_loop().time()
            refused = host.refusal(now, self.settings.max_wait)
            if refused:
                raise Refused(refused)
            wait = host.start_time - now
            host.next_time = max(now, host.next_time) + host.interval
            if wait > 0:
                await asyncio.sleep(wait)

    async def _request(self, url: URL, outcome: Outcome, max_bytes: int, robots_txt: bool) -> bytes | URL:
        async with self._session.get(url, allow_redirects=False) as response:
            if self.settings.obey_opt_outs and not robots_txt:
                headers = response.headers
                refused = opt_out(headers.getall("X-Robots-Tag", ()), headers.get("tdm-reservation"), self.settings.agent)
                if refused:
                    raise Refused(refused)
            if response.status in _REDIRECTS:
                target = parse_url(response.headers.get("Location", ""), url) if "Location" in response.headers else None
                if target is None:
                    raise Refused(reasons.BAD_REDIRECT)
                return target
            if response.status != 200:
                wait = retry_after(response.headers.get("Retry-After"), time.time()) if response.status in _WAIT_REQUESTS else None
                raise Refused(reasons.http_status(response.status), wait)
            return await self._body(response, outcome, max_bytes, robots_txt)

    async def _body(self, response: aiohttp.ClientResponse, outcome: Outcome, max_bytes: int, robots_txt: bool) -> bytes:
        length = response.content_length
        if length is not None and length > max_bytes and not robots_txt:
            raise Refused(reasons.TOO_LARGE)
        decode = _decoder(response.headers.get("Content-Encoding", ""))
        body = bytearray()
        while chunk := await response.content.readany():
            outcome.received += len(chunk)
            sniffed = len(body) >= 32
            body += decode(chunk, max_bytes + 1 - len(body)) if decode else chunk
            if not sniffed and len(body) >= 32 and not robots_txt and (refused := images.sniff(bytes(body[:32]))):
                raise Refused(refused)
            if len(body) > max_bytes or outcome.received > max_bytes:
                if robots_txt:
                    return bytes(body[:max_bytes])
                raise Refused(reasons.TOO_LARGE)
            if len(body) > _SMALL and not outcome.is_large:
                await self._large.acquire()
                outcome.is_large = True
        if not body:
            raise Refused(reasons.EMPTY_BODY)
        return bytes(body)


def _decoder(encoding: str):
    """What undoes a Content-Encoding that came although none was asked for, never giving more than a number of bytes."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Refused(reasons.BAD_ENCODING)
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32 if "gzip" in encoding else zlib.MAX_WBITS)

    def decode(chunk: bytes, most: int) -> bytes:
        try:
            return stream.decompress(chunk, max(1, most))
        except zlib.error as error:
            raise Refused(reasons.BAD_ENCODING) from error

    return decode
