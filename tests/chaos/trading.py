"""Orders placed and cancelled whatever strikes, and what was told of them, held against what the exchange knows."""

from __future__ import annotations

import contextlib
from collections import Counter
from decimal import Decimal

from okx_ws import ConnectionLost, OkxWsError, OrderRejected, OutcomeUnknown, RestError
from tests.watch import eventually

#: After these an order was certainly not carried out; RestError: its instrument's code could not be had.
NOT_DONE = (ConnectionLost, OrderRejected, RestError)

#: Seconds for one call: longer than a link needs to come back, in most cases.
CALL_S = 2.0


class Trader:
    """Trades on the account of a run, over the private endpoint, and judges what became of it.

    Args:
        exchange: Knows the truth.
        ws: The manager.
        rng: What is placed next.
    """

    def __init__(self, exchange, ws, rng):
        self._exchange, self._ws, self._rng = exchange, ws, rng
        self._ends = Counter()
        self._placed = {}
        self._account = ws.account().wait_synced(10)
        self._orders = ws.orders(on_update=self._news).wait_synced(10)
        (ticker,) = ws.rest.ticker("BTC-USDT")
        self._px = str(int(float(ticker["bidPx"]) * 0.9))

    def _news(self, order):
        if order.done:
            self._ends[order.ordId] += 1

    def trade(self):
        """Place an order, and now and then cancel one; waits for nothing."""
        name = f"c{len(self._placed)}"
        order = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "clOrdId": name}
        if self._rng.random() < 0.5:
            order |= {"ordType": "market", "sz": "5"}
        else:
            order |= {"ordType": "post_only", "sz": "0.00001", "px": self._px}
        self._placed[name] = self._ws.place_order_nowait(**order, timeout=CALL_S)
        open_ = self._orders.view(stale_ok=True).open
        if open_ and self._rng.random() < 0.3:
            self._ws.cancel_order_nowait(instId="BTC-USDT", ordId=open_[0].ordId, timeout=CALL_S)

    def judge(self):
        """Return how calls ended, and what is wrong; when all is calm again."""
        outcomes, wrong = Counter(), []
        for name, future in self._placed.items():
            error = future.exception(CALL_S + 5)
            outcomes[type(error).__name__ if error is not None else "accepted"] += 1
            wrong += self._contradicts(name, error)
        self._orders.wait_synced(30)
        self._account.wait_synced(30)
        with contextlib.suppress(AssertionError):
            eventually(lambda: not self._differs(), 10)
        differs = self._differs()
        twice = [ordId for ordId, number in self._ends.items() if number > 1]
        return outcomes, wrong + differs + ([f"ends told twice: {twice}"] if twice else [])

    def _contradicts(self, name, error):
        """Return what an outcome says that is not so."""
        there = any(
            row["clOrdId"] == name and row["state"] != "rejected" for row in self._exchange.truth().orders.values()
        )
        if error is None and not there:
            return [f"{name} was accepted, and is not there"]
        if isinstance(error, NOT_DONE) and there:
            return [f"{name} was certainly not carried out ({error}), and is there"]
        known = error is None or isinstance(error, (*NOT_DONE, OutcomeUnknown))
        return [] if known else [f"{name} ended with {error!r}"]

    def _differs(self):
        """Return in what the live views differ from the truth."""
        try:
            seen, account = self._orders.view(), self._account.balances()
        except OkxWsError as exc:
            return [str(exc)]
        truth = self._exchange.truth()
        told = {order.ordId: (order.state, order.accFillSz) for order in seen.open}
        real = {row["ordId"]: (row["state"], row["accFillSz"]) for row in truth.open}
        ended = {order.ordId: (order.state, order.accFillSz) for order in seen.done}
        over = {ordId: (truth.orders[ordId]["state"], truth.orders[ordId]["accFillSz"]) for ordId in ended}
        owned = {ccy: Decimal(one.cashBal) for ccy, one in account.items()}
        pairs = {"open": (told, real), "ended": (ended, over), "balances": (owned, truth.balances)}
        return [f"{name}: told {one}, but it is {other}" for name, (one, other) in pairs.items() if one != other]
