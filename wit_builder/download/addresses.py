"""Which addresses may be connected to: judged after name resolution, on the very address that is connected to."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import AsyncResolver

# Prefixes that carry an IPv4 address inside an IPv6 one, and where in the 16 bytes it stands.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SIX_TO_FOUR = ipaddress.ip_network("2002::/16")

_NOT_FOUND = (1, 4)  # c-ares: no data, domain name not found


class RefusedAddress(OSError):
    """The host has no address that we may connect to."""


class NameNotFound(OSError):
    """There is no such host; asking again will not help."""


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet: not private, loopback, link-local, metadata, multicast, reserved.

    An IPv6 address that carries an IPv4 one (mapped, 6to4, NAT64) is as public as what it carries.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        carried = parsed.ipv4_mapped
        if carried is None and parsed in _NAT64:
            carried = ipaddress.IPv4Address(parsed.packed[12:])
        if carried is None and parsed in _SIX_TO_FOUR:
            carried = ipaddress.IPv4Address(parsed.packed[2:6])
        if carried is not None:
            return is_public(str(carried))
        if parsed.is_site_local:
            return False
    return parsed.is_global and not parsed.is_multicast


class GuardedResolver(AbstractResolver):
    """Resolves names, sends mapped hosts where they are mapped to, and drops addresses that may not be connected to.

    Args:
      allow_private: let every address pass.
      host_map: (name, port) to (address, port); such a host is never looked up, and its address always allowed.
      resolver: what looks names up; DNS without blocking where not given.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        host_map: Mapping[tuple[str, int], tuple[str, int]] | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self.allow_private = allow_private
        self.host_map = dict(host_map or {})
        self._mapped_to = set(self.host_map.values())
        self._resolver = resolver or AsyncResolver(timeout=5, tries=2)

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Addresses of a host that may be connected to.

        Raises:
          RefusedAddress: where it has addresses, but none of that kind.
          NameNotFound: where there is no such name.
          OSError: where the lookup failed otherwise.
        """
        mapped = self.host_map.get((host.lower(), port))
        if mapped:
            version = socket.AF_INET6 if ":" in mapped[0] else socket.AF_INET
            return [ResolveResult(hostname=host, host=mapped[0], port=mapped[1], family=version, proto=0, flags=socket.AI_NUMERICHOST)]
        try:
            found = await self._resolver.resolve(host, port, family)
        except OSError as error:
            if error.__cause__ is not None and error.__cause__.args[:1] and error.__cause__.args[0] in _NOT_FOUND:
                raise NameNotFound(str(error)) from error
            raise
        allowed = [entry for entry in found if self.allow_private or is_public(entry["host"])]
        if found and not allowed:
            raise RefusedAddress(f"{host} has no public address")
        return allowed

    def allows_literal(self, host: str) -> bool:
        """Whether a URL's host may be connected to where it is itself an address; names are judged when resolved."""
        try:
            ipaddress.ip_address(host.strip("[]").partition("%")[0])
        except ValueError:
            return True
        return self.allow_private or is_public(host.strip("[]"))

    def open_socket(self, address_info: tuple) -> socket.socket:
        """The socket for a connection, made only for an address that is allowed: the last word, whatever was resolved.

        Raises:
          RefusedAddress: for any other.
        """
        family, kind, protocol, _, address = address_info
        if not (self.allow_private or tuple(address[:2]) in self._mapped_to or is_public(address[0])):
            raise RefusedAddress(f"{address[0]} is not a public address")
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """Stop looking names up."""
        await self._resolver.close()
