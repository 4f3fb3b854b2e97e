"""What has changed of orders, fills and the funding rate while nobody listened, and which repair is whose. Pure.

Law. These channels send no state when they are subscribed, and their rows have no numbers that count: what REST tells
is compared with what was heard before the hole, and with what came after it. An order of which a message came after the
hole is told by the stream itself. An order's steps in between are gone (its fills are not: see ``fills``); what it has
become is told.

Source: OKX v5 docs, "Order channel", "Get order list", "Get transaction details", read June 2026.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Protocol

from .backfill import MAX_ROWS, Ask, Place, Repair, Trades, Unusable, message_of, rows_of, whole
from .bars import CANDLES, Candles
from .identity import KEYS
from .latest import LatestTrades, TradeMemory

__all__ = ["Fills", "FundingRate", "Memory", "OrderMemory", "Orders", "memory_for", "repair_of"]

PENDING, ORDER, FILLS = "/api/v5/trade/orders-pending", "/api/v5/trade/order", "/api/v5/trade/fills"
FUNDING = "/api/v5/public/funding-rate"

#: Rows of a page.
PAGE = 100

LIVE = ("live", "partially_filled")

#: OKX does not know the order (any more): canceled ones without fills are forgotten after two hours.
NO_ORDER = "51603"

#: Orders that are remembered, and asked for one by one.
MOST_ORDERS = 1_000

#: What tells two states of an order apart.
State = tuple[str, str, str, str]


def state_of(row: Mapping[str, Any]) -> State:
    """Return what tells this state of an order from others.

    Not `identity.order_key`: a row of REST keeps the tradeId of the last fill, also when the order was canceled since.
    """
    ordId, uTime, state, filled = (str(row.get(name, "")) for name in ("ordId", "uTime", "state", "accFillSz"))
    return ordId, uTime, state, filled


def time_of(row: Mapping[str, Any]) -> int:
    """Return when the order last changed, Unix ms; 0 if the row does not say."""
    text = str(row.get("uTime", ""))
    return int(text) if text.isdecimal() else 0


class Memory(Protocol):
    """What is learnt from a stream's messages, for repairs."""

    def learn(self, rows: Iterable[Any]) -> None:
        """Take the rows of a push, or of REST."""


class OrderMemory:
    """The orders that are open, as far as messages have told: newest row by ordId."""

    def __init__(self) -> None:
        self.open: dict[str, dict[str, Any]] = {}

    def learn(self, rows: Iterable[Any]) -> None:
        """Take the rows of a push, or of REST."""
        for row in rows:
            if not isinstance(row, dict) or not {str} == {type(row.get("ordId")), type(row.get("instId"))}:
                continue
            known = self.open.pop(row["ordId"], None)
            if known is not None and time_of(known) > time_of(row):
                row = known
            if row.get("state") in LIVE:
                self.open[row["ordId"]] = row
        while len(self.open) > MOST_ORDERS:
            del self.open[next(iter(self.open))]


class Listed(Repair):
    """A repair from lists that are read page by page."""

    awaits = ordered = False

    def __init__(self, arg: Mapping[str, str], head: bytes, last: bytes | None, since_ms: int) -> None:
        super().__init__(arg, head, last, since_ms)
        #: The pages to read: path, parameters, what the next page is asked by.
        self._pages: list[tuple[str, dict[str, str], str]] = []
        self._rows_read = 0

    @property
    def _place(self) -> dict[str, str]:
        """The fields of the arg that REST knows, too."""
        wanted = {name: self.arg[name] for name in ("instType", "instFamily", "instId") if name in self.arg}
        return {name: value for name, value in wanted.items() if value != "ANY"}

    def next_ask(self) -> Ask | None:
        if not self._pages or self._rows_read >= MAX_ROWS:
            return None
        path, params, _ = self._pages[0]
        return Ask(path, params)

    def take(self, ask: Ask, rows: list[Any]) -> None:
        path, params, name = self._pages[0]
        for row in rows:
            self._check(path, row)
        oldest = min((whole(row.get(name)) for row in rows), default=0) if len(rows) >= PAGE else None
        if oldest is not None and oldest >= int(params.get("after", oldest + 1)):
            raise Unusable(f"a page that leads to itself: {oldest}")
        self._rows_read += len(rows)
        self.keep(path, rows)
        if oldest is None:
            del self._pages[0]
        else:
            self._pages[0] = (path, {**params, "after": str(oldest)}, name)

    def _check(self, path: str, row: Any) -> None:
        """Raise `Unusable` if this is no order, or fill, of what was asked for."""
        names = ("ordId", "instId") if path == FILLS else ("ordId", "instId", "state")
        if not isinstance(row, dict) or not all(row.get(name) and isinstance(row[name], str) for name in names):
            raise Unusable(f"no order: {row!r:.80}")
        if any(row.get(name, value) != value for name, value in self._place.items()):
            raise Unusable(f"nothing of {self._place}: {row!r:.80}")
        whole(row.get("tradeId" if path == FILLS else "uTime"))
        if path == FILLS:
            whole(row.get("ts"))

    def keep(self, path: str, rows: list[Any]) -> None:
        """Take the rows of a page."""
        raise NotImplementedError

    def missing(self) -> str:
        return f"what changed since {self.since_ms} (Unix ms), in part" if self.next_ask() is not None else ""


class Orders(Listed):
    """``orders``: what open orders have become, and new ones.

    Args:
        memory: The orders that were open before the hole.
    """

    def __init__(
        self, arg: Mapping[str, str], head: bytes, last: bytes | None, since_ms: int, memory: OrderMemory
    ) -> None:
        super().__init__(arg, head, last, since_ms)
        self._before = dict(memory.open)
        self._pages = [
            (PENDING, {**self._place, "limit": str(PAGE)}, "ordId"),
            (FILLS, {**self._place, "begin": str(self.since_ms), "limit": str(PAGE)}, "billId"),
        ]
        self._pending: dict[str, Any] = {}
        #: Orders to ask for one by one: ordId → instId; known once the lists are read.
        self._single: dict[str, str] = {}
        self._filled: dict[str, str] = {}
        self._found: dict[str, Any] = {}
        self._unknown: list[str] = []
        #: Orders of which a message came after the hole: the stream tells them itself.
        self._told: set[str] = set()

    def see(self, payload: bytes) -> None:
        self._told |= {row["ordId"] for row in rows_of(payload) if isinstance(row, dict) and "ordId" in row}

    def keep(self, path: str, rows: list[Any]) -> None:
        if path == PENDING:
            self._pending.update({row["ordId"]: row for row in rows})
        else:
            self._filled.update({row["ordId"]: row["instId"] for row in rows})

    def next_ask(self) -> Ask | None:
        listed = super().next_ask()
        if listed is not None:
            return listed
        for ordId, instId in self._single.items():
            if ordId not in self._told:
                return Ask(ORDER, {"instId": instId, "ordId": ordId})
        return None

    def take(self, ask: Ask, rows: list[Any]) -> None:
        if self._pages:
            super().take(ask, rows)
            if not self._pages:
                gone = {**{ordId: row["instId"] for ordId, row in self._before.items()}, **self._filled}
                self._single = {ordId: instId for ordId, instId in gone.items() if ordId not in self._pending}
            return
        ordId = ask.params["ordId"]
        if len(rows) != 1 or not isinstance(rows[0], dict) or rows[0].get("ordId") != ordId:
            raise Unusable(f"not the order {ordId}: {rows!r:.80}")
        self._check(ask.path, rows[0])
        self._single.pop(ordId, None)
        self._found[ordId] = rows[0]

    def refused(self, ask: Ask, code: str) -> bool:
        if code != NO_ORDER or ask.path != ORDER:
            return False
        self._single.pop(ask.params["ordId"], None)
        self._unknown.append(ask.params["ordId"])
        return True

    @property
    def changed(self) -> list[dict[str, Any]]:
        """The rows of orders that have changed, in the order of their changes."""
        found = {**self._pending, **self._found}
        rows = [row for ordId, row in found.items() if ordId not in self._told and self._is_news(ordId, row)]
        return sorted(rows, key=time_of)

    def _is_news(self, ordId: str, row: Mapping[str, Any]) -> bool:
        before = self._before.get(ordId)
        return time_of(row) >= self.since_ms if before is None else state_of(before) != state_of(row)

    def messages(self) -> list[bytes]:
        return [message_of(self.head, row) for row in self.changed]

    def missing(self) -> str:
        parts = [super().missing()] if self._pages or self._single else []
        if self._unknown:
            parts.append(f"what became of the orders {', '.join(self._unknown)}")
        return ", ".join(part for part in parts if part)

    def place_of(self, payload: bytes) -> Place:
        told = {state_of(row) for row in self.changed}
        rows = [row for row in rows_of(payload) if isinstance(row, dict)]
        return "known" if rows and all(state_of(row) in told for row in rows) else "next"


class Fills(Listed):
    """``fills``: your trades since the hole began."""

    def __init__(self, arg: Mapping[str, str], head: bytes, last: bytes | None, since_ms: int) -> None:
        super().__init__(arg, head, last, since_ms)
        self._pages = [(FILLS, {**self._place, "begin": str(self.since_ms), "limit": str(PAGE)}, "billId")]
        #: Fills that were told before the hole and after it.
        self._told = set(fills_of(rows_of(last)))
        self._rows: dict[Hashable, Any] = {}

    def see(self, payload: bytes) -> None:
        self._told |= set(fills_of(rows_of(payload)))

    def keep(self, path: str, rows: list[Any]) -> None:
        self._rows.update(fills_of(row for row in rows if int(row["ts"]) >= self.since_ms))

    @property
    def _news(self) -> dict[Hashable, Any]:
        return {fill: row for fill, row in self._rows.items() if fill not in self._told}

    def messages(self) -> list[bytes]:
        news = sorted(self._news.values(), key=lambda row: (int(row["ts"]), int(row["tradeId"])))
        return [message_of(self.head, {"count": "1", **row}) for row in news]

    def place_of(self, payload: bytes) -> Place:
        fills = fills_of(rows_of(payload))
        return "known" if fills and self._news.keys() >= fills.keys() else "next"


def fills_of(rows: Iterable[Any]) -> dict[Hashable, Any]:
    """Return fills by what tells them apart; what is none is left out."""
    key = KEYS["fills"]
    return {key(row): row for row in rows if isinstance(row, dict) and {"instId", "ordId", "tradeId"} <= row.keys()}


class FundingRate(Repair):
    """``funding-rate``: the present one; OKX pushes it each 30 to 90 seconds only."""

    awaits = ordered = False

    def __init__(self, arg: Mapping[str, str], head: bytes, last: bytes | None, since_ms: int) -> None:
        super().__init__(arg, head, last, since_ms)
        self._before = max((stamp(row) for row in rows_of(last)), default=0)
        self._answer: list[Any] | None = None
        self._told = False

    def see(self, payload: bytes) -> None:
        self._told = True

    def next_ask(self) -> Ask | None:
        if self._answer is not None or self._told:
            return None
        return Ask(FUNDING, {"instId": self.arg["instId"]})

    def take(self, ask: Ask, rows: list[Any]) -> None:
        if len(rows) != 1 or not isinstance(rows[0], dict) or rows[0].get("instId") != self.arg["instId"]:
            raise Unusable(f"no funding rate of {self.arg['instId']}: {rows!r:.80}")
        whole(rows[0].get("ts"))
        self._answer = rows

    @property
    def _news(self) -> list[Any]:
        return [] if self._told else [row for row in self._answer or [] if stamp(row) > self._before]

    def messages(self) -> list[bytes]:
        return [message_of(self.head, row) for row in self._news]

    def missing(self) -> str:
        return "" if self._answer is not None or self._told else "the present funding rate"

    def place_of(self, payload: bytes) -> Place:
        told = {stamp(row) for row in self._news}
        return "known" if told and {stamp(row) for row in rows_of(payload)} <= told else "next"


def stamp(row: Any) -> int:
    """Return a row's ``ts``, Unix ms; 0 if it has none."""
    text = str(row.get("ts", "")) if isinstance(row, dict) else ""
    return int(text) if text.isdecimal() else 0


def memory_for(arg: Mapping[str, str]) -> Memory | None:
    """Return an empty memory for a subscription whose repair needs one."""
    if arg["channel"] == "orders":
        return OrderMemory()
    return TradeMemory() if arg["channel"] == "option-trades" else None


def repair_of(
    arg: Mapping[str, str], head: bytes, last: bytes | None, since_ms: int, memory: Memory | None = None
) -> Repair | None:
    """Return what can fill a hole of this subscription; None if REST has nothing that could."""
    channel = arg["channel"]
    if channel in ("trades", "trades-all") and "instId" in arg:
        return Trades(arg, head, last, since_ms)
    if CANDLES.fullmatch(channel) and ("sprdId" if channel.startswith("sprd-") else "instId") in arg:
        return Candles(arg, head, last, since_ms)
    if channel == "funding-rate" and "instId" in arg:
        return FundingRate(arg, head, last, since_ms)
    if channel == "orders":
        return Orders(arg, head, last, since_ms, memory if isinstance(memory, OrderMemory) else OrderMemory())
    options = channel == "option-trades" and not arg.keys().isdisjoint(("instId", "instFamily"))
    if options or (channel == "sprd-public-trades" and "sprdId" in arg):
        heard = memory if isinstance(memory, TradeMemory) else TradeMemory()
        return LatestTrades(arg, head, last, since_ms, heard)
    return Fills(arg, head, last, since_ms) if channel == "fills" else None
