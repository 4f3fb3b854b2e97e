"""The truth: what was generated, before any fault and while nobody was there."""

import pytest

from okx_ws.exchange import LocalExchange
from tests.exchange.client import get, talk
from tests.watch import eventually

TRADES = {"channel": "trades", "instId": "BTC-USDT"}
BOOKS = {"channel": "books", "instId": "BTC-USDT"}
BARS = {"channel": "candle1s", "instId": "BTC-USDT"}


@pytest.fixture
def recorded():
    """An exchange that records, ten times faster than the clock."""
    with LocalExchange(speed=10) as running:
        running.record()
        yield running


def test_what_a_client_gets_is_what_was_generated(recorded):
    """Pushes for pushes; candles and a book's chain too."""
    with talk(recorded) as client, talk(recorded, "business") as bars:
        client.subscribe(TRADES)
        bars.subscribe(BARS)
        got = [push["data"] for push in client.pushes(10)]
        rows = [push["data"][0] for push in bars.pushes(10)][1:]  # the first is only the subscriber's
    sent = [one.push["data"] for one in recorded.sent(TRADES)]
    assert sent[: len(got)] == got
    assert [one.push["data"][0] for one in recorded.sent(BARS)][: len(rows)] == rows
    assert recorded.sent({**TRADES, "instId": "ETH-USDT"}) == []


def test_it_goes_on_while_nobody_is_there(recorded):
    """One chain over all connections; faults leave no mark on it."""
    recorded.faults.start("gap", probability=0.5)
    for _ in range(2):
        with talk(recorded) as client:
            client.subscribe(BOOKS, TRADES)
            client.pushes(6)
        before = len(recorded.sent(BOOKS))
        eventually(lambda: len(recorded.sent(BOOKS)) > before + 5)  # noqa: B023
    rows = [one.push["data"][0] for one in recorded.sent(BOOKS)]
    assert [row["prevSeqId"] for row in rows[1:]] == [row["seqId"] for row in rows[:-1]]
    trades = [one.push["data"][0] for one in recorded.sent(TRADES)]
    ids = [int(row["tradeId"]) for row in trades]
    assert [id - int(row["count"]) for id, row in zip(ids, trades, strict=True)][1:] == ids[:-1]
    assert [one.at_ms for one in recorded.sent(TRADES)] == sorted(one.at_ms for one in recorded.sent(TRADES))


def test_rest_has_every_trade_and_every_closed_candle_that_was_generated(recorded):
    """What a client fills its holes from: paged by tradeId and by time."""
    with talk(recorded) as client, talk(recorded, "business") as bars:
        client.subscribe(TRADES)
        bars.subscribe(BARS)
        client.pushes(40, timeout=20)
        eventually(lambda: len(recorded.sent(BARS)) > 14)
    trades, candles = recorded.sent(TRADES), recorded.sent(BARS)
    found, page = {}, get(recorded, "/api/v5/market/history-trades?instId=BTC-USDT&limit=10")[1]["data"]
    while page:
        found.update({int(row["tradeId"]): row for row in page})
        after = page[-1]["tradeId"]
        page = get(recorded, f"/api/v5/market/history-trades?instId=BTC-USDT&limit=10&type=1&after={after}")[1]["data"]
    for row in (one.push["data"][0] for one in trades):
        last, count = int(row["tradeId"]), int(row["count"])
        singles = [found[id] for id in range(last - count + 1, last + 1)]
        assert {(s["px"], s["side"], s["ts"]) for s in singles} == {(row["px"], row["side"], row["ts"])}
        assert abs(sum(float(s["sz"]) for s in singles) - float(row["sz"])) < 1e-9
    closed = {one.push["data"][0][0]: one.push["data"][0] for one in candles if one.push["data"][0][8] == "1"}
    asked, after = {}, ""
    while page := get(recorded, f"/api/v5/market/history-candles?instId=BTC-USDT&bar=1s&limit=5{after}")[1]["data"]:
        asked.update({row[0]: row for row in page})
        after = f"&after={page[-1][0]}"
    assert len(closed) > 5 and all(asked[start] == row for start, row in closed.items())


def test_it_is_bounded_and_says_what_it_has_forgotten():
    """No truth with a hole; and it ends when told."""
    with LocalExchange(speed=10) as exchange:
        exchange.record(most=3)
        with talk(exchange) as client:
            client.subscribe(BOOKS)
            client.pushes(6)
        with pytest.raises(LookupError, match="pushes of .* are forgotten: 3 are kept"):
            exchange.sent(BOOKS)
        exchange.record(False)
        assert exchange.sent(BOOKS) == [] and exchange.hub._feeds == {}
        with pytest.raises(ValueError, match="at least 1"):
            exchange.record(most=0)


def test_an_accounts_feeds_end_with_their_connection(recorded):
    """Each connection has its own."""
    with talk(recorded, "private") as client:
        client.login(recorded.accounts[0])
        client.subscribe({"channel": "account"})
        client.pushes(1)
    eventually(lambda: recorded.hub._feeds == {})
