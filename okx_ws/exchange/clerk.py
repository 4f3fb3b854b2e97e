"""The clerk: books what happens to orders, and tells it. Pure.

Law. An order's fill, its account's ledger and what is told of both change together, here and nowhere else. An order
that is over is in no book and keeps nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from decimal import Decimal

from .accounts import Account
from .instruments import Instrument
from .ledger import decimal_of
from .markets import Market, World
from .order_events import Event, Told, Touched, fill_row
from .orders import Match, Order, order_row
from .reserves import keep, opening_lots
from .resting import Resting, show

__all__ = [
    "BAND",
    "BY_MASS_CANCEL",
    "BY_USER",
    "FOK_NOT_FULL",
    "IOC_REST",
    "OVERRIDDEN",
    "REDUCE_ONLY",
    "SELF_TRADE",
    "WOULD_TAKE",
    "Clerk",
]

#: Why the rest of an order was canceled: OKX's cancelSource.
BY_USER, REDUCE_ONLY, FOK_NOT_FULL, IOC_REST, BAND, WOULD_TAKE, SELF_TRADE = "1", "2", "13", "14", "27", "31", "32"
BY_MASS_CANCEL = "38"

#: What is told of a reduce-only order that was made smaller.
OVERRIDDEN = {"amendSource": "4", "amendResult": "0"}


class Clerk:
    """Orders' lives and their accounts.

    Args:
        world: Its clock, and its tape.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        #: The resting orders, by instId.
        self.resting: dict[str, Resting[Order]] = {}
        #: Numbers of orders, of bills, and of places in a queue.
        self.numbers = itertools.count(world.start_ms * 1_000)
        #: What accounts printed on the tape since the last step.
        self.printed: set[int] = set()
        #: What happened and was not taken away yet.
        self.events: list[Event] = []

    def book(self, order: Order) -> Resting[Order]:
        """Return the resting orders of an order's instrument."""
        return self.resting.setdefault(order.place.instId, Resting())

    def rest(self, order: Order) -> None:
        """Put what is left of an order into the book."""
        self.book(order).add(order)
        self.freeze(order)

    def fill(self, order: Order, ticks: int, lots: int, maker: bool, tradeId: int) -> None:
        """Book a match of one order."""
        account, place, ts = order.account, order.place, self._world.ts
        px, size = decimal_of(place.px(ticks)), decimal_of(place.sz(lots)) * order.sign
        booked = account.ledger.fill(place, order.key, size, px, maker, ts)
        match = Match(tradeId, ticks, lots, maker, ts, booked.fee, booked.feeCcy, booked.pnl, billId=next(self.numbers))
        order.filled += lots
        order.paid_ticks += lots * ticks
        order.fee += booked.fee
        order.pnl += booked.pnl
        order.feeCcy, order.last, order.uTime = booked.feeCcy, match, ts
        order.matches.append(match)
        account.log.fills.append((order, match))
        done = not order.left and not order.draft.quote
        order.state = "filled" if done else "partially_filled"
        if done:
            self.close(order)
        else:
            self.freeze(order)
        self.tell(order, match)
        if maker:
            self.events.append(Told("fills", account, place, fill_row(order, [match])))
        self._touch(order, tradeId)
        self.trim(account, place, order)

    def _touch(self, order: Order, tradeId: int) -> None:
        place, account = order.place, order.account
        trade = (place.instId, str(tradeId))
        if place.instType == "SPOT":
            self.events += [Touched(account, ccy, trade=trade) for ccy in place.instId.split("-")]
            return
        account.ledger.holdings[order.key].tradeId = str(tradeId)
        self.events.append(Touched(account, place.settleCcy, order.key, trade))

    def trim(self, account: Account, place: Instrument, cause: Order | None = None) -> None:
        """Keep the reduce-only orders of an account no larger than the position they reduce, which has changed."""
        if place.instType == "SPOT":
            return
        for order in account.log.open:
            if not order.draft.reduceOnly or order.place is not place or order is cause:
                continue
            closable = order.left - opening_lots(order, order.left)
            if not closable:
                self.end(order, REDUCE_ONLY)
            elif closable < order.left:
                order.lots = order.filled + closable
                self.freeze(order)
                self.tell(order, more=OVERRIDDEN)

    def freeze(self, order: Order) -> None:
        """Keep what an open order needs now, and let go of what it no longer does."""
        resting = order.open and order.ticks is not None and order in self.book(order)
        self._show(order, resting)
        ccy, amount = keep(order, order.ticks or 1) if resting else (order.frozen_ccy, Decimal(0))
        if amount == order.frozen:
            return
        order.account.ledger.freeze(ccy, amount - order.frozen)
        order.frozen, order.frozen_ccy = amount, ccy
        self.events.append(Touched(order.account, ccy))

    def _show(self, order: Order, resting: bool) -> None:
        """Let the public book show what rests."""
        news = show(order, self._world.markets[order.place.instId], resting)
        if news and order.closing and order.account.ledger.pos(*order.key):
            self.events.append(Touched(order.account, key=order.key))  # there is more, or less, left to close

    def close(self, order: Order) -> None:
        """An order is over: it keeps nothing, and is in no book."""
        self.book(order).remove(order)
        order.account.log.close(order)
        order.uTime = self._world.ts
        self.freeze(order)

    def end(self, order: Order, source: str, more: Mapping[str, str] | None = None) -> None:
        """Cancel what is left of an order, and tell."""
        order.state, order.cancelSource = "mmp_canceled" if source == "39" else "canceled", source
        self.close(order)
        self.tell(order, more=more)

    # ------------------------------------------------------------------ what is told

    def tell(self, order: Order, match: Match | None = None, more: Mapping[str, str] | None = None) -> None:
        """Tell how an order is now; of a fill, if by one; `more` is what else it is about."""
        row = order_row(order, match, more)
        self.events.append(Told("orders", order.account, order.place, row))

    def tell_taken(self, order: Order, market: Market, taken: list[tuple[int, int, int]]) -> None:
        """Tell ``fills`` and the tape what an order took, added up by price."""
        matches = {match.tradeId: match for match in order.matches}
        for ticks, group in itertools.groupby(taken, key=lambda match: match[0]):
            parts = list(group)
            tradeId, lots = parts[-1][2], sum(size for _, size, _ in parts)
            told = [matches[id] for _, _, id in parts]
            self.events.append(Told("fills", order.account, order.place, fill_row(order, told)))
            self.print(market, tradeId, ticks, lots, order.side, len(parts))

    def print(self, market: Market, tradeId: int, ticks: int, lots: int, taker: str, count: int) -> None:
        """Put what accounts traded on the tape."""
        self.printed.add(tradeId)
        market.print(tradeId, ticks, lots, taker, self._world.ts, count)
