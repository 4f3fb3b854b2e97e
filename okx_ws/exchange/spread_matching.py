"""Orders on spreads against the spreads' books, and against each other; what is traded is settled in both legs. Pure.

Law. As with single orders: the better price goes first; at one price the world's before those of accounts, and among
these who came first; a match happens at the price of the order that rested. Nothing is kept for an order that rests: a
trade that the account cannot settle by then is rejected, and ends the order. A spread that is bought buys the swap and
sells its coin; the coin's price is the spot market's, and the swap's is so much above it as was bid for the spread.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from decimal import Decimal

from .accounts import Account
from .instruments import Instrument
from .ledger import decimal_of, fee_of, margin_of, text_of
from .markets import Market, Trades, World
from .order_events import Event, Told, Touched
from .orders import Unfit
from .resting import Resting, show
from .spread_markets import Spread, spread_of
from .spread_orders import Leg, SpreadFill, SpreadOrder, spread_order_row, spread_trade_row

__all__ = ["SpreadEngine"]

BY_USER, REST_OF_TAKER, WOULD_TAKE, SELF_TRADE, BY_SYSTEM = "1", "14", "31", "32", "0"
POOR = ("51008", "Order failed. Insufficient balance or margin in account", "1000")

#: Orders that are over, and trades, that are remembered.
REMEMBERED = 50_000


class SpreadEngine:
    """All orders on spreads.

    Args:
        world: Its spreads; the engine goes along with it.
        positions_changed: Told of an account and a swap of which it has now another position.
    """

    def __init__(self, world: World, positions_changed: Callable[[Account, Instrument], None]) -> None:
        self._world = world
        self._positions_changed = positions_changed
        self._books: dict[str, Resting[SpreadOrder]] = {}
        self.open: dict[str, SpreadOrder] = {}
        #: The newest orders that are over, and trades with their orders; the oldest first.
        self.over: deque[SpreadOrder] = deque(maxlen=REMEMBERED)
        self.fills: deque[tuple[SpreadOrder, SpreadFill]] = deque(maxlen=REMEMBERED)
        self.numbers = itertools.count(world.start_ms * 1_000 + 500)
        #: What accounts printed on the tapes since the last step.
        self._printed: set[tuple[str, int]] = set()
        #: What happened and was not taken away yet.
        self.events: list[Event] = []
        #: Called after each step of the world in which something happened.
        self.stepped: Callable[[], None] = lambda: None

    def drain(self) -> list[Event]:
        """Return what happened since the last call, in order."""
        events, self.events = self.events, []
        return events

    # ------------------------------------------------------------------ what accounts ask for

    def spread(self, sprdId: str) -> Spread:
        """Return a spread; we go along with the world behind it."""
        found = spread_of(self._world, sprdId)
        self._world.followers.pop("orders on spreads", None)
        self._world.followers["orders on spreads"] = self
        return found

    def place(self, order: SpreadOrder) -> None:
        """Take an order; it may have been filled, or canceled, when this returns.

        Raises:
            Unfit: The account cannot afford it.
        """
        spread = self.spread(order.place.instId)
        if not self._affords(order, spread, self._best(order, spread.market)[0], order.left):
            raise Unfit(*POOR)
        order.uTime = self._world.ts
        self.open[order.ordId] = order
        if order.post_only and self._would_take(order, spread.market):
            self.end(order, WOULD_TAKE)
            return
        self._tell(order)
        self._work(order, spread)

    def amend(self, order: SpreadOrder, lots: int, ticks: int | None, reqId: str) -> None:
        """Change an open order; one that would not take, and now would, is canceled."""
        spread = self.spread(order.place.instId)
        self._book(order).remove(order)
        if ticks != order.ticks or lots > order.lots:
            order.rank = next(self.numbers)
        order.lots, order.ticks = lots, ticks
        self._show(order)
        self._tell(order, more={"reqId": reqId, "amendResult": "0"})
        if order.post_only and self._would_take(order, spread.market):
            self.end(order, WOULD_TAKE)
        else:
            self._work(order, spread)

    def end(self, order: SpreadOrder, source: str = BY_USER, code: str = "0", msg: str = "") -> None:
        """Cancel what is left of an order."""
        order.state, order.cancelSource = "canceled", source
        self._close(order)
        self._tell(order, more={"code": code, "msg": msg})

    # ------------------------------------------------------------------ the world's part

    def watch(self, ts: int, trades: Trades) -> None:
        """See a step of the world: fill what the spreads' books and trades have reached."""
        printed, self._printed = self._printed, set()
        for sprdId, book in self._books.items():
            spread = spread_of(self._world, sprdId)
            for trade in [trade for trade in spread.trades if (sprdId, trade.tradeId) not in printed]:
                for passed, ticks, lots in book.passed_by(trade):
                    self._fill(passed, spread, ticks, lots, None)
            for side, other in (("buy", spread.market.asks), ("sell", spread.market.bids)):
                while (order := book.best(side)) is not None and order.reaches(other.best):
                    lots = spread.market.take(other, order.left)
                    self._fill(order, spread, order.ticks or other.best, lots, None)
        if self.events:
            self.stepped()

    # ------------------------------------------------------------------ matching

    def _work(self, order: SpreadOrder, spread: Spread) -> None:
        """Match an order that is not in the book; then let it rest, or cancel what is left."""
        market = spread.market
        while order.open:
            ticks, maker = self._best(order, market)
            if not order.reaches(ticks):
                break
            if maker is None:
                size = market.take(market.asks if order.sign > 0 else market.bids, order.left)
                self._fill(order, spread, ticks, size, None, taker=True)
            elif maker.account is order.account:
                self.end(maker, SELF_TRADE)
            else:
                self._fill(order, spread, ticks, min(order.left, maker.left), maker, taker=True)
        if not order.open:
            return
        if order.ticks is None or order.ordType == "ioc":
            self.end(order, REST_OF_TAKER)
        else:
            self._book(order).add(order)
            self._show(order)

    def _fill(
        self, order: SpreadOrder, spread: Spread, ticks: int, lots: int, maker: SpreadOrder | None, taker: bool = False
    ) -> None:
        """Settle a match of an order, with the world or with another one; or reject it, and end who cannot pay."""
        both = [order] if maker is None else [order, maker]
        poor = [one for one in both if not self._affords(one, spread, ticks, lots)]
        for one in poor:
            fill = SpreadFill(next(self.numbers), ticks, lots, not taker or one is maker, self._world.ts, ())
            self.events.append(Told("sprd-trades", one.account, None, spread_trade_row(one, fill, *POOR[:2])))
            self.end(one, BY_SYSTEM, *POOR[:2])
        if poor:
            return
        tradeId = spread.market.next_tradeId()
        for one in both:
            self._settle(one, spread, ticks, lots, not taker or one is maker, tradeId)
        self._printed.add((order.place.instId, tradeId))
        side = order.side if taker else "sell" if order.side == "buy" else "buy"
        spread.market.print(tradeId, ticks, lots, side, self._world.ts, 1)

    def _settle(self, order: SpreadOrder, spread: Spread, ticks: int, lots: int, maker: bool, tradeId: int) -> None:
        """Book a match of one order in both legs, and tell of it."""
        account, ts = order.account, self._world.ts
        size = decimal_of(order.place.sz(lots)) * order.sign
        swap, spot = spread.swap, spread.spot
        spot_px = spread.spot_px
        swap_px, contracts = spot_px + decimal_of(order.place.px(ticks)), size / decimal_of(swap.ctVal)
        key, ids = (swap.instId, "cross", "net"), [str(next(self.numbers)) for _ in range(2)]
        booked = account.ledger.fill(swap, key, contracts, swap_px, maker, ts)
        account.ledger.holdings[key].tradeId = ids[0]
        sold = account.ledger.fill(spot, (spot.instId, "cash", ""), -size, spot_px, maker, ts)
        legs = (
            Leg(swap.instId, swap_px, size, text_of(abs(contracts)), ids[0], booked),
            Leg(spot.instId, spot_px, -size, "", ids[1], sold),
        )
        fill = SpreadFill(tradeId, ticks, lots, maker, ts, legs)
        order.filled += lots
        order.paid_ticks += lots * ticks
        order.last, order.state = fill, "partially_filled" if order.left else "filled"
        self.fills.append((order, fill))
        if order.open:
            self._show(order)
        else:
            self._close(order)
        self._tell(order, fill)
        self.events.append(Told("sprd-trades", account, None, spread_trade_row(order, fill)))
        self.events.append(Touched(account, swap.settleCcy, key, (swap.instId, ids[0])))
        self.events += [Touched(account, ccy, trade=(spot.instId, ids[1])) for ccy in spot.instId.split("-")]
        self._positions_changed(account, swap)

    def _affords(self, order: SpreadOrder, spread: Spread, ticks: int, lots: int) -> bool:
        """Tell whether an account can settle so much at a price."""
        ledger, swap = order.account.ledger, spread.swap
        size = decimal_of(order.place.sz(lots)) * order.sign
        base, quote = spread.spot.instId.split("-")
        px = spread.spot_px + decimal_of(order.place.px(ticks))
        contracts, pos = size / decimal_of(swap.ctVal), ledger.pos(swap.instId, "cross")
        opening = contracts if pos * size >= 0 else max(Decimal(0), abs(contracts) - abs(pos)) * order.sign
        needed = margin_of(swap, opening, px) + fee_of(swap, abs(contracts), px, False)
        if order.sign > 0 and abs(size) > ledger.available(base):
            return False
        return needed + (abs(size) * spread.spot_px if order.sign < 0 else 0) <= ledger.available(quote)

    def _best(self, order: SpreadOrder, market: Market) -> tuple[int, SpreadOrder | None]:
        """Return the best price against an order, and who offers it; None is the world."""
        world = (market.asks if order.sign > 0 else market.bids).best
        resting = self._book(order).best("sell" if order.side == "buy" else "buy")
        if resting is not None and resting.ticks is not None and order.sign * resting.ticks < order.sign * world:
            return resting.ticks, resting
        return world, None

    def _would_take(self, order: SpreadOrder, market: Market) -> bool:
        return order.reaches(self._best(order, market)[0])

    # ------------------------------------------------------------------ books, and what is told

    def _book(self, order: SpreadOrder) -> Resting[SpreadOrder]:
        return self._books.setdefault(order.place.instId, Resting())

    def _close(self, order: SpreadOrder) -> None:
        """An order is over: it is in no book."""
        self._book(order).remove(order)
        del self.open[order.ordId]
        self.over.append(order)
        self._show(order)

    def _show(self, order: SpreadOrder) -> None:
        """Let the public book show what rests."""
        rests = order.open and order.ticks is not None and order in self._book(order)
        show(order, spread_of(self._world, order.place.instId).market, rests)

    def _tell(self, order: SpreadOrder, fill: SpreadFill | None = None, more: dict[str, str] | None = None) -> None:
        order.uTime = self._world.ts
        self.events.append(Told("sprd-orders", order.account, None, spread_order_row(order, fill, more)))
