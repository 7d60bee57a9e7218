"""How downloads behave: one set of numbers for each worker process."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from wit_builder import __version__
from wit_builder.errors import UserError

AGENT = "WebImageTextBot"
PAIRS_PER_SHARD = 10_000  # img2dataset's default, and the most that a shard's keys have room for


@dataclass(frozen=True)
class FetchSettings:
    """Limits and manners of one worker process. Times in seconds, sizes in bytes.

    Attributes:
      agent: product token that robots.txt and X-Robots-Tag may address.
      contact: URL or mail address for those whose hosts are visited, part of the user agent.
      in_flight: requests under way at once.
      timeout: for one image, over all its tries and redirects; waiting for the host's turn does not count.
      connect_timeout: for a connection, TLS included.
      retries: further tries after a transient failure.
      backoff: before the first of them, doubled before each other, times a jitter of 0.5 to 1.5.
      max_bytes: of one body.
      max_redirects: followed for one image.
      host_connections: requests to one host at once; 0 is no limit.
      host_rate: requests a second to one host; 0 is no limit.
      max_wait: the longest Retry-After that is waited for; a host that asks for more is left alone until then.
      obey_robots: fetch and obey robots.txt.
      obey_opt_outs: honour X-Robots-Tag and tdm-reservation.
      allow_private: connect to private, loopback and link-local addresses too.
      host_map: (name, port), (address, port) pairs: see `GuardedResolver`.
    """

    agent: str = AGENT
    contact: str = ""
    in_flight: int = 64
    timeout: float = 20.0
    connect_timeout: float = 8.0
    retries: int = 2
    backoff: float = 1.0
    max_bytes: int = 25_000_000
    max_redirects: int = 5
    host_connections: int = 8
    host_rate: float = 20.0
    max_wait: float = 60.0
    obey_robots: bool = True
    obey_opt_outs: bool = True
    allow_private: bool = False
    host_map: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)

    @property
    def user_agent(self) -> str:
        """The User-Agent header."""
        return f"{self.agent}/{__version__}" + (f" (+{self.contact})" if self.contact else "")


def parse_host_map(entries: list[str]) -> dict[tuple[str, int], tuple[str, int]]:
    """`NAME:PORT=ADDRESS:PORT` entries as a mapping, as `--map-host` takes them.

    Raises:
      UserError: where one is not of that form.
    """
    mapped = {}
    for entry in entries:
        match = re.fullmatch(r"([^:=\s]+):(\d{1,5})=([^=\s]+):(\d{1,5})", entry)
        address = match[3].strip("[]") if match else ""
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise UserError(f"--map-host {entry} is not NAME:PORT=ADDRESS:PORT", fix="e.g. images.example:80=127.0.0.1:8000") from None
        mapped[match[1].lower(), int(match[2])] = (address, int(match[4]))
    return mapped
