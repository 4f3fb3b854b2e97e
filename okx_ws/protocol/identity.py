"""What makes two messages the same one: the rule of each family of channels, by name.

The same stream comes over two lines of one endpoint, or once from the stream and once from REST. Whether a message (or
a row of it) is there twice is told by what OKX calls it, not by when it came:

    kind    | channels                            | identity, and order
    --------+-------------------------------------+-----------------------------------------------------------------
    book    | ``books`` and its like              | (prevSeqId, seqId), chained; the same numbers on every connection
    trade   | ``trades``, ``trades-all``          | tradeId; those of one instrument grow
    candle  | ``*candle*``                        | (ts, confirm), and the volume within a candle that is open
    state   | tickers, prices, accounts, whole    | the time (ts, uTime, pTime): the newest replaces all before it
            | books: `STATES`                     |
    event   | orders, fills, other trades         | the key of each row, see `key_of`; no order
            | everything else                     | the text; no order

Source: okx-protocol.md 5.3, 5.4 and 6.2; OKX v5 docs, "Order channel", on messages that are sent twice.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Literal

from .book import LAYOUTS

__all__ = ["Kind", "key_of", "kind_of", "order_key", "trade_ids"]

Kind = Literal["book", "trade", "candle", "state", "event"]

Row = Mapping[str, Any]

#: Channels whose message replaces the one before, if it is about one thing: their arg names it, or it is the account.
#: Of a whole family (``instFamily`` alone) each message is about some instruments only, and replaces nothing.
STATES = frozenset(
    {
        "block-tickers",
        "call-auction-details",
        "estimated-price",
        "funding-rate",
        "index-tickers",
        "mark-price",
        "open-interest",
        "price-limit",
        "sprd-tickers",
        "tickers",
    }
)
WHOLE_STATES = frozenset({"account", "account-greeks", "balance_and_position", "positions", "status"})

#: The first push of these on a connection may tell what happened long ago (cached trade; orders that exist).
RECALLING = frozenset({"algo-advance", "option-trades"})


def kind_of(arg: Mapping[str, Any]) -> Kind:
    """Return the kind of the stream with this arg; what no rule knows is an event."""
    channel = arg["channel"]
    if "candle" in channel:
        return "candle"
    if "books" in channel or "bbo-" in channel:
        layout = LAYOUTS.get(channel)
        whole = layout.whole if layout else "bbo-" in channel or channel.endswith("books5")
        return "state" if whole else "book"
    if channel in ("trades", "trades-all"):
        return "trade"
    if channel in WHOLE_STATES or (channel in STATES and ("instId" in arg or "sprdId" in arg)):
        return "state"
    return "event"


def key_of(channel: str) -> Callable[[Row], Hashable] | None:
    """Return what tells the rows of a channel apart, a function of a decoded row; None if only the whole text does.

    - ``trades``, ``trades-all``, ``option-trades``, ``public-block-trades``, ``sprd-public-trades``: the instrument
      and the tradeId.
    - ``fills``: the instrument, ordId and tradeId: both sides of a trade with oneself have one tradeId.
    - ``sprd-trades``: those, and the state: a trade may be rejected after it was filled.
    - ``orders``, ``sprd-orders``: see `order_key`.
    - ``orders-algo``, ``algo-advance``: algoId, state, uTime, and what can change with none of them.
    - ``opt-summary``: the instrument and its ts.
    - candles: (ts, confirm).
    """
    if "candle" in channel:
        return _candle_key
    return KEYS.get(channel)


def trade_ids(row: Row) -> tuple[int, int]:
    """Return the first and the last tradeId that a row of trades stands for: `count` of them, the last one named."""
    last = int(row["tradeId"])
    return last - int(row.get("count") or 1) + 1, last


def order_key(row: Row) -> Hashable:
    """Return the identity of a state of an order, by OKX's rules for messages sent twice (okx-protocol.md 5.4).

    A fill is its tradeId. Without one, an order is ``filled`` once, and ``canceled`` or ``mmp_canceled`` once. An
    amendment's outcome is its reqId, with uTime: orders keep the reqId of their last amendment. Anything else is its
    state, uTime, accFillSz, and what an amendment changes.
    """
    order = (row.get("instId") or row.get("sprdId"), row["ordId"])
    state = row["state"]
    if row.get("tradeId"):
        return (*order, "trade", row["tradeId"])
    if state == "filled":
        return (*order, state)
    if state in ("canceled", "mmp_canceled"):
        return (*order, "canceled")
    if row.get("reqId"):
        return (*order, "amend", row["reqId"], row.get("amendResult"), row.get("uTime"))
    return (*order, state, *map(row.get, ("uTime", "accFillSz", "px", "sz", "amendSource", "amendResult")))


def _candle_key(row: Any) -> Hashable:
    return row[0], row[-1]


def _trade_key(row: Row) -> Hashable:
    return row.get("instId") or row["sprdId"], row["tradeId"]


def _fill_key(row: Row) -> Hashable:
    return row["instId"], row["ordId"], row["tradeId"]


def _sprd_trade_key(row: Row) -> Hashable:
    return row["sprdId"], row["ordId"], row["tradeId"], row["state"]


def _algo_key(row: Row) -> Hashable:
    more = ("uTime", "ordId", "actualSz", "reqId", "amendResult", "failCode", "triggerTime")
    return (row["algoId"], row["state"], *map(row.get, more))


def _option_key(row: Row) -> Hashable:
    return row["instId"], row["ts"]


KEYS: dict[str, Callable[[Row], Hashable]] = {
    "algo-advance": _algo_key,
    "fills": _fill_key,
    "opt-summary": _option_key,
    "option-trades": _trade_key,
    "orders": order_key,
    "orders-algo": _algo_key,
    "public-block-trades": _trade_key,
    "sprd-orders": order_key,
    "sprd-public-trades": _trade_key,
    "sprd-trades": _sprd_trade_key,
    "trades": _trade_key,
    "trades-all": _trade_key,
}
