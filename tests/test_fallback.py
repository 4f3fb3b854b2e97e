"""Polling over REST while there is no link: as users see it, on the local exchange."""

import json
import threading
import time
from collections import defaultdict
from urllib.parse import parse_qsl, urlsplit

import pytest

from okx_ws import Backoff, BookOutOfSync, fallback
from okx_ws.exchange import LocalExchange
from okx_ws.protocol.backfill import Unusable
from okx_ws.protocol.polling import BULK_FROM, Polled, plan
from tests.watch import Watch, eventually
from tests.web import http

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


def test_states_are_polled_while_there_is_no_link_and_no_longer(connect, monkeypatch):
    """Acceptance 88: tickers, books and mark prices, marked; each newer than the one before; live ones end it."""
    monkeypatch.setattr(fallback, "POLL_S", 0.2)
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


def test_a_full_queue_is_not_filled_further(connect):
    """Acceptance 88: who asked for a bound of memory (policy "block") has it while states are polled, too."""
    with LocalExchange() as exchange:
        ws = connect(exchange, fallback_after=0.1, overflow="block", queue_size=2, block_timeout=0.3)
        watch = Watch(ws)
        ws.subscribe("tickers", instId="BTC-USDT")
        watch.wait("disconnected")
        held = ws.msgQueue.qsize()
        eventually(lambda: sum(target.startswith("GET /api/v5/market/ticker") for target in exchange.rest.requests) > 2)
        assert ws.msgQueue.qsize() == held


class Outage:
    """A link that is cut once each of its subscriptions has had a message; and a scripted REST, with what was asked."""

    def __init__(self, peer, connect, answer, **settings):
        self.cut = threading.Event()
        self.asked = []
        self.lock = threading.Lock()
        self._answer = answer
        server, rest = peer(self._serve), peer(self._answers)
        self.ws = connect(
            urls={**server.urls, "rest": f"http://127.0.0.1:{rest.port}"}, **{"fallback_after": 0.1, **settings}
        )

    def _serve(self, talk):
        if self.cut.is_set():
            return  # no link any more
        request = talk.subscribed()
        for arg in request["args"]:
            talk.json({"arg": arg, "data": [{"instId": arg["instId"], "last": "1", "ts": "1700000000000"}]})
        assert self.cut.wait(10)
        talk.reset()

    def _answers(self, talk):
        while True:
            parts = urlsplit(talk.read_head().split(b" ", 2)[1].decode())
            query = dict(parse_qsl(parts.query))
            with self.lock:
                self.asked.append((time.monotonic(), parts.path, query))
                number = len(self.asked)
            talk.send(self._answer(parts.path, query, number))


def rows_answer(rows):
    return http(json.dumps({"code": "0", "msg": "", "data": rows}))


def test_a_hundred_and_twenty_tickers_are_a_second_old_and_starve_nobody(peer, connect):
    """Acceptance 88: REST tells of a whole type at once, a book and a candle have their turn, half the limits stay."""
    names = [f"A{n}-USDT" for n in range(120)]

    def answer(path, query, number):
        ts = str(1700000000000 + number)
        if path.endswith("/tickers"):
            assert query == {"instType": "SPOT"}
            return rows_answer([{"instId": name, "last": "2", "ts": ts} for name in [*names, "OTHER-USDT"]])
        if path.endswith("/books"):
            return rows_answer([{"asks": [], "bids": [], "ts": ts, "seqId": number}])
        return rows_answer([{"instId": query["instId"], "markPx": "1", "ts": ts}])

    outage = Outage(peer, connect, answer)
    got = defaultdict(list)
    there = threading.Semaphore(0)

    def take(message):
        got[message["arg"]["channel"], message["arg"]["instId"]].append(message)
        there.release()

    args = [{"channel": channel, "instId": name} for channel in ("tickers", "books5") for name in names]
    args.append({"channel": "mark-price", "instId": "BTC-USDT-SWAP"})
    for subscription in outage.ws.subscribe(args, handler=take):
        subscription.wait(5)
    for _ in args:
        assert there.acquire(timeout=5)
    outage.cut.set()
    eventually(lambda: len(got["mark-price", "BTC-USDT-SWAP"]) >= 5, 20)
    eventually(lambda: all(len(got["tickers", name]) >= 4 for name in names), 20)
    eventually(lambda: sum(path.endswith("/books") for _, path, _ in outage.asked) > 25, 20)
    outage.ws.close()
    for messages in got.values():
        times = [int(message["data"][0]["ts"]) for message in messages]
        assert times == sorted(set(times)) and all(message.get("fallback") for message in messages[1:])
    assert all(instId != "OTHER-USDT" for _, instId in got)
    bulk = [at for at, path, _ in outage.asked if path.endswith("/tickers")]
    assert max(later - at for at, later in zip(bulk, bulk[1:], strict=False)) < 2.5, "among 120 books that are due"
    books = [at for at, path, _ in outage.asked if path.endswith("/books")]
    assert all(later - at > 2.0 for at, later in zip(books, books[20:], strict=False)), "20 of 40, of all links"
    assert len([path for _, path, _ in outage.asked if path.endswith("/ticker")]) == 0


# ------------------------------------------------------------------------------------------- what is asked


def ask_of(channel, instId="BTC-USDT", **more):
    """Return the question for one subscription alone."""
    (question,) = plan([Polled({"channel": channel, "instId": instId, **more})])
    return question.ask


def read(arg, rows):
    """Return what an answer about one subscription says."""
    (question,) = plan([Polled(arg)])
    (state,) = question.read(rows).values()
    return state


@pytest.mark.parametrize(
    ("arg", "rows"),
    [
        (ARGS[0], [{"instId": "ETH-USDT", "ts": "1"}]),
        (ARGS[0], [["1", "2", "3", "4", "5", "0"]]),
        (ARGS[0], [{"instId": "BTC-USDT"}]),
        (ARGS[1], [{"asks": [], "ts": "1"}]),
        ({"channel": "candle1m", "instId": "BTC-USDT"}, [["1", "2"]]),
        ({"channel": "candle1m", "instId": "BTC-USDT"}, [["1", "2", "3", "4", "5", "x", "7", "8", "0"]]),
        ({"channel": "candle1m", "instId": "BTC-USDT"}, [["1", "2", "3", "4", "5", "NaN", "7", "8", "0"]]),
        ({"channel": "candle1m", "instId": "BTC-USDT"}, [["1", "2", "3", "4", "Infinity", "6", "7", "8", "0"]]),
        ({"channel": "candle1m", "instId": "BTC-USDT"}, [{"ts": "1"}]),
    ],
)
def test_an_answer_that_cannot_be_right_is_not_delivered(arg, rows):
    """A wrong number is never served."""
    assert isinstance(read(arg, rows), Unusable)


@pytest.mark.parametrize("rows", [[], [{"instId": "BTC-USDT", "ts": "1"}] * 2])
def test_one_question_has_one_row_for_an_answer(rows):
    """Which of several would be the one?"""
    with pytest.raises(Unusable, match="rows instead of one"):
        read(ARGS[0], rows)


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
    assert ask_of("mark-price", instId).params == {"instId": instId, "instType": instType}


@pytest.mark.parametrize("channel", ["trades", "orders", "funding-rate", "bbo-tbt", "status"])
def test_what_is_no_state_is_not_polled(channel):
    """Trades of an outage come when it is over."""
    assert plan([Polled({"channel": channel, "instId": "BTC-USDT"})]) == []


def many(channel, instIds):
    return [Polled({"channel": channel, "instId": instId}) for instId in instIds]


def test_many_of_a_type_are_asked_for_together():
    """One question for each type; of options, for each family; a few are asked for one by one, books always."""
    spot = [f"A{n}-USDT" for n in range(100)]
    options = [f"{coin}-USD-261225-{n}000-C" for coin in ("BTC", "ETH") for n in range(BULK_FROM)]
    few = [f"A{n}-USDT-SWAP" for n in range(BULK_FROM - 1)]
    polled = many("tickers", spot + options + few) + many("mark-price", options) + many("books5", spot[:7])
    asked = [(question.ask.path.rpartition("/")[2], question.ask.params) for question in plan(polled)]
    assert sorted(asked, key=str) == sorted(
        [
            ("tickers", {"instType": "SPOT"}),
            ("tickers", {"instType": "OPTION", "instFamily": "BTC-USD"}),
            ("tickers", {"instType": "OPTION", "instFamily": "ETH-USD"}),
            ("mark-price", {"instType": "OPTION", "instFamily": "BTC-USD"}),
            ("mark-price", {"instType": "OPTION", "instFamily": "ETH-USD"}),
            *(("ticker", {"instId": instId}) for instId in few),
            *(("books", {"instId": instId, "sz": "5"}) for instId in spot[:7]),
        ],
        key=str,
    )


def test_who_is_not_in_the_answer_about_all_is_asked_for_alone():
    """A type is guessed by a name."""
    polled = many("tickers", [f"A{n}-USDT" for n in range(BULK_FROM + 1)])
    (question,) = plan(polled)
    rows = [{"instId": f"A{n}-USDT", "ts": "5", "last": "1"} for n in range(1, 50)]
    rows[0]["ts"] = "now"
    rows.append(rows[1])
    found = list(question.read(rows).values())
    assert [isinstance(state, Unusable) for state in found] == [True, True, True, False, False, False]
    assert [question.ask.path.rpartition("/")[2] for question in plan(polled)] == ["tickers", "ticker"]
    for lie in ([], [["1"]], [1]):
        with pytest.raises(Unusable):
            question.read(lie)


def bar(start, volume, confirm="0"):
    return [str(start), "1", "2", "1", "2", volume, "1", "1", confirm]


def test_an_open_bar_only_grows():
    """Acceptance 88: a REST that lags tells what was before: no bar shrinks, none opens again, none older is told."""
    arg = {"channel": "candle1m", "instId": "BTC-USDT"}
    t = 1700000040000
    one = Polled(arg, json.dumps({"arg": arg, "data": [bar(t, "5")]}, separators=(",", ":")).encode())
    delivered = [one.news(one.read(bar(*told))) is not None for told in ((t, "4"), (t, "5"), (t, "6"), (t, "6"))]
    assert delivered == [False, True, True, False], "the first of equals is told once, for the mark"
    assert one.news(one.read(bar(t - 60_000, "9"))) is None and one.news(one.read(bar(t + 60_000, "1"))) is not None
    over = Polled(arg, json.dumps({"arg": arg, "data": [bar(t, "5", "1")]}, separators=(",", ":")).encode())
    assert over.news(over.read(bar(t, "6"))) is None and over.read(bar(t, "6", "1")) is None
