"""What has changed of orders, fills and the funding rate while nobody listened, and which repair is whose. Pure.

Law. These channels send no state when they are subscribed, and their rows have no numbers that count: what REST tells
is compared with what was heard before the hole, and with what came after it. An order of which a message came after the
hole is told by the stream itself. An order's steps in between are gone (its fills are not: see ``fills``); what it has
become is told. Of an order that no message ever told of, and that was placed before the hole, REST does not tell the
cancellation: its lists of those that are over go by when they were placed.

What has become of orders is asked in this order: which are open; what was filled since; which were placed since and are
over; then one by one those that were open and are in no list, and of one that OKX does not find so, its history.

Source: OKX v5 docs, "Order channel", "Get order list", "Get order history", "Get transaction details", read June 2026.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from .backfill import MAX_ROWS, Ask, Place, Repair, Trades, Unusable, message_of, rows_of, whole
from .bars import CANDLES, Candles
from .latest import LatestTrades, TradeMemory
from .memories import MOST_OPEN, FillMemory, Memory, OrderMemory, matches_of, memory_of, time_of

__all__ = ["Fills", "FundingRate", "Orders", "can_repair", "repair_of"]

PENDING, ORDER, FILLS = "/api/v5/trade/orders-pending", "/api/v5/trade/order", "/api/v5/trade/fills"
#: Of orders that are over: those of the last seven days, and of three months. Asked by type, with no "all" among them.
HISTORY, ARCHIVE = "/api/v5/trade/orders-history", "/api/v5/trade/orders-history-archive"
FUNDING = "/api/v5/public/funding-rate"

#: What ``ANY`` stands for; and an order of another type, if one was heard of.
TYPES = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION")

#: Rows of a page.
PAGE = 100


#: OKX does not know the order (any more): canceled ones without fills are forgotten after two hours.
NO_ORDER = "51603"
#: It knows no history of such a type.
NO_TYPE = "51000"

#: What tells two states of an order apart.
State = tuple[str, str, str, str]


def state_of(row: Mapping[str, Any]) -> State:
    """Return what tells this state of an order from others.

    Not `identity.order_key`: a row of REST keeps the tradeId of the last fill, also when the order was canceled since.
    """
    ordId, uTime, state, filled = (str(row.get(name, "")) for name in ("ordId", "uTime", "state", "accFillSz"))
    return ordId, uTime, state, filled


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
        return self._in_part if self._pages else ""

    @property
    def _in_part(self) -> str:
        return f"what changed since {self.since_ms} (Unix ms), in part"


class Orders(Listed):
    """``orders``: what open orders have become, and new ones.

    Args:
        memory: The orders of before the hole.
    """

    def __init__(
        self, arg: Mapping[str, str], head: bytes, last: bytes | None, since_ms: int, memory: OrderMemory
    ) -> None:
        super().__init__(arg, head, last, since_ms)
        self._open, self._before = dict(memory.open), {**memory.over, **memory.open}
        self._knew_all = memory.whole
        since = {"begin": str(self.since_ms), "limit": str(PAGE)}
        self._pages = [
            (PENDING, {**self._place, "limit": str(PAGE)}, "ordId"),
            (FILLS, {**self._place, **since}, "billId"),
            *((HISTORY, {**self._place, "instType": name, **since}, "ordId") for name in self._types),
        ]
        self._pending: dict[str, Any] = {}
        #: Orders to ask for one by one, known once the lists are read: ordId → what is to be asked, until one is found.
        self._single: dict[str, list[Ask]] = {}
        self._filled: dict[str, Any] = {}
        self._found: dict[str, Any] = {}
        self._unknown: list[str] = []
        #: Orders of which a message came after the hole: the stream tells them itself.
        self._told: set[str] = set()

    @property
    def _types(self) -> list[str]:
        """The types of instruments that orders of this subscription may have."""
        asked = self.arg.get("instType", "ANY")
        heard = (row.get("instType") for row in self._before.values())
        every = [*TYPES, *(name for name in heard if isinstance(name, str) and name)]
        return list(dict.fromkeys(every)) if asked == "ANY" else [asked]

    def see(self, payload: bytes) -> None:
        self._told |= {row["ordId"] for row in rows_of(payload) if isinstance(row, dict) and "ordId" in row}

    def keep(self, path: str, rows: list[Any]) -> None:
        known = {PENDING: self._pending, FILLS: self._filled, HISTORY: self._found}[path]
        known.update({row["ordId"]: row for row in rows})

    def next_ask(self) -> Ask | None:
        listed = super().next_ask()
        if listed is not None:
            return listed
        return next((asks[0] for ordId, asks in self._single.items() if ordId not in self._told), None)

    def take(self, ask: Ask, rows: list[Any]) -> None:
        if self._pages:
            super().take(ask, rows)
            self._look_for_others()
            return
        ordId = self._ordId_of(ask)
        row = rows[0] if len(rows) == 1 and isinstance(rows[0], dict) else {}
        if row.get("ordId") == ordId:
            self._check(ask.path, row)
            del self._single[ordId]
            self._found[ordId] = row
        elif ask.path == ORDER:
            raise Unusable(f"not the order {ordId}: {rows!r:.80}")
        else:
            self._not_there(ordId)

    def refused(self, ask: Ask, code: str) -> bool:
        if self._pages and ask.path == HISTORY and code == NO_TYPE:
            del self._pages[0]
            self._look_for_others()
        elif not self._pages and (code == NO_ORDER or ask.path != ORDER and code == NO_TYPE):
            self._not_there(self._ordId_of(ask))
        else:
            return False
        return True

    def _look_for_others(self) -> None:
        """The lists are read, perhaps: ask for the orders one by one that were open or filled, and are in none."""
        if self._pages:
            return
        known = {*self._pending, *self._found, *(self._before.keys() - self._open.keys())}
        gone = {ordId: row for ordId, row in {**self._open, **self._filled}.items() if ordId not in known}
        self._single = {ordId: asks_for(ordId, row) for ordId, row in gone.items()}

    def _ordId_of(self, ask: Ask) -> str:
        return next(ordId for ordId, asks in self._single.items() if asks[0][:2] == ask[:2])

    def _not_there(self, ordId: str) -> None:
        """Where it was just asked for, an order is not."""
        del self._single[ordId][0]
        if not self._single[ordId]:
            del self._single[ordId]
            self._unknown.append(ordId)

    @property
    def changed(self) -> list[dict[str, Any]]:
        """The rows of orders that have changed, in the order of their changes."""
        found = {**self._pending, **self._found}
        rows = [row for ordId, row in found.items() if ordId not in self._told and self._is_news(ordId, row)]
        return sorted(rows, key=lambda row: (time_of(row), len(str(row["ordId"])), str(row["ordId"])))

    def _is_news(self, ordId: str, row: Mapping[str, Any]) -> bool:
        before = self._before.get(ordId)
        return time_of(row) >= self.since_ms if before is None else state_of(before) != state_of(row)

    def messages(self) -> list[bytes]:
        return [message_of(self.head, row) for row in self.changed]

    def missing(self) -> str:
        parts = [self._in_part] if self._pages or self._single.keys() - self._told else []
        if not self._knew_all:
            parts.append(f"what became of open orders older than the last {MOST_OPEN}")
        if self._unknown:
            parts.append(f"what became of the orders {', '.join(self._unknown)}")
        return ", ".join(parts)

    def place_of(self, payload: bytes) -> Place:
        told = {state_of(row) for row in self.changed}
        rows = [row for row in rows_of(payload) if isinstance(row, dict)]
        return "known" if rows and all(state_of(row) in told for row in rows) else "next"


def asks_for(ordId: str, row: Mapping[str, Any]) -> list[Ask]:
    """Return how to ask for one order: by its number; then as the newest of those that are over and no newer."""
    asks = [Ask(ORDER, {"instId": row["instId"], "ordId": ordId})]
    instType = row.get("instType")
    if isinstance(instType, str) and instType and ordId.isdecimal():
        page = {"instType": instType, "instId": row["instId"], "after": str(int(ordId) + 1), "limit": "1"}
        asks += [Ask(HISTORY, page), Ask(ARCHIVE, page)]
    return asks


class Fills(Listed):
    """``fills``: your trades since the hole began.

    Args:
        memory: The fills of before the hole.
    """

    def __init__(
        self, arg: Mapping[str, str], head: bytes, last: bytes | None, since_ms: int, memory: FillMemory
    ) -> None:
        super().__init__(arg, head, last, since_ms)
        self._pages = [(FILLS, {**self._place, "begin": str(self.since_ms), "limit": str(PAGE)}, "billId")]
        #: Fills that were told before the hole and after it.
        self._told = {*memory.told, *matches_of(rows_of(last))}
        self._rows: dict[Hashable, Any] = {}

    def see(self, payload: bytes) -> None:
        self._told |= matches_of(rows_of(payload))

    def keep(self, path: str, rows: list[Any]) -> None:
        for row in rows:
            whole(row.get("tradeId"))
            if whole(row.get("ts")) >= self.since_ms:
                self._rows.update(dict.fromkeys(matches_of([row]), row))

    @property
    def _news(self) -> dict[Hashable, Any]:
        return {fill: row for fill, row in self._rows.items() if fill not in self._told}

    def messages(self) -> list[bytes]:
        news = sorted(self._news.values(), key=lambda row: (int(row["ts"]), int(row["tradeId"])))
        return [message_of(self.head, {"count": "1", **row}) for row in news]

    def place_of(self, payload: bytes) -> Place:
        fills = matches_of(rows_of(payload))
        return "known" if fills and self._news.keys() >= fills else "next"


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


def repair_of(
    arg: Mapping[str, str], head: bytes, last: bytes | None, since_ms: int, memory: Memory | None = None
) -> Repair | None:
    """Return what can fill a hole of this subscription; None if REST has nothing that could.

    Args:
        memory: What `memories.memory_of` has made for the channel, and what has learnt from it since.
    """
    channel = arg["channel"]
    if channel in ("trades", "trades-all") and "instId" in arg:
        return Trades(arg, head, last, since_ms)
    if CANDLES.fullmatch(channel) and ("sprdId" if channel.startswith("sprd-") else "instId") in arg:
        return Candles(arg, head, last, since_ms)
    if channel == "funding-rate" and "instId" in arg:
        return FundingRate(arg, head, last, since_ms)
    if isinstance(memory, OrderMemory):
        return Orders(arg, head, last, since_ms, memory)
    options = channel == "option-trades" and not arg.keys().isdisjoint(("instId", "instFamily"))
    if options or (channel == "sprd-public-trades" and "sprdId" in arg):
        heard = memory if isinstance(memory, TradeMemory) else TradeMemory()
        return LatestTrades(arg, head, last, since_ms, heard)
    return Fills(arg, head, last, since_ms, memory) if isinstance(memory, FillMemory) else None


def can_repair(arg: Mapping[str, str]) -> bool:
    """Tell whether REST has what such a subscription sends."""
    return repair_of(arg, b"", None, 0, memory_of(arg["channel"])) is not None
