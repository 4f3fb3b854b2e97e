"""Order books of the local exchange: chained, whole, and numbered as OKX numbers them."""

import pytest

from okx_ws.exchange import LocalExchange
from okx_ws.exchange.book_feeds import BookFeed, WholeBookFeed
from okx_ws.exchange.instruments import make_instruments
from okx_ws.exchange.markets import World
from tests.exchange.client import talk

NOW_MS = 1_784_000_000_000


@pytest.fixture(scope="module")
def fast():
    """An exchange whose world runs fifty times faster."""
    with LocalExchange(speed=50) as running:
        yield running


@pytest.mark.parametrize("channel", ["books", "books-l2-tbt", "books50-l2-tbt"])
def test_a_book_chains_and_equals_its_snapshot_plus_updates(channel, fast):
    """okx-protocol 6: prevSeqId chains, checksum is 0, the merged book never crosses, and a late snapshot agrees."""
    depth = 50 if channel == "books50-l2-tbt" else 400
    arg = {"channel": channel, "instId": "BTC-USDT"}
    with talk(fast) as client:
        client.login(fast.accounts[0])
        client.subscribe(arg)
        book, last, history, number, wanted = {"asks": {}, "bids": {}}, -1, {}, 0, None
        while number < 60 or wanted["seqId"] not in history:
            (push,) = client.pushes(1)
            (row,) = push["data"]
            assert push["action"] == ("update" if number else "snapshot")
            assert row["prevSeqId"] == last and row["checksum"] == 0 and type(row["seqId"]) is int
            last = row["seqId"]
            for side, levels in book.items():
                for px, sz, zero, orders in row[side]:
                    assert zero == "0"
                    levels.pop(px, None) if sz == "0" else levels.update({px: (sz, orders)})
            assert len(book["asks"]) == len(book["bids"]) == depth
            assert max(map(float, book["bids"])) < min(map(float, book["asks"]))
            history[last] = {side: dict(levels) for side, levels in book.items()}
            number += 1
            if number == 30:
                with talk(fast) as late:
                    late.login(fast.accounts[0])
                    late.subscribe(arg)
                    wanted = late.pushes(1)[0]["data"][0]
        for side in ("asks", "bids"):
            assert {px: (sz, orders) for px, sz, _, orders in wanted[side]} == history[wanted["seqId"]][side]


@pytest.mark.parametrize("channel", ["bbo-tbt", "books5"])
def test_small_books_are_whole_each_time(channel, fast):
    """No action, no prevSeqId, no checksum."""
    with talk(fast) as client:
        client.subscribe({"channel": channel, "instId": "BTC-USDT"})
        for push in client.pushes(5):
            assert list(push) == ["arg", "data"]
            assert set(push["data"][0]) - {"instId"} == {"asks", "bids", "ts", "seqId"}


def test_the_books_of_an_instrument_are_pushed_in_okxs_order():
    """okx-protocol 6.1: the smallest and fastest first, however they were subscribed."""
    channels = ["books5", "books", "books50-l2-tbt", "bbo-tbt"]
    with LocalExchange() as exchange, talk(exchange) as client:
        client.login(exchange.accounts[0])
        client.subscribe(*({"channel": channel, "instId": "BTC-USDT"} for channel in channels))
        feeds = exchange.call(lambda: [arg["channel"] for arg, _, _ in exchange.hub._feeds.values()])
        while not feeds:
            feeds = exchange.call(lambda: [arg["channel"] for arg, _, _ in exchange.hub._feeds.values()])
        assert feeds == ["bbo-tbt", "books50-l2-tbt", "books", "books5"]


def test_a_book_that_changed_has_a_new_number():
    """Of every instrument, thin ones too, over steps of any length: the same seqId, the same book."""
    world = World(make_instruments(NOW_MS, False), NOW_MS, 5)
    seen = {}
    for number in range(1500):
        for instId, market in world.markets.items():
            book = (dict(market.asks.levels), dict(market.bids.levels))
            before = seen.get(instId)
            assert before is None or book == before[1] or market.seqId > before[0], instId
            seen[instId] = (market.seqId, book)
        world.step((1, 10, 100)[number % 3])


def test_a_book_that_does_not_change_is_repeated():
    """After a minute: the whole ones as they are, the chained ones as an empty update of the same number."""
    world = World(make_instruments(NOW_MS, False), NOW_MS, 1)
    market = world.markets["BTC-USDT"]
    whole, chained = WholeBookFeed(world, market, 5, 100, True), BookFeed(world, market, 400, 100)
    (first,) = whole.first()
    pushes = []
    for _ in range(1300):
        world.now_ms += 100
        pushes += [(feed, push) for feed in (whole, chained) for push in feed.due({})]
    assert [feed for feed, _ in pushes] == [whole, chained] * 2
    assert {**pushes[0][1]["data"][0], "ts": ""} == {**first["data"][0], "ts": ""}
    row = pushes[1][1]["data"][0]
    assert row["asks"] == row["bids"] == [] and row["seqId"] == row["prevSeqId"] == market.seqId


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ("books", "books-l2-tbt", True),
        ("books-l2-tbt", "books", True),
        ("books50-l2-tbt", "books-l2-tbt", True),
        ("books-l2-tbt", "books50-l2-tbt", True),
        ("books-l2-tbt", "books5", False),
        ("books", "books50-l2-tbt", False),
    ],
)
def test_the_full_book_excludes_the_lesser_ones(first, second, refused, exchange):
    """64004, of the same instId only, until it is left."""

    def event(request):
        client.send(request)
        return next(message for message in iter(client.get, None) if "event" in message)

    with talk(exchange) as client:
        client.login(exchange.accounts[0])
        one, two = ({"channel": channel, "instId": "BTC-USDT"} for channel in (first, second))
        assert event({"op": "subscribe", "args": [one]})["event"] == "subscribe"
        assert event({"op": "subscribe", "args": [one]})["event"] == "subscribe"
        assert event({"op": "subscribe", "args": [{**two, "instId": "ETH-USDT"}]})["event"] == "subscribe"
        answer = event({"op": "subscribe", "args": [two]})
        assert answer.get("code") == ("64004" if refused else None)
        if refused:
            assert "for BTC-USDT is not allowed" in answer["msg"]
            assert event({"op": "unsubscribe", "args": [one]})["event"] == "unsubscribe"
            assert event({"op": "subscribe", "args": [two]})["event"] == "subscribe"


@pytest.mark.parametrize("channel", ["books-l2-tbt", "books50-l2-tbt"])
def test_a_vip_book_carries_no_uid(channel, exchange):
    """It wants a login, but tells nothing of the account."""
    with talk(exchange) as client:
        client.login(exchange.accounts[0])
        client.subscribe({"channel": channel, "instId": "BTC-USDT"})
        assert client.pushes(1)[0]["arg"] == {"channel": channel, "instId": "BTC-USDT"}


def test_the_rpi_book_has_rows_of_its_own(fast):
    """Chained like ``books``, without a checksum; the third field is the size without RPI orders."""
    with talk(fast) as client:
        client.subscribe({"channel": "books-rpi", "instId": "BTC-USDT-SWAP"})
        rows = [push["data"][0] for push in client.pushes(5)]
        assert [b["prevSeqId"] for b in rows] == [-1, *(a["seqId"] for a in rows[:-1])]
        assert not any("checksum" in row for row in rows)
        levels = [level for row in rows for level in row["asks"] + row["bids"]]
        assert all(float(plain) <= float(total) for _, total, plain, _ in levels)
        assert {plain == total for _, total, plain, _ in levels} == {True, False}
