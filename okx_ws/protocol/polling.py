"""What to ask REST for instead of a channel, and what it says as a message of that channel. Pure.

Law. Only what is the present state of something is polled: a ticker, a mark price, a book, the bar that is open. Bars
that close are no state: they are filled in when the link is back, each once (see `backfill`).

Source: OKX v5 docs, "Get ticker", "Get order book", "Get mark price", "Get candlesticks", read June 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from .backfill import CANDLES, FAMILIES, Ask, Unusable, message_of, whole

__all__ = ["MARK", "Poll", "poll_of"]

#: What marks a message that was polled.
MARK = "fallback"

BOOK_DEPTHS = {"books": "400", "books5": "5"}


def type_of(instId: str) -> str:
    """Return the instType that `/public/mark-price` wants for an instrument: its name tells."""
    parts = instId.split("-")
    if parts[-1] == "SWAP":
        return "SWAP"
    return {2: "MARGIN", 5: "OPTION"}.get(len(parts), "FUTURES")


class Poll:
    """How one subscription is polled.

    Args:
        arg: What is subscribed.
        ask: What to ask.
    """

    def __init__(self, arg: Mapping[str, str], ask: Ask) -> None:
        self.ask = ask
        self._arg = arg
        self._head = orjson.dumps({"arg": arg})[:-1]

    def message(self, rows: list[Any]) -> tuple[int, bytes] | None:
        """Return the message that an answer is, and when OKX made it (Unix ms); None if it holds no state.

        Raises:
            Unusable: The answer cannot be right.
        """
        if len(rows) != 1:
            raise Unusable(f"{len(rows)} rows instead of one")
        channel, row = self._arg["channel"], rows[0]
        if isinstance(row, list):
            if len(row) < 6 or not CANDLES.fullmatch(channel):
                raise Unusable(f"no candle: {row!r:.80}")
            return (whole(row[0]), message_of(self._head, row, MARK)) if row[-1] == "0" else None
        if not isinstance(row, dict) or CANDLES.fullmatch(channel):
            raise Unusable(f"no row of {channel}: {row!r:.80}")
        if channel in BOOK_DEPTHS:
            return self._book(row)
        if row.get("instId") != self._arg["instId"]:
            raise Unusable(f"not {self._arg['instId']}: {row!r:.80}")
        return whole(row.get("ts")), message_of(self._head, row, MARK)

    def _book(self, row: dict[str, Any]) -> tuple[int, bytes]:
        if not isinstance(row.get("asks"), list) or not isinstance(row.get("bids"), list):
            raise Unusable(f"no book: {row!r:.80}")
        if self._arg["channel"] == "books5":
            return whole(row.get("ts")), message_of(self._head, {"instId": self._arg["instId"], **row}, MARK)
        head = self._head + b',"action":"snapshot"'
        return whole(row.get("ts")), message_of(head, {**row, "prevSeqId": -1}, MARK)


def poll_of(arg: Mapping[str, str]) -> Poll | None:
    """Return how a subscription is polled; None if it is not."""
    channel = arg["channel"]
    kind = CANDLES.fullmatch(channel)
    if kind is not None:
        path, _, name = FAMILIES[kind[1]]
        bar = kind[2] + kind[3] + (kind[4] or "")
        return Poll(arg, Ask(path, {name: arg[name], "bar": bar, "limit": "1"})) if name in arg else None
    if "instId" not in arg:
        return None
    instId = arg["instId"]
    if channel == "tickers":
        return Poll(arg, Ask("/api/v5/market/ticker", {"instId": instId}))
    if channel == "mark-price":
        return Poll(arg, Ask("/api/v5/public/mark-price", {"instType": type_of(instId), "instId": instId}))
    if channel in BOOK_DEPTHS:
        return Poll(arg, Ask("/api/v5/market/books", {"instId": instId, "sz": BOOK_DEPTHS[channel]}))
    return None
