"""Opt-outs that a response's headers carry: X-Robots-Tag and the TDM reservation protocol."""

from __future__ import annotations

from collections.abc import Iterable

from wit_builder.download.reasons import OPT_OUT_HEADER, OPT_OUT_TDM

DIRECTIVES = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none", "noml"})

# Directives that have a value of their own after a colon; any other word before a colon names an agent.
_WITH_VALUE = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")


def forbids(value: str, agent: str) -> bool:
    """Whether one X-Robots-Tag header speaks to us (to all, or to our agent) and opts out.

    >>> forbids("otherbot: noindex", "WebImageTextBot"), forbids("WebImageTextBot: noai, nofollow", "WebImageTextBot")
    (False, True)
    """
    to_us = True
    for part in value.lower().split(","):
        name, colon, rest = (piece.strip() for piece in part.partition(":"))
        if colon and name not in _WITH_VALUE:
            to_us = name in (agent.lower(), "*")
            name = rest.strip()
        if to_us and name in DIRECTIVES:
            return True
    return False


def opt_out(x_robots_tags: Iterable[str], tdm_reservation: str | None, agent: str) -> str | None:
    """Why the owner does not want this response used, or None.

    Args:
      x_robots_tags: values of every X-Robots-Tag header.
      tdm_reservation: value of the tdm-reservation header.
      agent: our product token.
    """
    if any(forbids(value, agent) for value in x_robots_tags):
        return OPT_OUT_HEADER
    if tdm_reservation is not None and tdm_reservation.strip() == "1":
        return OPT_OUT_TDM
    return None
