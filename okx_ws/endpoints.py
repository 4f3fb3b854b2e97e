"""Which host serves which account, and which endpoint serves which channel: tables and rules, no I/O.

Source: OKX v5 docs, "Overview: Production / Demo trading URLs" and every channel's page, read June 2026; port 443 for
all of them since 31 October 2026 (announcement "OKX WebSocket port 8443 discontinuation"), so no port is written.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from .errors import UsageError

__all__ = ["ENDPOINTS", "REGIONS", "endpoint_of", "login_needed", "resolve_urls"]

log = logging.getLogger(__name__)

#: The three WebSocket endpoints; each is a path of its own, ``/ws/v5/<endpoint>``.
ENDPOINTS = ("public", "private", "business")

#: Region → (production host, demo host, REST host). The region is where the account was opened, not where you are.
REGIONS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "global": ("ws.okx.com", "wspap.okx.com", "openapi.okx.com"),
        "us": ("wsus.okx.com", "wsuspap.okx.com", "us.okx.com"),
        "eea": ("wseea.okx.com", "wseeapap.okx.com", "eea.okx.com"),
        "tr": ("ws.okx.com", "wspap.okx.com", "tr.okx.com"),
    }
)

# A channel belongs to the first rule that matches, so that families OKX extends (candle bars, sprd-*, grid-*) need no
# new release. Business before private: "orders-algo" is not an "orders" channel.
BUSINESS_PREFIXES = (
    "algo-",
    "block-",
    "copytrading-",
    "deposit-",
    "economic-",
    "grid-",
    "orders-algo",
    "public-block-",
    "public-struc-block-",
    "quotes",
    "rfqs",
    "sprd-",
    "struc-block-",
    "trades-all",
    "withdrawal-",
)
PRIVATE_PREFIXES = ("account", "balance_and_position", "fills", "liquidation-warning", "orders", "positions")
PUBLIC_PREFIXES = (
    "adl-",
    "bbo-",
    "books",
    "call-auction",
    "estimated-",
    "event-contract",
    "funding-",
    "index-",
    "instruments",
    "liquidation-orders",
    "mark-price",
    "open-interest",
    "opt-",
    "option-",
    "price-limit",
    "status",
    "tickers",
    "trades",
)

# On /business these are public; everything else there is somebody's own data.
PUBLIC_ON_BUSINESS = (
    "block-tickers",
    "public-",
    "sprd-bbo",
    "sprd-books",
    "sprd-candle",
    "sprd-public",
    "sprd-tickers",
    "trades-all",
)
# On /public these want a login (and a VIP tier): OKX refuses them with 60011 otherwise.
LOGIN_ON_PUBLIC = ("books-l2-tbt", "books50-l2-tbt")


def endpoint_of(channel: str) -> str:
    """Return ``"public"``, ``"private"`` or ``"business"``: where OKX serves `channel`.

    A channel no rule knows goes to ``"public"``, with a log line; name the endpoint in the call to override.
    """
    if "candle" in channel or channel.startswith(BUSINESS_PREFIXES):
        return "business"
    if channel.startswith(PRIVATE_PREFIXES):
        return "private"
    if not channel.startswith(PUBLIC_PREFIXES):
        log.info("channel %r is not known here; trying /public (pass endpoint=... to choose another)", channel)
    return "public"


def is_depth(channel: str) -> bool:
    """Tell whether a channel is an order book of 50 or 400 levels, of which OKX wants few on a connection."""
    return channel.startswith(("books", "sprd-books")) and not channel.endswith("5")


def login_needed(channel: str, endpoint: str) -> bool:
    """Tell whether OKX serves `channel` on `endpoint` only after a login."""
    if endpoint == "private":
        return True
    if endpoint == "public":
        return channel in LOGIN_ON_PUBLIC
    # A channel of /public is nobody's own data: a key would not help, and OKX will say what is wrong (60018).
    return not ("candle" in channel or channel.startswith(PUBLIC_ON_BUSINESS + PUBLIC_PREFIXES))


def resolve_urls(
    region: str = "global", sandbox: bool = False, urls: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the addresses of ``public``, ``private``, ``business`` and ``rest``.

    Args:
        region: A key of `REGIONS`.
        sandbox: Demo trading instead of production (other WebSocket hosts, the same REST host).
        urls: Single addresses to use instead, by the same four names; each without a query or fragment of its own
            being required. ``ws``/``wss`` for the endpoints, ``http``/``https`` for ``rest``.

    Raises:
        UsageError: For an unknown region or name, or an address that is not one.
    """
    if not isinstance(region, str) or region not in REGIONS:
        raise UsageError(f"region must be one of {', '.join(REGIONS)}, not {region!r}")
    if not isinstance(sandbox, bool):
        raise UsageError(f"sandbox must be True or False, not {sandbox!r}")
    live, demo, rest = REGIONS[region]
    found = {endpoint: f"wss://{demo if sandbox else live}/ws/v5/{endpoint}" for endpoint in ENDPOINTS}
    found["rest"] = f"https://{rest}"
    for name, url in _checked(urls).items():
        found[name] = url
    return found


def _checked(urls: Any) -> dict[str, str]:
    if urls is None:
        return {}
    if not isinstance(urls, Mapping):
        raise UsageError(f"urls must be a mapping from endpoint to address, not {type(urls).__name__}")
    for name, url in urls.items():
        if name not in (*ENDPOINTS, "rest"):
            raise UsageError(f"urls has no place for {name!r}; it takes {', '.join(ENDPOINTS)} and rest")
        check_url(f"urls[{name!r}]", url, ("http", "https") if name == "rest" else ("ws", "wss"))
        if uses_8443(url):
            raise UsageError(f"urls[{name!r}]: OKX has closed port 8443; without it this address works: {url!r}")
    return dict(urls)


def uses_8443(url: str) -> bool:
    """Tell whether this is one of OKX's own hosts, on the port that it closed on 31 October 2026."""
    parts = urlsplit(url)
    return parts.port == 8443 and str(parts.hostname).endswith(".okx.com")


def check_url(name: str, url: Any, schemes: tuple[str, ...]) -> None:
    """Raise `UsageError` unless `url` has one of `schemes`, a host, and a port that is a number."""
    try:
        parts = urlsplit(url)
        good = isinstance(url, str) and parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except (AttributeError, TypeError, ValueError):
        good = False
    if not good:
        raise UsageError(f"{name} must look like {schemes[-1]}://host[:port]/path, not {url!r}")
