"""An order storm on the local exchange: links are cut, replies lost, late or out of order; every outcome is the truth.

Short in the suite; by hand: ``OKX_WS_STORM=20000 python -m pytest -s tests/test_order_storm.py``.
"""

import concurrent.futures
import itertools
import os
import random
from collections import Counter
from decimal import Decimal

import pytest

from okx_ws import ConnectionLost, Limits, OrderRejected, OutcomeUnknown, resolving
from okx_ws.exchange import LocalExchange

CALLS = int(os.environ.get("OKX_WS_STORM", "200"))
WORKERS = 16

#: Seconds an order takes on its way, and whether the link is cut now and then, in turns.
WEATHER = [(0.0, False), (0.01, True), (0.0, True), (0.2, False), (0.0, False), (0.02, True), (0.0, False)]


class Storm:
    """Orders from many threads, in weather that turns with every 20 of them."""

    def __init__(self, exchange, ws):
        self.exchange, self.ws, self.random, self.numbers = exchange, ws, random.Random(7), itertools.count()
        (ticker,) = ws.rest.ticker("BTC-USDT")
        px = str(int(float(ticker["bidPx"]) * 0.9))
        self.order = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "post_only", "px": px}

    def place(self, name):
        """Place one order, if it can be; return its name, and the row or the error it ended with."""
        number = next(self.numbers)
        delay_s, cut = WEATHER[number // 20 % len(WEATHER)]
        self.exchange.orders.delay_s = delay_s
        self.exchange.orders.push_order = self.random.choice(["before", "after", "either"])
        if cut and number % 7 == 0:
            self.exchange.drop("private")
        order = {**self.order, "sz": "0" if number % 9 == 0 else "0.00001"}  # some are refused
        if number % 5 == 0:
            order |= {"ordType": "market", "sz": "2", "px": None}  # and some are filled, of so many USDT
        try:
            return name, self.ws.place_order(**order, clOrdId=name, timeout=self.random.choice([0.1, 2.0]))
        except (OutcomeUnknown, OrderRejected, ConnectionLost) as exc:
            return name, exc


def check_money(before, after):
    """What was paid and got for each fill is what there is more and less; what open orders keep is kept, once."""
    expected = Counter(before.balances)
    for fill in after.fills:
        expected["BTC"] += Decimal(fill["fillSz"])
        expected["USDT"] -= Decimal(fill["fillSz"]) * Decimal(fill["fillPx"])
        expected[fill["feeCcy"]] += Decimal(fill["fee"])
    assert after.balances == expected
    left = sum((Decimal(row["sz"]) - Decimal(row["accFillSz"])) * Decimal(row["px"]) for row in after.open)
    assert after.frozen == ({"USDT": left} if left else {})


@pytest.mark.timeout(60 + CALLS / 10)
def test_every_outcome_is_known_or_becomes_known_and_nothing_is_placed_twice(connect, monkeypatch):
    """Acceptance 78, 79, 81: each ends accepted, refused, unsent or unknown; each unknown resolves to the truth.

    And the money adds up.
    """
    monkeypatch.setattr(resolving, "SETTLED_S", 1.0)  # the exchange takes 0.2 s at the most
    with LocalExchange() as exchange, concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        ws = connect(exchange, **exchange.credentials, limits=Limits(connects_per_s=1000, pace_orders=False))
        storm, before = Storm(exchange, ws), exchange.truth()
        exchange.faults.start("reorder", what="reply", probability=0.2, hold_s=0.05)
        exchange.faults.start("ack_lost", what="reply", probability=0.02)
        ended = dict(pool.map(storm.place, [f"storm{number}" for number in range(CALLS)]))
        unknown = {name: end for name, end in ended.items() if isinstance(end, OutcomeUnknown)}
        resolved = dict(zip(unknown, pool.map(lambda error: error.resolve(40), unknown.values()), strict=True))
        truth = exchange.truth()
        ws.close()
    check_money(before, truth)
    placed = Counter(row["clOrdId"] for row in truth.orders.values())
    assert len(ended) == CALLS and max(placed.values()) == 1, "nothing was placed twice"
    for name, end in ended.items():
        if isinstance(end, OutcomeUnknown):
            assert resolved[name].state == ("done" if placed[name] else "not_done"), (name, resolved[name])
        else:
            assert bool(placed[name]) == (not isinstance(end, Exception)), (name, end)
    kinds = Counter(type(end).__name__ for end in ended.values())
    assert truth.fills and truth.open
    print(kinds, Counter(found.state for found in resolved.values()))
    assert kinds["OrderResult"] and kinds["OrderRejected"] and kinds["OutcomeUnknown"], kinds
