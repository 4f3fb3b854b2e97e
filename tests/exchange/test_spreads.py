"""Spreads and call auctions: market data that is not like the rest."""

import zlib

import pytest

from okx_ws.exchange import LocalExchange
from okx_ws.exchange.channels import make_feed
from okx_ws.exchange.instruments import make_instruments
from okx_ws.exchange.markets import World
from tests.exchange.client import talk

NOW_MS = 1_784_000_000_000
SPREAD = {"sprdId": "BTC-USDT_BTC-USDT-SWAP"}


@pytest.fixture
def world():
    return World(make_instruments(NOW_MS, False), NOW_MS, 1)


def feed_of(world, channel, **arg):
    return make_feed(world, {"channel": channel, **(arg or SPREAD)}, None)


def pushes(world, feed, steps, ms=10):
    return [push for _ in range(steps) for push in feed.due(world.step(ms))]


def test_a_spreads_book_has_rows_of_three_and_a_real_checksum(world):
    """okx-protocol 6.1, 15: chained like the others."""
    feed = feed_of(world, "sprd-books-l2-tbt")
    sides = {"bids": {}, "asks": {}}
    last = -1
    for push in [*feed.first(), *pushes(world, feed, 200)]:
        row = push["data"][0]
        assert row["prevSeqId"] == last
        last = row["seqId"]
        for side, levels in sides.items():
            for px, sz, _ in row[side]:
                levels.pop(px, None) if sz == "0" else levels.update({px: sz})
        best = [
            sorted(s.items(), key=lambda level: float(level[0]), reverse=n == "bids")[:25] for n, s in sides.items()
        ]
        text = ":".join(f"{px}:{sz}" for pair in zip(*best, strict=True) for px, sz in pair)
        crc = zlib.crc32(text.encode())
        assert row["checksum"] == (crc - 2**32 if crc >= 2**31 else crc)
    assert any(float(px) <= 0 for px in sides["bids"]), "prices of spreads can be negative"


@pytest.mark.parametrize(("channel", "depth"), [("sprd-bbo-tbt", 1), ("sprd-books5", 5)])
def test_a_spreads_best_levels_come_whole(channel, depth, world):
    """Without action and prevSeqId."""
    feed = feed_of(world, channel)
    (first,) = feed.first()
    assert list(first) == ["data"] and list(first["data"][0]) == ["asks", "bids", "ts", "seqId"]
    assert all(
        len(side) == depth and len(side[0]) == 3 for side in (first["data"][0]["asks"], first["data"][0]["bids"])
    )
    assert pushes(world, feed, 100)


def test_a_spread_trades(world):
    """Trades, ticker and candles agree."""
    trades, ticker, bars = (feed_of(world, f"sprd-{name}") for name in ("public-trades", "tickers", "candle1m"))
    found, quotes, candles = [], ticker.first(), bars.first()
    for _ in range(2000):
        happened = world.step(100)
        found += trades.due(happened)
        quotes += ticker.due(happened)
        candles += bars.due(happened)
    rows = [push["data"][0] for push in found]
    assert list(rows[0]) == ["sprdId", "tradeId", "px", "sz", "side", "ts"]
    ids = [int(row["tradeId"]) for row in rows]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    expected = "sprdId last lastSz askPx askSz bidPx bidSz open24h high24h low24h vol24h ts".split()
    assert list(quotes[-1]["data"][0]) == expected and quotes[-1]["data"][0]["last"] == rows[-1]["px"]
    closed = [push["data"][0] for push in candles if push["data"][0][-1] == "1"]
    assert len(closed) == 3 and {len(bar) for bar in closed} == {7}
    start, volume = int(closed[1][0]), float(closed[1][5])
    within = [row for row in rows if start <= int(row["ts"]) < start + 60_000]
    assert abs(sum(float(row["sz"]) for row in within) - volume) < 1e-6
    assert within[-1]["px"] == closed[1][4]


def test_a_spread_can_be_subscribed_to():
    """Over the wire."""
    with LocalExchange() as exchange, talk(exchange, "business") as client:
        client.subscribe({"channel": "sprd-books-l2-tbt", **SPREAD}, {"channel": "sprd-tickers", **SPREAD})
        seen = {push["arg"]["channel"] for push in client.pushes(6)}
        assert seen == {"sprd-books-l2-tbt", "sprd-tickers"}


def test_a_call_auction_gathers_orders_in_a_crossed_book(world):
    """okx-protocol 5.1, 6.1: about once a second; nothing is traded; then everything goes on."""
    market = world.markets["BTC-USDT"]
    books, details = feed_of(world, "books", instId="BTC-USDT"), feed_of(
        world, "call-auction-details", instId="BTC-USDT"
    )
    assert details.first() == []
    market.gather(world.now_ms + 10_000)
    world.step(100)
    books.due({}), details.due({})
    found, told, crossed = [], [], 0
    for _ in range(95):
        happened = world.step(100)
        assert "BTC-USDT" not in happened
        found += books.due(happened)
        told += details.due(happened)
        crossed += market.bids.best >= market.asks.best
    assert crossed > 50 and 8 <= len(found) <= 10 and 8 <= len(told) <= 11
    for _ in range(100):
        happened = world.step(100)
        found += books.due(happened)
        told += details.due(happened)
    assert len(found) > 60 and market.bids.best < market.asks.best
    states = [push["data"][0]["state"] for push in told]
    assert states[-1] == "continuous_trading" and states.count("continuous_trading") == 1
    assert float(told[5]["data"][0]["matchedSz"]) > 0
    assert all(b["data"][0]["prevSeqId"] == a["data"][0]["seqId"] for a, b in zip(found, found[1:], strict=False))


def test_an_exchange_can_be_told_to_hold_an_auction(exchange):
    """From Python."""
    with talk(exchange) as client:
        exchange.call_auction("BTC-USDT", 0.5)
        client.subscribe({"channel": "call-auction-details", "instId": "BTC-USDT"})
        assert client.pushes(1)[0]["data"][0]["state"] == "call_auction"
        while client.pushes(1)[0]["data"][0]["state"] != "continuous_trading":
            pass
    with pytest.raises(ValueError, match="no instrument"):
        exchange.call_auction("X")
