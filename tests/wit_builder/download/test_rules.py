"""Rules of downloading that need no network: addresses, opt-outs, robots.txt, URLs, Retry-After, reasons."""

import asyncio
import ipaddress
import socket

import pytest
from aiohttp.abc import AbstractResolver
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from wit_builder.download import reasons
from wit_builder.download.addresses import GuardedResolver, RefusedAddress, is_public
from wit_builder.download.fetch import Fetcher, parse_url, retry_after
from wit_builder.download.hosts import Hosts
from wit_builder.download.optout import forbids, opt_out
from wit_builder.download.robots import rules_from
from wit_builder.download.settings import FetchSettings, parse_host_map
from wit_builder.errors import UserError


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.5.5", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "240.0.0.1",
     "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
     "fec0::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1", "", "localhost", "1.2.3"],
)  # fmt: skip
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1"])
def test_public_addresses(address):
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_no_private_address_passes_in_any_dress(address):
    mapped = [f"::ffff:{address}", str(ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address)))]
    if address.is_private or address.is_loopback or address.is_link_local:
        assert not any(map(is_public, [str(address), *mapped]))


class Names(AbstractResolver):
    """A name server that gives another answer each time: DNS rebinding."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [dict(hostname=host, host=a, port=port, family=socket.AF_INET, proto=0, flags=0) for a in addresses]

    async def close(self):
        pass


def test_names_that_lead_to_private_addresses_are_refused(web_server):
    server = web_server()
    server.answers["/x.jpg"] = b"secret"

    async def fetch(resolver, **settings):
        fetcher = Fetcher(FetchSettings(obey_robots=False, **settings), Hosts(0, 0), resolver)
        outcome = await fetcher.fetch(f"http://evil.example:{server.port}/x.jpg", 5)
        await fetcher.close()
        return outcome.reason

    assert asyncio.run(fetch(Names(["127.0.0.1"]))) == reasons.PRIVATE_ADDRESS
    assert asyncio.run(fetch(Names(["10.0.0.1", "127.0.0.1"]))) == reasons.PRIVATE_ADDRESS
    # A host that is mapped to loopback opens that address for nobody else.
    mapped = {("ours.example", 80): ("127.0.0.1", server.port)}
    assert asyncio.run(fetch(Names(["127.0.0.1"]), host_map=mapped)) == reasons.PRIVATE_ADDRESS
    assert not server.requests


def test_the_address_that_is_connected_to_is_the_one_that_was_judged():
    """Where a name changes its address after it was judged, the socket is not even made."""

    async def check():
        resolver = GuardedResolver(resolver=Names(["93.184.216.34"], ["127.0.0.1"]))
        first = await resolver.resolve("evil.example", 80)
        assert [entry["host"] for entry in first] == ["93.184.216.34"]
        with pytest.raises(RefusedAddress):
            await resolver.resolve("evil.example", 80)
        with pytest.raises(RefusedAddress):
            resolver.open_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)))
        resolver.open_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 80))).close()

    asyncio.run(check())


def test_public_addresses_remain_of_a_mixed_answer():
    async def check():
        found = await GuardedResolver(resolver=Names(["10.0.0.1", "93.184.216.34"])).resolve("mixed.example", 80)
        assert [entry["host"] for entry in found] == ["93.184.216.34"]

    asyncio.run(check())


def test_host_map():
    assert parse_host_map(["A.example:80=127.0.0.1:8000", "b:443=[::1]:9"]) == {
        ("a.example", 80): ("127.0.0.1", 8000),
        ("b", 443): ("::1", 9),
    }
    for wrong in ("a=b", "a:80=localhost:80", "a:80", "a:x=127.0.0.1:1", ""):
        with pytest.raises(UserError, match="NAME:PORT=ADDRESS:PORT"):
            parse_host_map([wrong])


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("noai", True), ("NoIndex, nofollow", True), ("nofollow", False), ("none", True), ("noml", True), ("noimageindex", True),
        ("all", False), ("googlebot: noindex", False), ("googlebot: noindex, noai", False), ("webimagetextbot: noimageai", True),
        ("WebImageTextBot: nofollow", False), ("*: noai", True), ("unavailable_after: 25 Jun 2030 15:00:00 PST, noai", True),
        ("max-snippet: 20, noindex", True), ("googlebot: nofollow, webimagetextbot: noai", True), ("", False), (":::,,:", False),
    ],
)  # fmt: skip
def test_x_robots_tag(value, wanted):
    assert forbids(value, "WebImageTextBot") is wanted


def test_opt_outs_of_several_headers():
    assert opt_out(["nofollow", "otherbot: noai"], None, "x") is None
    assert opt_out(["nofollow", "noai"], "1", "x") == reasons.OPT_OUT_HEADER
    assert opt_out([], " 1 ", "x") == reasons.OPT_OUT_TDM and opt_out([], "0", "x") is None


def test_robots_txt():
    rules = rules_from(b"User-agent: *\nDisallow: /private\nAllow: /private/open\nCrawl-delay: 120", None, "WebImageTextBot")
    assert not rules.parsed.can_fetch("http://a/private/x.jpg", "WebImageTextBot")
    assert rules.parsed.can_fetch("http://a/private/open/x.jpg", "WebImageTextBot")
    assert rules.crawl_delay == 10
    assert rules_from(None, "http_404", "x").failure is rules_from(None, "http_403", "x").failure is None
    for unreachable in ("http_500", "http_429", "timeout", "incomplete_body"):
        assert rules_from(None, unreachable, "x").failure == reasons.ROBOTS_UNREACHABLE
    assert rules_from(None, reasons.CONNECTION_REFUSED, "x").failure == reasons.CONNECTION_REFUSED


@given(st.binary(max_size=300))
def test_robots_txt_may_hold_anything(body):
    rules_from(body, None, "WebImageTextBot")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("http://a.example/x.jpg#part", "http://a.example/x.jpg"), ("https://user:secret@a.example/x", "https://a.example/x"),
        ("ftp://a.example/x", None), ("//a.example/x", None), ("http:///x", None), ("data:image/png;base64,xx", None), ("", None),
        ("http://a.example:0/x", None), ("http://a.example:70000/x", None), ("http://[::1", None), ("HTTP://A.example/x", "http://a.example/x"),
        ("http://bücher.example/ü.jpg", "http://xn--bcher-kva.example/%C3%BC.jpg"),
    ],
)  # fmt: skip
def test_urls(text, wanted):
    found = parse_url(text)
    assert (None if found is None else str(found)) == wanted


@given(st.text(max_size=60), st.sampled_from([None, URL("http://a.example/b/c")]))
def test_any_text_as_url_is_judged_without_an_exception(text, base):
    url = parse_url(text, base)
    assert url is None or url.scheme in ("http", "https")


def test_retry_after():
    assert retry_after("120", 0) == 120
    assert retry_after("Thu, 01 Jan 1970 00:01:40 GMT", 40) == 60
    assert retry_after("Thu, 01 Jan 1970 00:01:40 GMT", 400) == 0
    assert retry_after("999999999", 0) == 86_400
    assert retry_after("soon", 0) is retry_after(None, 0) is retry_after("-5", 0) is retry_after("٣", 0) is None


def test_reasons():
    transient = ("timeout", "http_503", "http_429", "http_500", "connection_reset")
    assert all(map(reasons.is_transient, transient))
    assert not any(map(reasons.is_transient, ("http_404", "http_403", "private_address", "too_large", "http_5000", "broken_image")))
    assert reasons.status_of("broken_image") == "failed_to_resize" and reasons.status_of("http_404") == "failed_to_download"


def test_user_agent_says_who_and_where():
    assert FetchSettings(contact="https://example.org/bot").user_agent.endswith("(+https://example.org/bot)")
