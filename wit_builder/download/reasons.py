"""Why a pair's image was not saved: short fixed words, one for each cause. docs/download.md explains them."""

from __future__ import annotations

from wit_builder import images
from wit_builder.shards import FAILED_DOWNLOAD, FAILED_RESIZE

BAD_URL = "bad_url"
PRIVATE_ADDRESS = "private_address"
DNS_NOT_FOUND = "dns_not_found"
DNS_ERROR = "dns_error"
CONNECTION_REFUSED = "connection_refused"
CONNECTION_RESET = "connection_reset"
CONNECT_TIMEOUT = "connect_timeout"
CONNECTION_ERROR = "connection_error"
TIMEOUT = "timeout"
TLS_ERROR = "tls_error"
REDIRECT_LOOP = "redirect_loop"
TOO_MANY_REDIRECTS = "too_many_redirects"
BAD_REDIRECT = "bad_redirect"
HEADERS_TOO_LARGE = "headers_too_large"
BAD_RESPONSE = "bad_response"
TOO_LARGE = "too_large"
INCOMPLETE_BODY = "incomplete_body"
EMPTY_BODY = "empty_body"
BAD_ENCODING = "bad_content_encoding"
ROBOTS_FORBID = "robots_txt_forbids"
ROBOTS_UNREACHABLE = "robots_txt_unreachable"
OPT_OUT_HEADER = "opt_out_x_robots_tag"
OPT_OUT_TDM = "opt_out_tdm_reservation"

# A later try may go better. HTTP status 408, 425, 429 and 5xx belong here too.
TRANSIENT = frozenset({
    DNS_ERROR, CONNECTION_REFUSED, CONNECTION_RESET, CONNECT_TIMEOUT, CONNECTION_ERROR, TIMEOUT, INCOMPLETE_BODY, ROBOTS_UNREACHABLE,
})  # fmt: skip

# The host as a whole does not answer; other pairs of it need not find that out for themselves.
HOST_IS_DOWN = frozenset({DNS_NOT_FOUND, DNS_ERROR, CONNECTION_REFUSED, CONNECT_TIMEOUT, TLS_ERROR})


def http_status(status: int) -> str:
    """Reason for an HTTP status that is no success."""
    return f"http_{status}"


def is_transient(reason: str) -> bool:
    """Whether a later try may go better: what `--retry-failed` tries again."""
    return reason in TRANSIENT or reason in ("http_408", "http_425", "http_429") or (reason.startswith("http_5") and len(reason) == 8)


def status_of(reason: str) -> str:
    """The `status` column, in img2dataset's words."""
    return FAILED_RESIZE if reason in images.REASONS else FAILED_DOWNLOAD
