"""What to ask REST for instead of channels, and what it says as their messages. Pure.

Law. Only what is the present state of something is polled: a ticker, a mark price, a book, the bar that is open. Bars
that close are no state: they are filled in when the link is back, each once (see `backfill`). Where REST tells the
state of a whole type of instruments at once, one question serves all who want one of them; who is not in the answer is
asked for alone from then on.

Source: OKX v5 docs, "Get tickers", "Get order book", "Get mark price", "Get candlesticks", read June 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from . import gaps
from .backfill import Ask, Unusable, is_number, message_of, rows_of, whole
from .bars import CANDLES, FAMILIES

__all__ = ["BULK_FROM", "MARK", "Key", "Polled", "Question", "State", "plan"]

#: What marks a message that was polled.
MARK = "fallback"

BOOK_DEPTHS = {"books": "400", "books5": "5"}

#: So many of one type are asked for with one question: fewer are had within a second one by one, and with less traffic
#: (all tickers of SPOT are some 300 kB).
BULK_FROM = 5

#: What tells questions apart.
Key = tuple[str, frozenset[tuple[str, str]]]


class State(NamedTuple):
    """What is said of one subscription: when OKX made it (Unix ms), and the message.

    Attributes:
        volume: What was traded in a bar so far; 0 of what is none, or has none.
        closed: It is a bar, and over.
    """

    made_ms: int
    message: bytes
    volume: Decimal = Decimal(0)
    closed: bool = False


def type_of(instId: str) -> str:
    """Return an instrument's instType, SPOT for what may be MARGIN as well: its name tells."""
    parts = instId.split("-")
    if parts[-1] == "SWAP":
        return "SWAP"
    return {2: "SPOT", 5: "OPTION"}.get(len(parts), "FUTURES")


class Polled:
    """One subscription that is polled.

    Args:
        arg: What is subscribed.
        last: The newest message that was delivered, if any.

    Attributes:
        ask: What to ask for it alone; None: it cannot be polled.
        bulk: What to ask for it and its like together, if REST has that.
        alone: It was not in the answer about its like.
    """

    def __init__(self, arg: Mapping[str, str], last: bytes | None = None) -> None:
        self.arg = arg
        self._head = orjson.dumps({"arg": arg})[:-1]
        self.ask, self.bulk = asks_of(arg)
        self.alone = False
        self._newest = state_of(last)

    def read(self, row: Any) -> State | None:
        """Return what a row of an answer says; None if it holds no state.

        Raises:
            Unusable: The row cannot be right.
        """
        channel = self.arg["channel"]
        if isinstance(row, list):
            if len(row) < 6 or not all(map(is_number, row[1:5])) or not CANDLES.fullmatch(channel):
                raise Unusable(f"no candle: {row!r:.80}")
            state = State(whole(row[0]), message_of(self._head, row, MARK), volume_of(row))
            return state if row[-1] == "0" else None
        if not isinstance(row, dict) or CANDLES.fullmatch(channel):
            raise Unusable(f"no row of {channel}: {row!r:.80}")
        if channel in BOOK_DEPTHS:
            return self._book(row)
        if row.get("instId") != self.arg["instId"]:
            raise Unusable(f"not {self.arg['instId']}: {row!r:.80}")
        return State(whole(row.get("ts")), message_of(self._head, row, MARK))

    def _book(self, row: dict[str, Any]) -> State:
        if not isinstance(row.get("asks"), list) or not isinstance(row.get("bids"), list):
            raise Unusable(f"no book: {row!r:.80}")
        if self.arg["channel"] == "books5":
            return State(whole(row.get("ts")), message_of(self._head, {"instId": self.arg["instId"], **row}, MARK))
        head = self._head + b',"action":"snapshot"'
        return State(whole(row.get("ts")), message_of(head, {**row, "prevSeqId": -1}, MARK))

    def news(self, state: State | None) -> bytes | None:
        """Return the message to deliver, if this is newer than what was delivered; from then on it was.

        A bar that is open keeps its time: it is newer if it differs, and no less was traded in it.
        """
        if state is None or state.made_ms < self._newest.made_ms:
            return None
        if state.made_ms == self._newest.made_ms:
            differs = "candle" in self.arg["channel"] and state.message != self._newest.message
            if not differs or self._newest.closed or state.volume < self._newest.volume:
                return None
        self._newest = state
        return state.message


def volume_of(row: list[Any]) -> Decimal:
    """Return what was traded in a bar; 0 if it does not say: those of mark prices and indices do not.

    Raises:
        Unusable: It is no number.
    """
    if len(row) <= 6:
        return Decimal(0)
    if not is_number(row[5]):  # NaN, too, which nothing can be compared with
        raise Unusable(f"no candle: {row!r:.80}")
    try:
        return Decimal(row[5])
    except ArithmeticError as exc:
        raise Unusable(f"no candle: {row!r:.80}") from exc


def state_of(payload: bytes | None) -> State:
    """Return what a push has told, as far as it can be read."""
    if payload is None:
        return State(0, b"")
    made_ms = gaps.time_of(payload, newest=True) or 0
    bars = [row for row in rows_of(payload) if isinstance(row, list) and row and row[0] == str(made_ms)]
    try:
        return State(made_ms, payload, volume_of(bars[-1]), bars[-1][-1] == "1") if bars else State(made_ms, payload)
    except Unusable:
        return State(made_ms, payload)


class Question:
    """A question, and whom its answer is for."""

    def __init__(self, ask: Ask, polled: list[Polled], bulk: bool = False) -> None:
        self.ask = ask
        self.polled = polled
        #: Its answer is about many instruments.
        self.bulk = bulk

    @property
    def key(self) -> Key:
        """What tells it apart from others."""
        return key_of(self.ask)

    def read(self, rows: list[Any]) -> dict[Polled, State | None | Unusable]:
        """Return what an answer says to each, or what is wrong with it.

        Raises:
            Unusable: The whole answer cannot be right.
        """
        if not self.bulk:
            if len(rows) != 1:
                raise Unusable(f"{len(rows)} rows instead of one")
            return {one: attempt(one, rows[0]) for one in self.polled}
        if not rows or not all(isinstance(row, dict) for row in rows):
            raise Unusable(f"no list of instruments: {rows!r:.80}")
        by_instId: dict[Any, list[Any]] = {}
        for row in rows:
            by_instId.setdefault(str(row.get("instId")), []).append(row)
        found: dict[Polled, State | None | Unusable] = {}
        for one in self.polled:
            mine = by_instId.get(one.arg["instId"], [])
            one.alone = one.alone or not mine
            found[one] = attempt(one, mine[0]) if len(mine) == 1 else Unusable(f"{len(mine)} rows instead of one")
        return found


def attempt(one: Polled, row: Any) -> State | None | Unusable:
    """Return what a row says, or what is wrong with it."""
    try:
        return one.read(row)
    except Unusable as exc:
        return exc


def plan(polled: Iterable[Polled]) -> list[Question]:
    """Return the questions that serve all of these."""
    together: dict[Key, tuple[Ask, list[Polled]]] = {}
    single: dict[Key, tuple[Ask, list[Polled]]] = {}
    for one in polled:
        if one.bulk is not None and not one.alone:
            together.setdefault(key_of(one.bulk), (one.bulk, []))[1].append(one)
        elif one.ask is not None:
            single.setdefault(key_of(one.ask), (one.ask, []))[1].append(one)
    questions = []
    for ask, group in together.values():
        if len(group) >= BULK_FROM:
            questions.append(Question(ask, group, bulk=True))
            continue
        for one in group:
            assert one.ask is not None  # there is none together without one alone
            single.setdefault(key_of(one.ask), (one.ask, []))[1].append(one)
    return questions + [Question(ask, group) for ask, group in single.values()]


def key_of(ask: Ask) -> Key:
    """Return what tells a question apart from others."""
    return ask.path, frozenset(ask.params.items())


def asks_of(arg: Mapping[str, str]) -> tuple[Ask | None, Ask | None]:
    """Return what to ask for a subscription alone, and for it and its like together; None where there is nothing."""
    channel = arg["channel"]
    kind = CANDLES.fullmatch(channel)
    if kind is not None:
        path, _, name = FAMILIES[kind[1]]
        bar = kind[2] + kind[3] + (kind[4] or "")
        return (Ask(path, {name: arg[name], "bar": bar, "limit": "1"}) if name in arg else None), None
    if "instId" not in arg:
        return None, None
    instId = arg["instId"]
    instType = type_of(instId)
    like = {"instFamily": "-".join(instId.split("-")[:2])} if instType == "OPTION" else {}
    if channel == "tickers":
        alone = Ask("/api/v5/market/ticker", {"instId": instId})
        return alone, Ask("/api/v5/market/tickers", {"instType": instType, **like})
    if channel == "mark-price":
        instType = "MARGIN" if instType == "SPOT" else instType
        alone = Ask("/api/v5/public/mark-price", {"instType": instType, "instId": instId})
        return alone, Ask("/api/v5/public/mark-price", {"instType": instType, **like})
    if channel in BOOK_DEPTHS:
        return Ask("/api/v5/market/books", {"instId": instId, "sz": BOOK_DEPTHS[channel]}), None
    return None, None
