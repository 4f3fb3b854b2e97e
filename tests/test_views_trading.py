"""The views as a trader uses them: on the local exchange, which matches orders, tells things twice, and loses links."""

import random
from collections import Counter
from decimal import Decimal

import pytest

from okx_ws import ConnectionLost, OrderEnded, OrderRejected, OutcomeUnknown
from okx_ws.exchange import LocalExchange
from okx_ws.exchange.accounts import Account
from tests.watch import eventually

SPOT = {"instId": "BTC-USDT", "tdMode": "cash"}
SWAP = {"instId": "BTC-USDT-SWAP", "tdMode": "cross"}


@pytest.fixture
def market():
    """An exchange that tells every order push twice, before the reply or after it, and one row a page."""
    with LocalExchange(speed=5, accounts=[Account(page_rows=1)]) as running:
        running.orders.pushes.copies = 1
        running.orders.push_order = "either"
        yield running


@pytest.fixture
def ws(market, connect):
    return connect(market, **market.credentials)


def price(ws, part, instId="BTC-USDT"):
    """Return a price so far from the last one."""
    return str((Decimal(ws.rest.ticker(instId)[0]["last"]) * (1 + Decimal(part))).quantize(Decimal("0.1")))


def test_an_order_is_followed_from_its_place_in_the_book_to_its_end(ws):
    """Acceptance 84: live, amended, cancelled; each told once, though each comes twice."""
    news = []
    orders = ws.orders(on_update=news.append).wait_synced(5)
    ws.place_order(**SPOT, side="buy", ordType="limit", sz="0.01", px=price(ws, "-0.05"), clOrdId="mine")
    order = orders.wait("mine", "live", 5)
    ws.amend_order(instId="BTC-USDT", clOrdId="mine", newSz="0.02", reqId="r1")
    eventually(lambda: orders.get("mine").sz == "0.02")
    ws.cancel_order(instId="BTC-USDT", ordId=order.ordId)
    assert order.wait("canceled", 5).raw["cancelSource"] == "1"
    assert [(one.state, one.sz) for one in news] == [("live", "0.01"), ("live", "0.02"), ("canceled", "0.02")]
    assert orders.open() == () and order.sz == "0.01"


def test_a_market_order_changes_orders_balances_and_positions(ws, market):
    """All three say what the exchange says."""
    account, orders = ws.account().wait_synced(5), ws.orders().wait_synced(5)
    before = Decimal(account.position("BTC-USDT-SWAP").pos)
    ws.place_order(**SWAP, side="sell", ordType="market", sz="3", clOrdId="swap")
    ws.place_order(**SPOT, side="sell", ordType="market", sz="0.5", tgtCcy="base_ccy", clOrdId="spot")
    swap, spot = orders.wait("swap", "filled", 5), orders.wait("spot", "filled", 5)
    assert swap.fills_complete and spot.fills_complete and spot.accFillSz == "0.5"
    eventually(lambda: Decimal(account.position("BTC-USDT-SWAP").pos) == before - 3)
    eventually(lambda: Decimal(account.balance("USDT").cashBal) == market.truth().balances["USDT"])
    truth = market.truth()
    assert {ccy: Decimal(one.cashBal) for ccy, one in account.balances().items()} == truth.balances
    assert spot.avgPx == truth.order("spot")["avgPx"]


def test_a_position_that_is_closed_is_none(ws):
    """``pos`` of 0."""
    account = ws.account().wait_synced(5)
    size = account.position("ETH-USDT-SWAP").pos
    assert size == "-5"
    ws.place_order(instId="ETH-USDT-SWAP", tdMode="cross", side="buy", ordType="market", sz="5")
    eventually(lambda: account.position("ETH-USDT-SWAP") is None)
    assert account.synced


def test_a_post_only_order_that_would_take_is_only_cancelled(ws):
    """No ``live`` before it: to wait for that ends at once."""
    orders = ws.orders().wait_synced(5)
    ws.place_order(**SPOT, side="buy", ordType="post_only", sz="0.01", px=price(ws, "0.01"), clOrdId="maker")
    with pytest.raises(OrderEnded) as told:
        orders.wait("maker", "live", 5)
    order = told.value.order
    assert order.raw["cancelSource"] == "31" and [state for state, _ in order.history] == ["canceled"]


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_lost_the_views_are_the_exchanges_in_the_end(seed, ws, market):
    """Acceptance 90: orders of all kinds, links cut at random; what is synced is the truth, each end is told once."""
    rng, news = random.Random(seed), []
    account = ws.account().wait_synced(5)
    orders = ws.orders(on_update=news.append).wait_synced(5)
    last = {1: price(ws, "0.0005"), -1: price(ws, "-0.0005"), 5: price(ws, "0.01"), -5: price(ws, "-0.01")}
    for number in range(80):
        side, kind = rng.choice([1, -1]), rng.choice(["limit", "market", "post_only", "ioc"])
        arg = {
            **rng.choice([SPOT, SWAP]),
            "side": "buy" if side > 0 else "sell",
            "ordType": kind,
            "clOrdId": f"n{number}",
        }
        arg["sz"] = "0.01" if arg["instId"] == "BTC-USDT" else "1"
        arg |= {"tgtCcy": "base_ccy"} if kind == "market" else {"px": last[side * rng.choice([1, -1, -5])]}
        if rng.random() < 0.1:
            market.drop()
        try:
            ws.place_order(**arg)
            if (open_ := orders.view(stale_ok=True).open) and rng.random() < 0.3:
                ws.cancel_order(instId=open_[0].instId, ordId=open_[0].ordId)
        except (OutcomeUnknown, ConnectionLost, OrderRejected):
            pass
    orders.wait_synced(10)
    account.wait_synced(10)

    def same():
        """Compare: the books move on meanwhile, so that orders are filled."""
        truth, seen = market.truth(), orders.view()
        return {row["ordId"]: (row["state"], row["accFillSz"]) for row in truth.open} == {
            order.ordId: (order.state, order.accFillSz) for order in seen.open
        }

    eventually(same)
    truth = market.truth()
    for order in orders.view().done:
        assert (order.state, order.accFillSz) == tuple(truth.orders[order.ordId][key] for key in ("state", "accFillSz"))
    ends = Counter(order.ordId for order in news if order.done)
    assert ends and max(ends.values()) == 1
    eventually(
        lambda: {ccy: Decimal(one.cashBal) for ccy, one in account.balances().items()} == market.truth().balances
    )
