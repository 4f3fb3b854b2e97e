"""Channels of what happens seldom: each at least to shape, and to whom it may concern."""

import pytest

from okx_ws.exchange import LocalExchange
from okx_ws.exchange.channels import make_feed
from okx_ws.exchange.instruments import make_instruments
from okx_ws.exchange.markets import World
from okx_ws.exchange.rules import rule_of
from okx_ws.exchange.samples import SAMPLES
from tests.exchange.client import get, talk

NOW_MS = 1_784_000_000_000


@pytest.fixture
def world():
    return World(make_instruments(NOW_MS, False), NOW_MS, 1)


def pushes(world, feed, steps, ms=100):
    """Return what a feed pushes while the world goes on."""
    return [push for _ in range(steps) for push in feed.due(world.step(ms))]


@pytest.mark.parametrize("channel", sorted(SAMPLES))
def test_every_quiet_channel_can_be_made_to_push(channel, exchange):
    """okx-protocol 5.1 and 5.2: a row with OKX's fields, to whoever asked for it."""
    rule = rule_of(channel)
    row = SAMPLES[channel]
    arg = {"channel": channel}
    for key in rule.required:
        arg[key] = "ANY" if key == "instType" and "ANY" in rule.types else row.get(key) or rule.types[0]
    with talk(exchange, rule.endpoint) as client:
        client.login(exchange.accounts[0])
        client.subscribe(arg)
        assert next(m for m in iter(client.get, None) if "event" in m)["event"] == "subscribe"
        assert exchange.happen(channel) == 1
        push = next(m for m in iter(client.get, None) if "data" in m)
        assert set(push["data"][0]) == set(row)
        assert {key: push["arg"][key] for key in arg} == arg and ("uid" in push["arg"]) == rule.account
        for key in {"ts", "cTime", "uTime", "pTime"} & set(row):
            assert int(push["data"][0][key]) > NOW_MS


def test_an_event_goes_to_whom_it_may_concern(exchange):
    """What an arg names must be so; what is not said may be."""
    with talk(exchange, "business") as client:
        client.login(exchange.accounts[0])
        client.subscribe({"channel": "deposit-info", "ccy": "BTC"}, {"channel": "deposit-info"})
        client.get(), client.get()
        assert exchange.happen("deposit-info") == 1
        assert exchange.happen("deposit-info", ccy="BTC", amt="0.5") == 2
        assert [client.get()["data"][0]["amt"] for _ in range(3)] == ["100", "0.5", "0.5"]
        with pytest.raises(ValueError, match="no sample of 'tickers'"):
            exchange.happen("tickers")


def test_instruments_pushes_changes_only(exchange):
    """And REST lists them."""
    with talk(exchange) as client:
        client.subscribe({"channel": "instruments", "instType": "SWAP"}, {"channel": "instruments", "instType": "SPOT"})
        client.get(), client.get()
        exchange.change_terms("BTC-USDT-SWAP", state="suspend", tickSz="0.5")
        push = client.get()
        (row,) = push["data"]
        assert push["arg"]["instType"] == "SWAP" and "tradeQuoteCcyList" not in row
        assert (row["instId"], row["state"], row["tickSz"]) == ("BTC-USDT-SWAP", "suspend", "0.5")
        (listed,) = get(exchange, "/api/v5/public/instruments?instType=SWAP&instId=BTC-USDT-SWAP")[1]["data"]
        assert listed["state"] == "suspend"
        with pytest.raises(TimeoutError):
            client.get(timeout=0.3)
    with pytest.raises(ValueError, match="no instrument 'X'"):
        exchange.change_terms("X", state="live")
    with pytest.raises(ValueError, match="has no colour"):
        exchange.change_terms("BTC-USDT", colour="red")


def test_liquidations_are_some_of_the_trades(world):
    """The same for all who are subscribed, of the type they asked for."""
    arg = {"channel": "liquidation-orders", "instType": "SWAP"}
    feed, other = make_feed(world, arg, None), make_feed(world, arg, None)
    assert feed.first() == []
    found = []
    for _ in range(600):
        trades = world.step(100)
        found += (mine := feed.due(trades))
        assert mine == other.due(trades)
    rows = [row for push in found for row in push["data"]]
    assert 3 < len(rows) and {row["instType"] for row in rows} == {"SWAP"}
    assert list(rows[0]) == ["instType", "instId", "uly", "instFamily", "details"]
    assert list(rows[0]["details"][0]) == ["side", "posSide", "bkPx", "sz", "bkLoss", "ccy", "ts"]


def test_an_estimated_price_is_told_shortly_before_delivery(world):
    """Half an hour; silence before and after."""
    future = next(m.instrument for m in world.markets.values() if m.instrument.instType == "FUTURES")
    feed = make_feed(world, {"channel": "estimated-price", "instType": "FUTURES", "instId": future.instId}, None)
    assert feed.first() == [] == pushes(world, feed, 10)
    world.step(future.expTime - world.now_ms - 29 * 60_000)
    (push,) = feed.first()
    assert push["data"][0]["settleType"] == "delivery" and list(push["data"][0]) == [
        "instType",
        "instId",
        "settlePx",
        "settleType",
        "ts",
    ]
    assert 4 <= len(pushes(world, feed, 10)) <= 6
    world.step(30 * 60_000)
    feed.due({})
    assert pushes(world, feed, 10) == []


def test_block_tickers_come_every_five_minutes(world):
    """Without block trades."""
    feed = make_feed(world, {"channel": "block-tickers", "instId": "BTC-USDT"}, None)
    assert feed.first() == [] and len(found := pushes(world, feed, 61, 10_000)) == 2
    assert list(found[0]["data"][0]) == ["instType", "instId", "volCcy24h", "vol24h", "ts"]


def test_channels_of_events_are_quiet_while_nothing_happens():
    """No state at first."""
    with LocalExchange() as exchange, talk(exchange) as client:
        client.subscribe({"channel": "adl-warning", "instType": "SWAP"}, {"channel": "instruments", "instType": "SPOT"})
        client.get(), client.get()
        with pytest.raises(TimeoutError):
            client.get(timeout=0.3)
