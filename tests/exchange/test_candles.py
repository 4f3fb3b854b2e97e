"""Candles of the local exchange: where they are cut, what they open with, what they add up."""

import datetime

import pytest

from okx_ws.exchange import LocalExchange
from okx_ws.exchange.candles import CandleFeed, Candles, bar_bounds
from okx_ws.exchange.channels import make_feed
from okx_ws.exchange.instruments import make_instruments
from okx_ws.exchange.markets import Trade, World
from tests.exchange.client import talk

NOW_MS = 1_784_000_000_000


@pytest.fixture(scope="module")
def fast():
    """An exchange whose world runs fifty times faster."""
    with LocalExchange(speed=50) as running:
        yield running


def test_candles_close_and_follow_each_other(fast):
    """One-second candles: confirm 1 at the close, then the next one opens where the clock says."""
    with talk(fast, "business") as client:
        client.subscribe({"channel": "candle1s", "instId": "BTC-USDT"})
        closed = [p["data"][0] for p in client.pushes(60) if p["data"][0][-1] == "1"]
        assert len(closed) > 5 and all(len(row) == 9 for row in closed)
        assert all(int(b[0]) - int(a[0]) == 1000 for a, b in zip(closed, closed[1:], strict=False))
        for _, o, h, low, c, *_ in closed:
            assert float(low) <= min(float(o), float(c)) <= max(float(o), float(c)) <= float(h)


def ms(text):
    """Return a time such as "2026-11-24 10:30" in Unix ms, UTC."""
    return int(datetime.datetime.fromisoformat(text + "+00:00").timestamp() * 1000)


@pytest.mark.parametrize(
    ("bar", "start", "end"),
    [
        ("1s", "2026-11-24 17:31:07", "2026-11-24 17:31:08"),
        ("3m", "2026-11-24 17:30:00", "2026-11-24 17:33:00"),
        ("4H", "2026-11-24 16:00:00", "2026-11-24 20:00:00"),
        ("6H", "2026-11-24 16:00:00", "2026-11-24 22:00:00"),
        ("6Hutc", "2026-11-24 12:00:00", "2026-11-24 18:00:00"),
        ("12H", "2026-11-24 16:00:00", "2026-11-25 04:00:00"),
        ("12Hutc", "2026-11-24 12:00:00", "2026-11-25 00:00:00"),
        ("1D", "2026-11-24 16:00:00", "2026-11-25 16:00:00"),
        ("1Dutc", "2026-11-24 00:00:00", "2026-11-25 00:00:00"),
        ("1W", "2026-11-22 16:00:00", "2026-11-29 16:00:00"),
        ("1Wutc", "2026-11-23 00:00:00", "2026-11-30 00:00:00"),
        ("1M", "2026-10-31 16:00:00", "2026-11-30 16:00:00"),
        ("1Mutc", "2026-11-01 00:00:00", "2026-12-01 00:00:00"),
        ("3M", "2026-09-30 16:00:00", "2026-12-31 16:00:00"),
        ("3Mutc", "2026-10-01 00:00:00", "2027-01-01 00:00:00"),
        ("1Yutc", "2026-01-01 00:00:00", "2027-01-01 00:00:00"),
    ],
)
def test_bars_are_cut_where_okx_cuts_them(bar, start, end):
    """From six hours up on UTC+8 without ``utc``; weeks on Mondays; months of the calendar."""
    assert bar_bounds(bar, ms("2026-11-24 17:31:07")) == (ms(start), ms(end))
    assert bar_bounds(bar, ms(start)) == (ms(start), ms(end)) and bar_bounds(bar, ms(end))[0] == ms(end)


def trade(ticks, lots, ts=0):
    return Trade(1, ticks, lots, "buy", ts, 1, 1)


@pytest.fixture
def world():
    return World(make_instruments(NOW_MS, False), NOW_MS // 60_000 * 60_000, 1)


def test_a_bar_opens_with_its_first_trade_and_adds_up_each_one(world):
    """Until then it repeats the last close; the turnover is that of each trade at its own price."""
    market = world.markets["BTC-USDT"]
    candles = Candles("1m", world.ts, lambda: "64000", market)
    start = world.ts
    assert candles.row() == [str(start), *["64000"] * 4, "0", "0", "0", "0"]
    candles.watch(start + 1000, {"BTC-USDT": [trade(640_100, 100_000_000), trade(639_900, 200_000_000)]})
    assert candles.row() == [str(start), "64010", "64010", "63990", "63990", "3", "191990", "191990", "0"]
    candles.watch(start + 61_000, {})
    assert candles.closed[-1][-1] == "1" and candles.closed[-1][4] == "63990"
    assert candles.row() == [str(start + 60_000), *["63990"] * 4, "0", "0", "0", "0"]
    candles.watch(start + 62_000, {"BTC-USDT": [trade(641_000, 1)]})
    assert candles.row()[1:5] == ["64100"] * 4


@pytest.mark.parametrize(
    ("instId", "ticks", "lots", "volumes"),
    [
        ("BTC-USDT", 640_000, 50_000_000, ["0.5", "32000", "32000"]),
        ("BTC-USDT-SWAP", 640_000, 1_000, ["10", "0.1", "6400"]),
        ("BTC-USD-SWAP", 500_000, 10, ["10", "0.02", "1000"]),
    ],
)
def test_volumes_are_in_contracts_coins_and_quote(instId, ticks, lots, volumes, world):
    """Derivatives: contracts, base coin, quote currency; an inverse contract is worth a fixed sum of dollars."""
    candles = Candles("1m", world.ts, lambda: "1", world.markets[instId])
    candles.watch(world.ts + 1, {instId: [trade(ticks, lots)]})
    assert candles.row()[5:8] == volumes


def test_a_bar_belongs_to_the_world_and_not_to_its_subscribers(world):
    """It goes on while nobody is subscribed."""
    arg = {"channel": "candle1m", "instId": "BTC-USDT"}
    first = make_feed(world, arg, None)
    for _ in range(50):
        world.step(100)
    again = make_feed(world, arg, None)
    assert first.first() == again.first()
    row = again.first()[0]["data"][0]
    assert float(row[5]) > 0 and row[0] == str(world.ts // 60_000 * 60_000)


def test_resubscribing_goes_on_with_the_same_bar(fast):
    """Over the wire: the volume does not start again."""
    arg = {"channel": "candle1W", "instId": "BTC-USDT"}
    with talk(fast, "business") as client:
        client.subscribe(arg)
        before = client.pushes(5)[-1]["data"][0]
        client.send({"op": "unsubscribe", "args": [arg]})
        while client.get().get("event") != "unsubscribe":
            pass
        client.subscribe(arg)
        after = client.pushes(1)[0]["data"][0]
        assert after[:2] == before[:2] and float(after[5]) >= float(before[5]) > 0


def test_a_long_pause_makes_no_flood_of_bars(world):
    """A day of seconds: a hundred bars at the most, then the present one."""
    candles = Candles("1s", world.ts, lambda: "1", None)
    feed = CandleFeed(world, candles)
    world.now_ms += 86_400_000
    candles.watch(world.ts, {})
    rows = [push["data"][0] for push in feed.due({})]
    assert len(rows) <= Candles.KEPT + 1
    assert candles.row()[0] == str(world.ts // 1000 * 1000)
