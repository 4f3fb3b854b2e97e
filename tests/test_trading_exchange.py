"""Orders as a user would trade, on the local exchange, which shares no code with the client."""

import threading
import time
from collections import Counter
from decimal import Decimal

import pytest

from okx_ws import AckTimeout, LoginError, OrderRejected, OutcomeUnknown, UsageError
from okx_ws.exchange import LocalExchange
from okx_ws.net import pairs
from tests.watch import Watch, eventually

NEW = {"apiKey": "rotated-key-1", "secretKey": "rotated-secret-1", "passphrase": "rotated-phrase-1"}


class Life:
    """What the channel ``orders`` tells of each order, by its clOrdId: its states, in order."""

    def __init__(self, ws):
        self._changed = threading.Condition()
        self.states = {}
        ws.subscribe("orders", instType="ANY", handler=self._take).wait(5)

    def _take(self, message):
        with self._changed:
            for order in message["data"]:
                self.states.setdefault(order["clOrdId"], []).append(order["state"])
            self._changed.notify_all()

    def wait(self, clOrdId, state):
        with self._changed:
            assert self._changed.wait_for(lambda: state in self.states.get(clOrdId, []), 5), self.states
            return self.states[clOrdId]


@pytest.fixture
def trader(exchange, connect):
    """A manager with a key, and an order that will rest in the book."""
    ws = connect(exchange, **exchange.credentials)
    (ticker,) = ws.rest.ticker("BTC-USDT")
    px = str(int(float(ticker["bidPx"]) * 0.9))
    ws.order = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "px": px, "sz": "0.01"}
    return ws


def test_an_order_is_placed_changed_and_cancelled(trader, exchange):
    """Acceptance 74: and the exchange's own books say so."""
    life = Life(trader)
    placed = trader.place_order(**trader.order, clOrdId="mine", check=True)
    assert exchange.truth().order("mine")["state"] == "live" and placed.ordId
    assert trader.amend_order(instId="BTC-USDT", ordId=placed.ordId, newSz="0.02", reqId="r1")["reqId"] == "r1"
    assert trader.rest.order("BTC-USDT", clOrdId="mine")[0]["sz"] == "0.02"
    assert trader.cancel_order(instId="BTC-USDT", clOrdId="mine").ok
    assert life.wait("mine", "canceled") == ["live", "live", "canceled"] and exchange.truth().open == []


def test_links_rest_after_an_order_that_nobody_waited_for(trader):
    """Its end is looked for on every link, from outside: that leaves none of them with something to do for ever."""
    trader.subscribe("tickers", instId="BTC-USDT").wait(5)
    assert trader.place_order_nowait(**trader.order, timeout=0.2).result(5).ok
    links = [link for lines in trader._lines.values() for link in lines.connections]
    for link in links:
        link.expire_calls()
        link.wake()
    eventually(lambda: all(link.session.due > 0.0 for link in links))


@pytest.mark.parametrize("push_order", ["before", "after"])
def test_a_push_may_come_before_the_reply(push_order, trader, exchange):
    """Acceptance 84: the life of an order in order, and its reply, whichever comes first."""
    exchange.orders.push_order = push_order
    life = Life(trader)
    order = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "market", "sz": "100"}
    assert trader.place_order(**order, clOrdId="taker").ok
    states = life.wait("taker", "filled")
    assert states[0] == "live" and states[-1] == "filled" and set(states[1:-1]) <= {"partially_filled"}


def test_what_the_exchange_refuses_says_why(trader):
    """Acceptance 75, 76, 80: single, batch; and the next order works."""
    for change, sCode in [({"sz": "1000000"}, "51008"), ({"sz": "0"}, "51000")]:
        with pytest.raises(OrderRejected) as caught:
            trader.place_order(**{**trader.order, **change})
        assert caught.value.sCode == sCode and caught.value.sMsg and caught.value.data["clOrdId"]
    with pytest.raises(OrderRejected, match="51400"):
        trader.cancel_order(instId="BTC-USDT", ordId="1")
    with pytest.raises(OrderRejected, match="51001"):
        trader.place_order(**{name: value for name, value in trader.order.items() if name != "instId"}, instIdCode=1)
    with pytest.raises(UsageError, match="lists no NO-COIN"):
        trader.place_order(**{**trader.order, "instId": "NO-COIN"})
    rows = trader.place_orders([trader.order, {**trader.order, "sz": "0"}, trader.order])
    assert [row.ok for row in rows] == [True, False, True]
    assert all(row.ok for row in trader.cancel_orders([{"instId": "BTC-USDT", "ordId": rows[i].ordId} for i in (0, 2)]))


def test_a_link_cut_in_flight_is_resolved_to_what_happened(trader, exchange):
    """Acceptance 79: it had arrived, and was carried out after the link was gone."""
    assert trader.place_order(**trader.order).ok
    exchange.orders.delay_s = 0.3
    future = trader.place_order_nowait(**trader.order, clOrdId="lost")
    eventually(lambda: any(request["args"][0].get("clOrdId") == "lost" for request in exchange.desks[-1].requests))
    exchange.drop("private")
    error = future.exception(5)
    assert isinstance(error, OutcomeUnknown) and error.clOrdId == "lost"
    found = error.resolve()
    assert (found.state, found.certain) == ("done", True) and found.order["clOrdId"] == "lost"
    assert [row["clOrdId"] for row in exchange.truth().open].count("lost") == 1


def test_a_time_out_is_resolved_and_its_reply_told_as_late(trader, exchange):
    """Acceptance 78."""
    watch = Watch(trader)
    assert trader.place_order(**trader.order).ok
    exchange.orders.delay_s = 0.5
    with pytest.raises(OutcomeUnknown) as caught:
        trader.place_order(**trader.order, clOrdId="slow", timeout=0.2)
    assert watch.wait("late_reply").data["data"][0]["clOrdId"] == "slow"
    assert caught.value.resolve().state == "done"


def test_an_order_past_its_expTime_is_refused(trader, exchange):
    """Acceptance 85: 50036; and one that expires on its way, too."""
    with pytest.raises(OrderRejected, match="50036"):
        trader.place_order(**trader.order, expTime=int(time.time() * 1000) - 5000)
    exchange.orders.delay_s = 0.5
    with pytest.raises(OrderRejected, match="5003[67]"):
        trader.place_order(**trader.order, expTime=int(time.time() * 1000) + 200)
    assert exchange.truth().open == []


def test_spreads_trade_on_business(trader):
    """Their own endpoint, with a login of its own."""
    order = {"sprdId": "BTC-USDT_BTC-USDT-SWAP", "side": "buy", "ordType": "limit", "sz": "1", "px": "0.1"}
    placed = trader.place_spread_order(**order)
    assert placed.ok and placed.clOrdId
    assert trader.cancel_spread_order(ordId=placed.ordId).ok


def test_the_dead_mans_switch_cancels_when_nobody_renews_it(connect):
    """The manager is gone, and so are its orders, ten of the exchange's seconds later."""
    with LocalExchange(speed=10) as exchange:
        ws = connect(exchange, **exchange.credentials)
        px = str(int(float(ws.rest.ticker("BTC-USDT")[0]["bidPx"]) * 0.8))
        ws.cancel_all_after(10)
        ws.place_order(instId="BTC-USDT", tdMode="cash", side="buy", ordType="post_only", sz="0.01", px=px)
        ws.close()
        assert len(exchange.truth().open) == 1
        eventually(lambda: exchange.truth().open == [], timeout=15)


def test_a_key_is_rotated_while_trading(trader, exchange):
    """okx-protocol 2.2: the exchange closes with 4007; the new key trades on, and its streams flow again."""
    watch = Watch(trader)
    life = Life(trader)
    assert trader.place_order(**trader.order).ok
    exchange.replace_key(exchange.accounts[0], NEW)
    assert watch.wait("login_failed").code == "4007"
    with pytest.raises(LoginError, match="4007"):
        trader.place_order(**trader.order)
    trader.login_again(**NEW)
    assert trader.place_order(**trader.order, clOrdId="rotated").ok and trader.rest.balance()
    assert life.wait("rotated", "live") == ["live"]
    with pytest.raises((LoginError, AckTimeout)):
        trader.login_again(**{**NEW, "passphrase": "wrong"})


def test_two_managers_with_one_key_keep_its_limit_together(connect):
    """OKX counts by user and instrument, 60 in 2 s: a strict exchange refuses none, though either sends 40 at once."""
    with LocalExchange(strict=True) as exchange:
        made = [connect(exchange, **exchange.credentials) for _ in range(2)]
        px = str(int(float(made[0].rest.ticker("BTC-USDT")[0]["bidPx"]) * 0.9))
        order = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "px": px, "sz": "0.0001"}
        for ws in made:
            assert ws.place_order(**order).ok  # the link and the code are had
        futures = [ws.place_order_nowait(**order, timeout=10) for ws in made for _ in range(40)]
        assert all(future.result(10).ok for future in futures)
        assert len(exchange.truth().open) == 82


def test_orders_go_where_they_belong_whatever_else_is_open(trader, exchange):
    """Acceptance 82: none goes over a public or business link, though both are up; those of spreads go to /business."""
    for channel, arg in (("tickers", {"instId": "BTC-USDT"}), ("candle1m", {"instId": "BTC-USDT"})):
        trader.subscribe(channel, **arg).wait(5)
    placed = trader.place_order(**trader.order)
    trader.request("amend-order", [{"instId": "BTC-USDT", "ordId": placed.ordId, "newSz": "0.02"}])
    trader.cancel_orders([{"instId": "BTC-USDT", "ordId": placed.ordId}])
    trader.mass_cancel_spread_orders()
    ops = {(desk.endpoint, request["op"]) for desk in exchange.desks for request in desk.requests}
    trades = {pair for pair in ops if pair[1] not in ("login", "subscribe", "unsubscribe")}
    assert trades == {
        ("private", "order"),
        ("private", "amend-order"),
        ("private", "batch-cancel-orders"),
        ("business", "sprd-mass-cancel"),
    }
    for desk in exchange.desks:
        sent = [request["op"] for request in desk.requests]
        first = next((number for number, op in enumerate(sent) if (desk.endpoint, op) in trades), None)
        assert first is None or "login" in sent[:first]


def test_a_new_key_costs_no_order_and_no_fill(connect, monkeypatch):
    """Twice in a row: what happens on the account meanwhile is told all the same, each once."""
    monkeypatch.setattr(pairs, "LAG_S", 0.05)  # on loopback no connection lags behind another for seconds
    monkeypatch.setattr(pairs, "ALONE_S", 0.05)
    with LocalExchange() as exchange:
        ws = connect(exchange, **exchange.credentials)
        got = {"orders": [], "fills": []}
        for channel, arg in (("orders", {"instType": "ANY"}), ("fills", {})):
            ws.subscribe(channel, handler=lambda m: got[m["arg"]["channel"]].extend(m["data"]), **arg).wait(5)
        order = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "market", "sz": "100"}
        account, over = exchange.accounts[0], threading.Event()

        def trade_elsewhere():
            while not over.wait(0.005):
                exchange.call(lambda: exchange.orders.carry_out(account, "place", [order], None))

        other = threading.Thread(target=trade_elsewhere)
        other.start()
        try:
            for number in range(2):
                eventually(lambda least=8 * number: len(exchange.truth().orders) > least)
                exchange.hub.accounts[f"rotated-{number}"] = account  # another key of the same account
                ws.login_again(**{**exchange.credentials, "apiKey": f"rotated-{number}"}, timeout=20)
        finally:
            over.set()
            other.join()
        truth = exchange.truth()
        traded = sum(Decimal(row["fillSz"]) for row in truth.fills)
        eventually(lambda: sum(Decimal(row["fillSz"]) for row in list(got["fills"])) >= traded)
        eventually(
            lambda: {row["ordId"] for row in list(got["orders"]) if row["state"] == "filled"} == set(truth.orders)
        )
        assert sum(Decimal(row["fillSz"]) for row in got["fills"]) == traded
        ended = Counter(row["ordId"] for row in got["orders"] if row["state"] == "filled")
        assert set(ended.values()) == {1} and len(ended) > 8
