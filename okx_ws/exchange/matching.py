"""The matching engine: orders of accounts against the world's books, and against each other. Pure.

Law. The better price goes first. At one price the world's orders go before those of accounts, and among these who came
first goes first; a larger size or another price is a new place in the queue. A match happens at the price of the order
that rested. The world's levels are what they are: a resting order is filled when the world's other side has come to
its price, or when the world has traded beyond it. No order is filled beyond its size, and none leaves a terminal state.

What happened is told in order, to whoever takes it away (`Engine.drain`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .accounts import Account
from .clerk import BAND, BY_MASS_CANCEL, BY_USER, FOK_NOT_FULL, IOC_REST, OVERRIDDEN, SELF_TRADE, WOULD_TAKE, Clerk
from .instruments import Instrument
from .ledger import decimal_of
from .markets import Market, Trades, World
from .order_checks import against, cap, check_close, check_funds, check_limits, poor, size_at, worst_price
from .order_events import Event
from .order_forms import Amendment
from .orders import AT_ONCE, POST_ONLY, PROTECTED, Draft, Order, Unfit
from .reserves import keep, opening_lots

__all__ = ["Engine"]

#: An order that is over: in the words of OKX, why it cannot be touched.
GONE = {
    "cancel": ("51400", "Order cancellation failed as the order has been filled, canceled or does not exist."),
    "amend": ("51503", "Order modification failed as the order has been filled, canceled or does not exist."),
}


class Engine:
    """All orders of all accounts.

    Args:
        world: Its books; the engine goes along with it.
        accounts: Who trades.
    """

    def __init__(self, world: World, accounts: Iterable[Account]) -> None:
        self._world = world
        self._clerk = Clerk(world)
        #: Called after each step of the world that the engine has seen.
        self.stepped: Callable[[], None] = lambda: None
        for account in accounts:
            self.admit(account)
        world.followers["orders of accounts"] = self

    def admit(self, account: Account) -> None:
        """Tell the positions an account began with what they are."""
        for holding in account.ledger.holdings.values():
            market = self._world.markets.get(holding.instId)
            holding.place = market.instrument if market is not None else None

    def drain(self) -> list[Event]:
        """Return what happened since the last call, in order."""
        events, self._clerk.events = self._clerk.events, []
        return events

    # ------------------------------------------------------------------ what accounts ask for

    def place(self, account: Account, draft: Draft) -> Order:
        """Take an order; it may have been filled, or canceled, when this returns.

        Raises:
            Unfit: It is not taken.
        """
        known = account.log.find("", draft.clOrdId) if draft.clOrdId else None
        if known is not None and known.open:
            raise Unfit("51016", "Duplicated client order ID")
        market = self._world.markets[draft.place.instId]
        if draft.ticks is not None:
            check_limits(market, draft.side, draft.ticks)
        order = self._new(account, draft)
        capped = cap(order)
        check_close(order)
        check_funds(order, market)
        account.log.add(order)
        if order.ordType in POST_ONLY and self._would_take(order):
            self._clerk.end(order, WOULD_TAKE)
            return order
        if capped:
            self._clerk.tell(order, more=OVERRIDDEN)
        self._clerk.tell(order)
        if order.ordType in ("fok", "op_fok") and self._fillable(order) < order.lots:
            self._clerk.end(order, FOK_NOT_FULL)
            return order
        self._work(order, market)
        return order

    def amend(self, order: Order | None, change: Amendment) -> None:
        """Change an open order; what comes of it is told in its push.

        Raises:
            Unfit: It is not open, or would be smaller than what is filled of it.
        """
        if order is None or not order.open:
            raise Unfit(*GONE["amend"])
        lots = order.lots if change.lots is None else change.lots
        ticks = order.ticks if change.ticks is None else change.ticks
        if lots <= order.filled:
            raise Unfit("51000", "Parameter newSz error")
        market = self._world.markets[order.place.instId]
        if change.ticks is not None:
            check_limits(market, order.side, change.ticks)
        failure = self._change(order, lots, ticks)
        if failure is not None:
            told = {"code": failure.sCode, "msg": failure.sMsg, "reqId": change.reqId}
            if change.cxlOnFail:
                self._clerk.end(order, BY_USER, {**told, "amendResult": "1"})
            else:
                self._clerk.tell(order, more={**told, "amendResult": "-1"})
            return
        self._clerk.tell(order, more={"reqId": change.reqId, "amendResult": "0", "amendSource": "1"})
        if order.ordType in POST_ONLY and self._would_take(order):
            self._clerk.end(order, WOULD_TAKE)
        elif self._would_take(order):
            self._clerk.book(order).remove(order)
            self._work(order, market)

    def _change(self, order: Order, lots: int, ticks: int | None) -> Unfit | None:
        """Give an open order another size and price, if the account can afford it."""
        before = (order.lots, order.ticks, order.opening)
        resting = self._clerk.book(order)
        resting.remove(order)
        order.lots, order.ticks, order.opening = lots, ticks, opening_lots(order, lots)
        failure = None
        try:
            cap(order)
            check_close(order)
            ccy, amount = keep(order, ticks or 1)
            if amount - order.frozen > order.account.ledger.available(ccy):
                raise poor(ccy, order.place)
        except Unfit as exc:
            order.lots, order.ticks, order.opening = before
            failure = exc
        if order.ticks != before[1] or order.lots > before[0]:
            order.rank = next(self._clerk.numbers)
        self._clerk.rest(order)
        return failure

    def cancel(self, order: Order | None, source: str = BY_USER) -> None:
        """Cancel an open order.

        Raises:
            Unfit: It is not open.
        """
        if order is None or not order.open:
            raise Unfit(*GONE["cancel"])
        self._clerk.end(order, source)

    def mass_cancel(self, account: Account, instFamily: str) -> None:
        """Cancel an account's market-maker-protected orders on a family of options."""
        for order in account.log.open:
            if order.ordType in PROTECTED and order.place.instFamily == instFamily:
                self._clerk.end(order, BY_MASS_CANCEL)

    def position_changed(self, account: Account, place: Instrument) -> None:
        """An account has another position of an instrument, though not by an order here."""
        self._clerk.trim(account, place)

    # ------------------------------------------------------------------ the world's part

    def watch(self, ts: int, trades: Trades) -> None:
        """See a step of the world: fill what its books and its trades have reached."""
        printed = set(self._clerk.printed)  # all of it is among the trades of this step
        for instId, resting in list(self._clerk.resting.items()):
            market = self._world.markets[instId]
            for trade in [trade for trade in trades.get(instId, ()) if trade.tradeId not in printed]:
                for passed, ticks, lots in resting.passed_by(trade):
                    self._fill_resting(passed, ticks, lots, market)
            for side, other in (("buy", market.asks), ("sell", market.bids)):
                while (order := resting.best(side)) is not None and order.reaches(other.best):
                    ticks = order.ticks or other.best
                    self._fill_resting(order, ticks, market.take(other, order.left), market)
            if not resting:
                del self._clerk.resting[instId]
        self._clerk.printed -= printed
        self.stepped()

    def _fill_resting(self, order: Order, ticks: int, lots: int, market: Market) -> None:
        tradeId = market.next_tradeId()
        self._clerk.fill(order, ticks, lots, True, tradeId)
        self._clerk.print(market, tradeId, ticks, lots, "sell" if order.side == "buy" else "buy", 1)

    # ------------------------------------------------------------------ matching

    def _work(self, order: Order, market: Market) -> None:
        """Match an order that is not in the book; then let it rest, or cancel what is left."""
        limit = worst_price(order, market)
        taken: list[tuple[int, int, int]] = []
        while order.open:
            ticks, maker = self._best(order, market)
            size = size_at(order, ticks)
            if not size or order.sign * ticks > order.sign * limit:
                break
            if maker is not None and maker.account is order.account:
                self._prevent(order, maker)
                continue
            size = min(size, maker.left) if maker is not None else market.take(against(order, market), size)
            tradeId = market.next_tradeId()
            self._take(order, ticks, size, tradeId)
            if maker is not None:
                self._clerk.fill(maker, ticks, size, True, tradeId)
            taken.append((ticks, size, tradeId))
        self._clerk.tell_taken(order, market, taken)
        if order.open:
            self._rest_or_end(order)

    def _take(self, order: Order, ticks: int, size: int, tradeId: int) -> None:
        if order.draft.quote:
            order.lots += size
            order.quote -= decimal_of(order.place.sz(size)) * decimal_of(order.place.px(ticks))
        self._clerk.fill(order, ticks, size, False, tradeId)

    def _rest_or_end(self, order: Order) -> None:
        if order.draft.quote and order.filled:
            order.state = "filled"  # the rest buys no lot: told without a fill, as OKX does
            self._clerk.close(order)
            self._clerk.tell(order)
        elif order.ordType in AT_ONCE:
            self._clerk.end(order, BAND if order.ordType == "market" else IOC_REST)
        else:
            self._clerk.rest(order)

    def _prevent(self, order: Order, maker: Order) -> None:
        """Keep an account from trading with itself."""
        mode = order.draft.stpMode
        if mode in ("cancel_maker", "cancel_both"):
            self._clerk.end(maker, SELF_TRADE)
        if mode in ("cancel_taker", "cancel_both"):
            self._clerk.end(order, SELF_TRADE)

    def _best(self, order: Order, market: Market) -> tuple[int, Order | None]:
        """Return the best price against an order, and who offers it; None is the world."""
        world = against(order, market).best
        resting = self._clerk.book(order).best("sell" if order.side == "buy" else "buy")
        if resting is not None and resting.ticks is not None and order.sign * resting.ticks < order.sign * world:
            return resting.ticks, resting
        return world, None

    def _would_take(self, order: Order) -> bool:
        ticks, _ = self._best(order, self._world.markets[order.place.instId])
        return order.reaches(ticks)

    def _fillable(self, order: Order) -> int:
        """Return how many lots could be had at once; an own order is none of them, and may be in the way."""
        market = self._world.markets[order.place.instId]
        limit = order.sign * worst_price(order, market)
        levels = against(order, market).levels.items()
        world = sum(lots for ticks, (lots, _) in levels if order.sign * ticks <= limit)
        resting = self._clerk.book(order).all("sell" if order.side == "buy" else "buy")
        reached = [other for other in resting if order.reaches(other.ticks or 0)]
        if order.draft.stpMode != "cancel_maker" and any(other.account is order.account for other in reached):
            return 0
        return world + sum(other.left for other in reached if other.account is not order.account)

    def _new(self, account: Account, draft: Draft) -> Order:
        number, ts = next(self._clerk.numbers), self._world.ts
        order = Order(
            account,
            str(number),
            draft.place,
            draft.tdMode,
            draft.side,
            draft.ordType,
            draft.ticks,
            draft.lots,
            draft,
            ts,
        )
        order.rank, order.uTime, order.quote = number, ts, draft.quote
        order.opening = opening_lots(order, order.lots)
        return order
