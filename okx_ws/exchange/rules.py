"""Which channel OKX serves where, with what in its arg, and how it refuses the rest: a table. Pure.

Source: OKX v5 docs, every channel's page, read June 2026. This is the server's own view: the client decides by prefixes
of names, and neither looks at the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import orjson

__all__ = ["COUNTED", "MOST_CONNECTIONS", "OPERATIONS", "Rule", "refusal", "rule_of"]


@dataclass(frozen=True)
class Rule:
    """What one channel demands.

    Attributes:
        endpoint: The path it lives on.
        required: Keys an arg must have; of a tuple inside, at least one.
        types: The values its ``instType`` may take; none if it is not asked for.
        login: Only after a login.
        account: It tells of the account that is logged in: its pushes carry the uid.
        level: The least VIP level.
    """

    endpoint: str
    required: tuple[str | tuple[str, ...], ...] = ()
    types: Collection[str] = ()
    login: bool = False
    account: bool = False
    level: int = 0


def public(*required: str | tuple[str, ...], types: Collection[str] = (), level: int = 0) -> Rule:
    """Return the rule of market data on ``/public``; with a `level`, one must log in to show it."""
    return Rule("public", required, types, login=level > 0, level=level)


def business(*required: str, level: int = 0) -> Rule:
    """Return the rule of market data on ``/business``."""
    return Rule("business", required, login=level > 0, level=level)


def private(*required: str, types: Collection[str] = (), at: str = "private", level: int = 0) -> Rule:
    """Return the rule of an account's channel."""
    return Rule(at, required, types, login=True, account=True, level=level)


DERIVATIVES = ("SWAP", "FUTURES", "OPTION")
ORDERS = ("SPOT", "MARGIN", *DERIVATIVES, "EVENTS", "ANY")
POSITIONS = ("MARGIN", *DERIVATIVES, "EVENTS", "ANY")
ALGOS = ("SPOT", "MARGIN", "SWAP", "FUTURES", "ANY")

#: Optional keys are not listed: a further one is passed over, a known one is checked where it stands.
RULES: dict[str, Rule] = {
    **dict.fromkeys(("tickers", "trades", "books", "books5", "bbo-tbt", "books-rpi"), public("instId")),
    **dict.fromkeys(("open-interest", "funding-rate", "price-limit", "mark-price"), public("instId")),
    **dict.fromkeys(("index-tickers", "call-auction-details"), public("instId")),
    **dict.fromkeys(("books-l2-tbt", "books50-l2-tbt"), public("instId", level=4)),
    "option-trades": public("instType", ("instId", "instFamily"), types=("OPTION",)),
    "instruments": public("instType", types=("SPOT", "MARGIN", *DERIVATIVES, "EVENTS")),
    "opt-summary": public("instFamily"),
    "estimated-price": public("instType", ("instId", "instFamily"), types=(*DERIVATIVES, "EVENTS")),
    "status": public(),
    "liquidation-orders": public("instType", types=("MARGIN", *DERIVATIVES)),
    "adl-warning": public("instType", types=DERIVATIVES),
    "event-contract-markets": public("instType", types=("EVENTS",)),
    **dict.fromkeys(("trades-all", "block-tickers", "public-block-trades"), business("instId")),
    "public-struc-block-trades": business(),
    "economic-calendar": business(level=1),
    **dict.fromkeys(("sprd-bbo-tbt", "sprd-books5", "sprd-books-l2-tbt"), business("sprdId")),
    **dict.fromkeys(("sprd-public-trades", "sprd-tickers"), business("sprdId")),
    **dict.fromkeys(("account", "balance_and_position", "account-greeks"), private()),
    "positions": private("instType", types=POSITIONS),
    **dict.fromkeys(("orders", "liquidation-warning"), private("instType", types=ORDERS)),
    "fills": private(level=4),
    **dict.fromkeys(("orders-algo", "algo-advance"), private("instType", types=ALGOS, at="business")),
    "grid-orders-spot": private("instType", types=("SPOT", "ANY"), at="business"),
    "grid-orders-contract": private("instType", types=("SWAP", "FUTURES", "ANY"), at="business"),
    **dict.fromkeys(("grid-positions", "grid-sub-orders"), private("algoId", at="business")),
    "algo-recurring-buy": private("instType", types=("SPOT", "ANY"), at="business"),
    "copytrading-lead-notification": private("instType", types=("SWAP",), at="business"),
    **dict.fromkeys(("rfqs", "quotes", "struc-block-trades"), private(at="business")),
    **dict.fromkeys(("deposit-info", "withdrawal-info", "sprd-orders", "sprd-trades"), private(at="business")),
}

#: Channels whose connections OKX counts, and how many of an account it lets have one.
COUNTED = ("orders", "account", "positions", "balance_and_position", "liquidation-warning", "account-greeks")
MOST_CONNECTIONS = 30

#: Where each order operation lives.
OPERATIONS = {
    **dict.fromkeys(("order", "cancel-order", "amend-order", "mass-cancel"), "private"),
    **dict.fromkeys(("batch-orders", "batch-cancel-orders", "batch-amend-orders"), "private"),
    **dict.fromkeys(("sprd-order", "sprd-amend-order", "sprd-cancel-order", "sprd-mass-cancel"), "business"),
}

#: Books that do not go with ``books-l2-tbt`` of the same instId on one connection.
LESSER_BOOKS = ("books", "books50-l2-tbt")

BARS = r"(1m|3m|5m|15m|30m|[1246]H|12H|[1235]D|1W|1M|3M|(6H|12H|[1235]D|1W|1M|3M)utc)"
CANDLES = re.compile(rf"(mark-price-|index-)?candle{BARS}|candle1s|mark-price-candle1Yutc")
SPREAD_CANDLES = re.compile(rf"sprd-candle{BARS}")

ADVICE = "Please use the correct URL, channel and parameters referring to API document."


def rule_of(channel: str) -> Rule | None:
    """Return the rule of a channel, or None if there is no such channel."""
    if CANDLES.fullmatch(channel):
        return business("instId")
    if SPREAD_CANDLES.fullmatch(channel):
        return business("sprdId")
    return RULES.get(channel)


def refusal(
    endpoint: str,
    arg: Mapping[str, str],
    *,
    level: int | None,
    held: Iterable[Mapping[str, str]],
    known: Callable[[str, str], Collection[str] | None],
) -> tuple[str, str] | None:
    """Return why OKX refuses a subscription, as (code, msg), or None if it takes it.

    Args:
        endpoint: Where it was asked for.
        arg: What was asked for.
        level: VIP level of the account; None if nobody is logged in.
        held: The args the connection has.
        known: (channel, key) → the values the key may take; None for any.
    """
    channel = arg.get("channel", "")
    rule = rule_of(channel)
    named = ", ".join(
        f"{key}:{arg[key]}" for key in sorted(arg, key=lambda key: key != "channel") if key != "extraParams"
    )
    wrong = ("60018", f"Wrong URL or {named} doesn't exist. {ADVICE}")
    if rule is None or rule.endpoint != endpoint:
        return wrong
    if rule.login and level is None:
        return "60011", "Please log in"
    if "" in arg.values() or not all(has(arg, key) for key in rule.required):
        return wrong
    if rule.types and arg["instType"] not in rule.types:
        return wrong
    for key, value in arg.items():
        values = known(channel, key)
        if values is not None and value not in values:
            return wrong
    if "extraParams" in arg and not is_object(arg["extraParams"]):
        return "60013", "Invalid args"
    if rule.level > (level or 0):
        return "64003", "Your trading fee tier doesn't meet the requirement to access this channel"
    return conflict(arg, held)


def has(arg: Mapping[str, str], key: str | tuple[str, ...]) -> bool:
    """Tell whether an arg has a key, or one of several."""
    return any(name in arg for name in ((key,) if isinstance(key, str) else key))


def is_object(text: str) -> bool:
    """Tell whether a text is a JSON object, as extraParams must be."""
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def conflict(arg: Mapping[str, str], held: Iterable[Mapping[str, str]]) -> tuple[str, str] | None:
    """Return OKX's 64004 for a book that does not go with one the connection has, in either order."""
    channel, instId = arg["channel"], arg.get("instId", "")
    others = LESSER_BOOKS if channel == "books-l2-tbt" else ("books-l2-tbt",) if channel in LESSER_BOOKS else ()
    for other in held:
        if other.get("channel") in others and other.get("instId") == instId:
            lesser = channel if channel in LESSER_BOOKS else other["channel"]
            msg = f"Subscribe to both {lesser} and books-l2-tbt for {instId} is not allowed."
            return "64004", f"{msg} Unsubscribe {other['channel']} first."
    return None
