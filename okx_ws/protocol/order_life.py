"""The orders of an account and their life, kept from the pushes of ``orders`` and the answers of REST. Pure.

Law. An order goes one way: live, partially filled, and an end that is final. So what is known of it can only grow: what
came twice, too late, or over REST beside the stream is put where it belongs by its ``uTime``, its filled size and its
end, whatever the order it came in.

    live → partially_filled → filled | canceled | mmp_canceled
       ↘ filled | canceled | mmp_canceled                        (also as the first that is heard of it)

A push is news by OKX's own rules ("Order channel", read June 2026): a fill, once by ``tradeId``; an end, once; the
outcome of an amendment, once by ``reqId``; all else, if it says anything new. OKX counts a tradeId once per instrument,
we once per order: a trade with oneself has two orders.

The stream sends no state of its own, so after a hole `Rebuild` knows what to ask REST: every open order, page by page;
then each one that was open before and is not among them, twice if need be, since REST may be behind the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, NamedTuple

from .holdings import UNREADABLE, PushBroken, frozen, is_zero, text_in, texts_in

__all__ = ["ENDS", "STATES", "UNKNOWN", "Fill", "Order", "Orders", "Question", "Rebuild"]

#: How far an order has come. What is at least so far has also been there before.
RANKS = {"live": 1, "partially_filled": 2, "filled": 3}

#: Nothing leaves these.
ENDS = ("filled", "canceled", "mmp_canceled")

STATES = ("live", "partially_filled", *ENDS)

#: OKX does not know the order any more: those that ended without a fill are forgotten after two hours.
UNKNOWN = "unknown"

#: Fills of one order that are kept, the newest ones; and its amendments, and changes of state.
MAX_FILLS = 1_000
MAX_AMENDMENTS = 100
MAX_HISTORY = 32

#: Rows of a page of REST, and pages that are asked for: OKX allows far fewer open orders.
PAGE = 100
MAX_PAGES = 1_000

#: REST knows by then what the stream has told.
LAG_S = 2.0

PENDING = "/api/v5/trade/orders-pending"
ORDER = "/api/v5/trade/order"


class Fill(NamedTuple):
    """One fill of an order, in the exchange's own texts.

    Attributes:
        tradeId: OKX's number of the trade.
        fillPx, fillSz: At what price, how much.
        fillTime: When, Unix ms.
        fillFee, fillFeeCcy: What it cost: less than 0 if paid.
        execType: ``"T"`` taker, ``"M"`` maker.
    """

    tradeId: str
    fillPx: str
    fillSz: str
    fillTime: str
    fillFee: str
    fillFeeCcy: str
    execType: str


def _nobody(ordId: str, state: str, timeout: float | None) -> Order:
    raise RuntimeError("this order belongs to no live view")


@dataclass(frozen=True)
class Order:
    """One order as far as it is known, in the exchange's own texts; a copy that does not change.

    Attributes:
        instId: The instrument.
        ordId, clOrdId: OKX's number, and yours; the latter may be empty.
        side, ordType, px, sz: What was asked for, as amended since.
        state: ``live``, ``partially_filled``, ``filled``, ``canceled``, ``mmp_canceled``; or ``unknown``: OKX has it no
            more, so it ended without a fill, or before a long hole.
        accFillSz, avgPx: How much is filled, and at what price on average.
        cTime, uTime: When it was made, and changed last: Unix ms.
        history: Each state it was seen in, with its ``uTime``.
        fills: The fills that were seen, the newest last, 1,000 at most. REST tells only the last one of a hole:
            `accFillSz` counts all, and `fills_complete` tells whether these are all of them.
        raw: Every field of the newest row that OKX sent, read-only.
    """

    instId: str
    ordId: str
    clOrdId: str
    side: str
    ordType: str
    px: str
    sz: str
    state: str
    accFillSz: str
    avgPx: str
    cTime: str
    uTime: str
    history: tuple[tuple[str, str], ...]
    fills: tuple[Fill, ...]
    raw: Mapping[str, Any] = field(repr=False, compare=False)
    #: Amendments whose outcome was told.
    reqIds: tuple[str, ...] = field(default=(), repr=False, compare=False)
    _wait: Callable[[str, str, float | None], Order] = field(default=_nobody, repr=False, compare=False)

    @property
    def done(self) -> bool:
        """It has ended."""
        return self.state in ENDS or self.state == UNKNOWN

    @property
    def fills_complete(self) -> bool:
        """`fills` add up to `accFillSz`."""
        return sum((Decimal(fill.fillSz) for fill in self.fills), Decimal(0)) == Decimal(self.accFillSz or 0)

    def has_reached(self, state: str) -> bool:
        """Tell whether it was, or came past, a state; ``"done"``: any end."""
        if state == "done":
            return self.done
        rank = max((RANKS.get(past, 0) for past, _ in self.history), default=0)
        return state in [past for past, _ in self.history] or 0 < RANKS.get(state, 99) <= rank

    def wait(self, state: str = "done", timeout: float | None = 10.0) -> Order:
        """Block until it has reached a state; return it as it is then. See `OrdersView.wait`."""
        return self._wait(self.ordId, state, timeout)


ROW_FIELDS = (
    "instId",
    "ordId",
    "clOrdId",
    "side",
    "ordType",
    "px",
    "sz",
    "state",
    "accFillSz",
    "avgPx",
    "cTime",
    "uTime",
)


class Seen(NamedTuple):
    """What a row has done: the order as it is now, and whether the row was news."""

    order: Order
    news: bool


class Orders:
    """All open orders, and the newest of those that have ended.

    Not thread-safe: all changes are for one thread.

    Args:
        keep: How many orders that have ended are kept.
        wait: What `Order.wait` calls.
    """

    def __init__(self, keep: int, wait: Callable[[str, str, float | None], Order] = _nobody) -> None:
        self.keep = keep
        self._wait = wait
        self.open: dict[str, Order] = {}
        #: The last one to end is the last one here.
        self.done: dict[str, Order] = {}
        self._by_clOrdId: dict[str, str] = {}

    def find(self, clOrdId: str | None, ordId: str | None) -> Order | None:
        """Return an order by OKX's number or yours; of several that had yours, the newest."""
        ordId = ordId or self._by_clOrdId.get(clOrdId or "", "")
        return self.open.get(ordId) or self.done.get(ordId)

    def take(self, row: Any, rest: bool = False) -> Seen:
        """Take what a row says of an order: of the stream's ``data``, or (`rest`) of an answer.

        Raises:
            PushBroken: It cannot be read; nothing was taken.
        """
        try:
            fresh = self._read(row)
        except UNREADABLE as exc:
            raise PushBroken(f"malformed: {exc!r:.200}") from exc
        known = self.find(None, fresh.ordId)
        if known is None:
            order, news = fresh, True
        else:
            order, news = _joined(known, fresh), _is_news(known, fresh, rest)
        self._store(order)
        return Seen(order, news)

    def lose(self, ordId: str) -> Order | None:
        """OKX does not know an order any more: it has ended, and it cannot be said how."""
        known = self.open.get(ordId)
        if known is None:
            return None
        history = (*known.history, (UNKNOWN, known.uTime))[-MAX_HISTORY:]
        order = replace(known, state=UNKNOWN, history=history)
        self._store(order)
        return order

    def _read(self, row: Mapping[str, Any]) -> Order:
        texts = texts_in(row, ROW_FIELDS)
        reqId, state, uTime = text_in(row, "reqId"), text_in(row, "state"), text_in(row, "uTime")
        is_zero(text_in(row, "accFillSz"))
        int(uTime)
        if not text_in(row, "ordId") or not text_in(row, "instId") or not state:
            raise ValueError(f"no order: {row!r:.100}")
        fills = () if is_zero(text_in(row, "fillSz")) or not text_in(row, "tradeId") else (_fill(row),)
        return Order(
            **texts,
            history=((state, uTime),),
            fills=fills,
            raw=frozen(dict(row)),
            reqIds=(reqId,) if reqId else (),
            _wait=self._wait,
        )

    def _store(self, order: Order) -> None:
        self.open.pop(order.ordId, None)
        place = self.done if order.done else self.open
        place[order.ordId] = order
        if order.clOrdId:
            other = self.find(order.clOrdId, None)
            if other is None or int(other.cTime or 0) <= int(order.cTime or 0):
                self._by_clOrdId[order.clOrdId] = order.ordId
        if not order.done:
            self.done.pop(order.ordId, None)  # OKX did know it after all
        while len(self.done) > self.keep:
            self._forget(self.done.pop(next(iter(self.done))))

    def _forget(self, order: Order) -> None:
        if self._by_clOrdId.get(order.clOrdId) == order.ordId:
            del self._by_clOrdId[order.clOrdId]


def _fill(row: Mapping[str, Any]) -> Fill:
    return Fill(**texts_in(row, Fill._fields))


def _age(order: Order) -> tuple[int, Decimal]:
    """Return what grows with the life of an order."""
    return int(order.uTime), Decimal(order.accFillSz or 0)


def _joined(known: Order, fresh: Order) -> Order:
    """Return what is known of an order together with a row that came later."""
    tradeIds = {fill.tradeId for fill in known.fills}
    fills = (*known.fills, *[fill for fill in fresh.fills if fill.tradeId not in tradeIds])[-MAX_FILLS:]
    reqIds = (*known.reqIds, *[reqId for reqId in fresh.reqIds if reqId not in known.reqIds])[-MAX_AMENDMENTS:]
    if known.state in ENDS:
        newer = False
    else:  # an end is never too late
        newer = known.state == UNKNOWN or fresh.done or _age(fresh) >= _age(known)
    if not newer:
        return replace(known, fills=fills, reqIds=reqIds)
    history = known.history
    if fresh.state != known.state:
        history = (*history, *fresh.history)[-MAX_HISTORY:]
    return replace(fresh, history=history, fills=fills, reqIds=reqIds)


def _is_news(known: Order, fresh: Order, rest: bool) -> bool:
    """Tell whether a row says anything that was not known, by OKX's rules."""
    tradeIds = [fill.tradeId for fill in known.fills]
    if any(fill.tradeId not in tradeIds for fill in fresh.fills):
        return True
    if known.state in ENDS or fresh.done:
        return known.state not in ENDS
    if fresh.fills:
        return False
    if fresh.reqIds:
        return fresh.reqIds[0] not in known.reqIds
    if rest:  # whose rows have other fields, too
        return _age(fresh) > _age(known)
    return fresh.raw != known.raw


# ---------------------------------------------------------------------- after a hole


class Question(NamedTuple):
    """What to ask REST: a path, its parameters, and how long to wait before that."""

    path: str
    params: Mapping[str, str]
    pause_s: float = 0.0


class Rebuild:
    """What to ask REST until the orders are known again, one question after the other.

    Begun once the stream is acknowledged: from then on pushes tell everything, and `pushed` has to hear of them.

    Args:
        orders: Where the answers go.
        narrow: Which orders the stream is about: parameters for REST.
        waited: Orders that somebody waits for, and that may be unknown: clOrdId and instId.

    Attributes:
        question: What to ask next; None: everything is known.
    """

    def __init__(self, orders: Orders, narrow: Mapping[str, str], waited: Iterable[tuple[str, str]] = ()) -> None:
        self._orders = orders
        self._narrow = dict(narrow)
        self._waited = list(waited)
        #: Orders that were told since it began: of these nothing has to be asked.
        self._told: set[str] = set()
        #: What REST did not know when it was asked for the first time.
        self._absent: list[Question] = []
        self._pages = 0
        self._asking: Iterator[Question] | None = None
        self.question: Question | None = self._pending("")

    def _pending(self, after: str) -> Question:
        paging = {"after": after} if after else {}
        return Question(PENDING, {**self._narrow, "limit": str(PAGE), **paging})

    def pushed(self, ordId: str) -> None:
        """The stream has told of an order."""
        if self.question is not None:  # else it would only fill memory
            self._told.add(ordId)

    def answer(self, rows: list[Any]) -> list[Seen]:
        """Take the rows that answer `question` (none: there is no such order); return what they have done.

        Raises:
            PushBroken: They cannot be read; the question stands.
        """
        question = self.question
        assert question is not None  # nobody answers what was not asked
        seen = [self._orders.take(row, rest=True) for row in rows]
        self._told.update(one.order.ordId for one in seen)
        if self._asking is None:
            self._turn_page(rows)
        else:
            if not rows:
                seen = self._unknown(question)
            self.question = next(self._asking, None)
        return seen

    def _unknown(self, question: Question) -> list[Seen]:
        """REST does not know an order: it is asked once more, and then the order is lost, unless it was told of."""
        ordId = question.params.get("ordId", "")
        if question.params not in [asked.params for asked in self._absent]:
            self._absent.append(question)
        elif ordId not in self._told and (lost := self._orders.lose(ordId)) is not None:
            return [Seen(lost, True)]
        return []

    def _turn_page(self, rows: list[Any]) -> None:
        self._pages += 1
        if len(rows) >= PAGE and self._pages < MAX_PAGES:
            self.question = self._pending(rows[-1]["ordId"])
        else:
            self._asking = self._missing()
            self.question = next(self._asking, None)

    def _missing(self) -> Iterator[Question]:
        """Give the questions about single orders."""
        for order in list(self._orders.open.values()):
            if order.ordId not in self._told:
                yield Question(ORDER, {"instId": order.instId, "ordId": order.ordId})
        for clOrdId, instId in self._waited:
            if self._orders.find(clOrdId, None) is None:
                yield Question(ORDER, {"instId": instId, "clOrdId": clOrdId})
        pause_s = LAG_S
        for question in list(self._absent):
            if question.params.get("ordId") not in self._told:
                yield question._replace(pause_s=pause_s)
                pause_s = 0.0
