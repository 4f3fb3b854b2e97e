"""Polling over REST while there is no link: as users see it, on the local exchange."""

import time

import pytest

from okx_ws import Backoff, BookOutOfSync
from okx_ws.exchange import LocalExchange
from okx_ws.protocol.backfill import Unusable
from okx_ws.protocol.polling import poll_of
from tests.watch import Watch, eventually

ARGS = [
    {"channel": "tickers", "instId": "BTC-USDT"},
    {"channel": "books5", "instId": "BTC-USDT"},
    {"channel": "books", "instId": "ETH-USDT"},
    {"channel": "mark-price", "instId": "BTC-USDT-SWAP"},
]


def cut(exchange, endpoint="public"):
    """Cut the links of an endpoint, and let no other come up; return how to end that."""
    fault = exchange.faults.start("refuse", what="upgrade", endpoint=endpoint)
    exchange.drop(endpoint)
    return fault.stop


def test_states_are_polled_while_there_is_no_link_and_no_longer(connect):
    """Acceptance 88: tickers, books and mark prices, marked; each newer than the one before; live ones end it."""
    with LocalExchange() as exchange:
        ws = connect(exchange, fallback_after=0.2)
        watch = Watch(ws)
        subscriptions = ws.subscribe(ARGS, queue=True)
        last = [subscription.wait(5).get(timeout=5) for subscription in subscriptions]
        restore = cut(exchange)
        assert "are polled over REST" in watch.wait("notice", endpoint="public").msg
        for subscription, message in zip(subscriptions, last, strict=True):
            ts = int(message["data"][0]["ts"])
            polled = []
            while len(polled) < 2:
                message = subscription.get(timeout=8)
                ts, before = int(message["data"][0]["ts"]), ts
                assert ts >= before and message["arg"] == subscription.arg
                polled += [message] if message.get("fallback") else []
        assert message.keys() == {"arg", "data", "fallback"}
        asked = [target for target in exchange.rest.requests if "market" in target or "mark-price" in target]
        restore()
        for subscription in subscriptions:
            while subscription.get(timeout=10).get("fallback"):
                pass  # the last ones
        number = len(exchange.rest.requests)
        eventually(lambda: ws.stats()["endpoints"]["public"]["subscriptions"][0]["messages"] > 20, 10)
        assert not any(subscription.get(timeout=5).get("fallback") for subscription in subscriptions for _ in range(3))
        assert len(exchange.rest.requests) <= number + 1 and asked


def test_polled_books_are_snapshots_and_no_live_book_takes_them(connect):
    """A polled book is not proven current."""
    with LocalExchange() as exchange:
        ws = connect(exchange, fallback_after=0.1)
        book = ws.order_book("BTC-USDT").wait_ready()
        reader = ws.subscribe("books", instId="BTC-USDT", queue=True)
        restore = cut(exchange)
        while not (message := reader.get(timeout=8)).get("fallback"):
            pass
        assert message["action"] == "snapshot" and len(message["data"][0]["bids"]) == 400
        with pytest.raises(BookOutOfSync, match="there is no link"):
            book.view()
        restore()
        book.wait_ready(10)


def test_the_open_bar_is_polled_and_closed_ones_are_filled_in(connect):
    """Acceptance 87, 88: a bar that closes comes once, though it was polled while it was open."""
    with LocalExchange(speed=5) as exchange:
        ws = connect(exchange, fallback_after=0.1)
        bars = ws.subscribe("candle1s", instId="BTC-USDT", queue=True)
        got = [bars.get(timeout=5)]
        restore = cut(exchange, "business")
        while not got[-1].get("fallback"):
            got.append(bars.get(timeout=8))
        assert got[-1]["data"][0][-1] == "0"
        opened = int(got[-1]["data"][0][0])
        eventually(lambda: exchange.world.ts > opened + 8_000, 20)
        restore()
        closed = []
        while not closed or closed[-1] < opened + 8_000:
            message = bars.get(timeout=10)
            closed += [int(row[0]) for row in message["data"] if row[-1] == "1"]
        first = closed[0]
        assert closed == list(range(first, closed[-1] + 1, 1000)) and first <= opened


@pytest.mark.parametrize("never", [None, False])
def test_it_can_be_switched_off(never, connect):
    """None and False: nothing is polled."""
    with LocalExchange() as exchange:
        ws = connect(exchange, fallback_after=never, backfill=False, backoff=Backoff(first_s=0.05, cap_s=0.1))
        watch = Watch(ws)
        tickers = ws.subscribe("tickers", instId="BTC-USDT", queue=True)
        tickers.wait(5)
        cut(exchange)
        for _ in range(8):
            watch.wait("reconnecting")
        assert exchange.rest.requests == []


def test_a_rest_that_fails_slows_polling_down_and_ends_nothing(connect):
    """It is tried again, at growing distances, until it answers."""
    with LocalExchange() as exchange:
        exchange.faults.start("rest_error", path="*/ticker", how="lie", times=1)
        ws = connect(exchange, fallback_after=0.1)
        tickers = ws.subscribe("tickers", instId="BTC-USDT", queue=True)
        tickers.wait(5)
        cut(exchange)
        start = time.monotonic()
        while not (message := tickers.get(timeout=10)).get("fallback"):
            pass
        assert message["data"][0]["instId"] == "BTC-USDT" and time.monotonic() - start > 1.5


@pytest.mark.parametrize(
    ("arg", "rows"),
    [
        (ARGS[0], []),
        (ARGS[0], [{"instId": "ETH-USDT", "ts": "1"}]),
        (ARGS[0], [["1", "2", "3", "4", "5", "0"]]),
        (ARGS[0], [{"instId": "BTC-USDT"}]),
        (ARGS[1], [{"asks": [], "ts": "1"}]),
        ({"channel": "candle1m", "instId": "BTC-USDT"}, [["1", "2"]]),
        ({"channel": "candle1m", "instId": "BTC-USDT"}, [{"ts": "1"}]),
    ],
)
def test_an_answer_that_cannot_be_right_is_not_delivered(arg, rows):
    """A wrong number is never served."""
    with pytest.raises(Unusable):
        poll_of(arg).message(rows)


@pytest.mark.parametrize(
    ("instId", "instType"),
    [
        ("BTC-USDT", "MARGIN"),
        ("BTC-USDT-SWAP", "SWAP"),
        ("BTC-USD-261225", "FUTURES"),
        ("BTC-USD-261225-60000-C", "OPTION"),
    ],
)
def test_a_mark_price_is_asked_for_by_type(instId, instType):
    """REST wants it, the channel does not."""
    assert poll_of({"channel": "mark-price", "instId": instId}).ask.params == {"instId": instId, "instType": instType}


@pytest.mark.parametrize("channel", ["trades", "orders", "funding-rate", "bbo-tbt", "status"])
def test_what_is_no_state_is_not_polled(channel):
    """Trades of an outage come when it is over."""
    assert poll_of({"channel": channel, "instId": "BTC-USDT"}) is None
