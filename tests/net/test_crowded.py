"""OKX allows 30 connections a private channel: what becomes of a stream that a second link may not have as well."""

import contextlib

import pytest

from okx_ws.exchange import LocalExchange
from okx_ws.net import pairs
from tests.exchange.client import talk
from tests.net.lines import conn_id, links
from tests.watch import Watch, eventually

ORDERS = {"channel": "orders", "instType": "ANY"}
CROWDED = "channel-conn-count-error"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """On loopback no connection lags behind another for seconds."""
    monkeypatch.setattr(pairs, "ALONE_S", 0.05)
    monkeypatch.setattr(pairs, "LAG_S", 0.05)


@pytest.fixture
def crowd():
    """An exchange with 29 connections that have the channel `orders`."""
    with LocalExchange(seed=7) as exchange, contextlib.ExitStack() as others:
        for _ in range(29):
            client = others.enter_context(talk(exchange, "private"))
            client.login(exchange.accounts[0])
            client.subscribe(ORDERS)
            assert client.get()["event"] == "subscribe"
        yield exchange


def traded(ws, orders):
    """Place an order, and see that the stream tells of it."""
    placed = ws.place_order(
        instId="BTC-USDT", tdMode="cash", side="buy", ordType="limit", px="20000", sz="0.01", timeout=5
    )
    while True:
        message = orders.get(timeout=5)
        if message.get("event") != "gap" and message["data"][0]["ordId"] == placed.ordId:
            return True


def test_a_link_stays_whose_successor_may_not_have_a_channel(crowd, connect):
    """Acceptance 39 and 42: OKX counts both while they live; if in doubt, the old one serves on."""
    ws = connect(crowd, **crowd.credentials)
    orders = ws.subscribe([ORDERS], queue=True)[0].wait(5)
    watch, before = Watch(ws), conn_id(ws, "private")
    assert ws.rotate("private") == 1
    assert watch.wait("notice", code=CROWDED).arg == ORDERS
    eventually(lambda: len(links(ws, "private")) == 1 and all(one.pair is None for one in ws._lines["private"].lines))
    assert conn_id(ws, "private") == before and orders.state == "active"
    assert traded(ws, orders)
    assert watch.of("subscribe_failed") == watch.of("gap") == watch.of("disconnected") == []


def test_after_a_notice_it_serves_to_its_end_and_its_hole_is_filled(crowd, connect):
    """Acceptance 42: the next link has the channel, since the old one is gone by then."""
    ws = connect(crowd, **crowd.credentials)
    orders = ws.subscribe([ORDERS], queue=True)[0].wait(5)
    watch, before = Watch(ws), conn_id(ws, "private")
    crowd.notice(close_after_s=1.0, endpoint="private")
    watch.wait("notice", code=CROWDED)
    assert traded(ws, orders) and conn_id(ws, "private") == before
    watch.wait("disconnected")
    eventually(lambda: orders.state == "active" and conn_id(ws, "private") not in (before, None), timeout=10)
    assert traded(ws, orders)
    assert watch.of("subscribe_failed") == []


def test_of_two_links_one_may_be_without_it(crowd, connect):
    """Acceptance 39: its readers go on, and are told; only a stream that neither link may have has failed."""
    ws = connect(crowd, **crowd.credentials, redundancy=2)
    watch = Watch(ws)
    orders = ws.subscribe([ORDERS], queue=True)[0].wait(5)
    watch.wait("notice", code=CROWDED)
    assert orders.state == "active" and traded(ws, orders)
    assert ws.stats()["endpoints"]["private"]["subscriptions"][0]["state"] == "active"
    assert watch.of("subscribe_failed") == []


def test_a_loss_says_which_connection_it_was(crowd, connect):
    """By OKX's name of it."""
    ws = connect(crowd, **crowd.credentials)
    watch = Watch(ws)
    ws.subscribe([ORDERS])[0].wait(5)
    name = conn_id(ws, "private")
    crowd.drop()
    assert watch.wait("disconnected").conn_id == name
