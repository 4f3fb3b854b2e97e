"""Which channel OKX serves where, with what in its arg, and how it refuses the rest: a table. Pure.

Source: OKX v5 docs, every channel's page, read June 2026. This is the server's own view: the client decides by prefixes
of names, and neither looks at the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Rule", "refusal", "rule_of"]


@dataclass(frozen=True)
class Rule:
    """What one channel demands.

    Attributes:
        endpoint: The path it lives on.
        login: Only after a login.
        required: Keys an arg must have; of a tuple inside, at least one.
        optional: Further keys it may have.
        values: Key → the only values it may take.
        vip: Only for accounts of VIP 4 and more.
    """

    endpoint: str
    login: bool = False
    required: tuple[str | tuple[str, ...], ...] = ()
    optional: tuple[str, ...] = ()
    values: Mapping[str, Collection[str]] | None = None
    vip: bool = False


DERIVATIVES = ("SWAP", "FUTURES", "OPTION")
ORDER_TYPES = ("SPOT", "MARGIN", *DERIVATIVES, "EVENTS", "ANY")

PLAIN = Rule("public", required=("instId",))
BUSINESS = Rule("business", required=("instId",))
SPREAD = Rule("business", required=("sprdId",))
ALGO = Rule("business", True, ("instType",), ("instFamily", "instId", "algoId"), {"instType": ORDER_TYPES})
GRID = Rule("business", True, ("instType",), ("instId", "algoId"), {"instType": ("SPOT", *DERIVATIVES, "ANY")})
LIQUIDATION = Rule("private", True, ("instType",), ("instFamily", "instId"), {"instType": ORDER_TYPES})

RULES: dict[str, Rule] = {
    **dict.fromkeys(("tickers", "trades", "books", "books5", "bbo-tbt", "books-rpi", "call-auction-details"), PLAIN),
    **dict.fromkeys(("open-interest", "funding-rate", "price-limit", "mark-price", "index-tickers"), PLAIN),
    **dict.fromkeys(("books-l2-tbt", "books50-l2-tbt"), Rule("public", True, ("instId",), vip=True)),
    "option-trades": Rule("public", False, ("instType", ("instId", "instFamily")), (), {"instType": ("OPTION",)}),
    "instruments": Rule(
        "public", False, ("instType",), ("seriesId",), {"instType": ("SPOT", "MARGIN", *DERIVATIVES, "EVENTS")}
    ),
    "opt-summary": Rule("public", required=("instFamily",)),
    "estimated-price": Rule(
        "public", False, ("instType", ("instId", "instFamily")), (), {"instType": (*DERIVATIVES, "EVENTS")}
    ),
    "status": Rule("public"),
    "liquidation-orders": Rule("public", False, ("instType",), (), {"instType": ("MARGIN", *DERIVATIVES)}),
    "adl-warning": Rule("public", False, ("instType",), ("instFamily",), {"instType": DERIVATIVES}),
    "event-contract-markets": Rule("public", False, ("instType",), (), {"instType": ("EVENTS",)}),
    **dict.fromkeys(("trades-all", "block-tickers", "public-block-trades"), BUSINESS),
    "public-struc-block-trades": Rule("business"),
    "economic-calendar": Rule("business", True),
    **dict.fromkeys(("sprd-bbo-tbt", "sprd-books5", "sprd-books-l2-tbt", "sprd-public-trades", "sprd-tickers"), SPREAD),
    "account": Rule("private", True, (), ("ccy", "extraParams")),
    "positions": Rule(
        "private",
        True,
        ("instType",),
        ("instFamily", "instId", "extraParams"),
        {"instType": ("MARGIN", *DERIVATIVES, "EVENTS", "ANY")},
    ),
    "balance_and_position": Rule("private", True),
    "orders": LIQUIDATION,
    "liquidation-warning": LIQUIDATION,
    "fills": Rule("private", True, (), ("instId",), vip=True),
    "account-greeks": Rule("private", True, (), ("ccy",)),
    **dict.fromkeys(("orders-algo", "algo-advance"), ALGO),
    **dict.fromkeys(("grid-orders-spot", "grid-orders-contract"), GRID),
    **dict.fromkeys(("grid-positions", "grid-sub-orders"), Rule("business", True, ("algoId",))),
    "algo-recurring-buy": Rule("business", True, ("instType",), ("algoId",), {"instType": ("SPOT", "ANY")}),
    "copytrading-lead-notification": Rule("business", True, ("instType",), ("instId",), {"instType": ("SWAP",)}),
    **dict.fromkeys(("rfqs", "quotes", "struc-block-trades"), Rule("business", True)),
    **dict.fromkeys(("deposit-info", "withdrawal-info"), Rule("business", True, (), ("ccy",))),
    **dict.fromkeys(("sprd-orders", "sprd-trades"), Rule("business", True, (), ("sprdId",))),
}

BARS = r"(1m|3m|5m|15m|30m|[1246]H|12H|[1235]D|1W|1M|3M|(6H|12H|[1235]D|1W|1M|3M)utc)"
CANDLES = re.compile(rf"(mark-price-|index-)?candle{BARS}|candle1s|mark-price-candle1Yutc")
SPREAD_CANDLES = re.compile(rf"sprd-candle{BARS}")

ADVICE = "Please use the correct URL, channel and parameters referring to API document."


def rule_of(channel: str) -> Rule | None:
    """Return the rule of a channel, or None if there is no such channel."""
    if CANDLES.fullmatch(channel):
        return BUSINESS
    if SPREAD_CANDLES.fullmatch(channel):
        return SPREAD
    return RULES.get(channel)


def refusal(
    endpoint: str, arg: Mapping[str, Any], *, logged_in: bool, vip: bool, known: Callable[[str], Collection[str]]
) -> tuple[str, str] | None:
    """Return why OKX refuses a subscription, as (code, msg), or None if it takes it.

    Args:
        endpoint: Where it was asked for.
        arg: What was asked for.
        logged_in: The connection is logged in.
        vip: Its account is VIP 4 or more.
        known: Channel → every instId or sprdId it takes.
    """
    channel = str(arg.get("channel", ""))
    named = ", ".join(f"{key}:{value}" for key, value in arg.items() if key != "extraParams")
    wrong = ("60018", f"Wrong URL or {named} doesn't exist. {ADVICE}")
    rule = rule_of(channel)
    if rule is None or rule.endpoint != endpoint:
        return wrong
    if rule.login and not logged_in:
        return "60011", "Please log in"
    for key in rule.required:
        if not any(arg.get(name) for name in ((key,) if isinstance(key, str) else key)):
            return wrong
    for key, allowed in (rule.values or {}).items():
        if arg.get(key) not in allowed:
            return wrong
    if any(arg[key] not in known(channel) for key in ("instId", "sprdId") if key in arg):
        return wrong
    if any(value == "" for value in arg.values()):
        return wrong
    if rule.vip and not vip:
        return "64003", "Your trading fee tier doesn't meet the requirement to access this channel"
    return None
