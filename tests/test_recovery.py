"""Holes that are filled over REST, in place: as users see it, against a REST that helps, lags, and lies."""

import json
import queue
import random
import threading
import time
from collections import defaultdict
from urllib.parse import parse_qsl, urlsplit

import pytest

from okx_ws import QueueOverflow, SubscribeError
from okx_ws.exchange import LocalExchange
from tests.watch import Watch, eventually
from tests.web import http

TRADES = {"channel": "trades", "instId": "BTC-USDT"}


def trade(number, count=1):
    row = {"instId": "BTC-USDT", "tradeId": str(number), "px": "1", "sz": "2", "side": "buy"}
    return {**row, "ts": str(1700000000000 + number), "count": str(count)}


def push(*rows, arg=TRADES):
    return {"arg": arg, "data": list(rows)}


def ids(messages):
    return [int(row["tradeId"]) for message in messages for row in message["data"]]


class Rest:
    """A scripted REST of trades up to `newest`; what it does beside is `spoil`: called with path and query."""

    def __init__(self, peer):
        self.asked = []
        self.newest = 100
        self.spoil = lambda path, query: None
        self.url = f"http://127.0.0.1:{peer(self._serve).port}"

    def _serve(self, talk):
        while True:
            target = talk.read_head().split(b" ", 2)[1].decode()
            parts = urlsplit(target)
            query = dict(parse_qsl(parts.query))
            self.asked.append((parts.path, query))
            answer = self.spoil(parts.path, query)
            if answer == "silence":
                talk.pause(30)
            if answer is None:
                last = min(self.newest, int(query.get("after", 10**9)) - 1)
                rows = [trade(number) for number in range(last, max(0, last - int(query["limit"])), -1)]
                answer = http(json.dumps({"code": "0", "msg": "", "data": rows}))
            talk.send(answer)


class Lab:
    """A link that is cut on demand, with what its scripted server pushes before and after, and a REST."""

    def __init__(self, peer, connect, **settings):
        self.rest = Rest(peer)
        self.cut = threading.Event()
        self.go = threading.Event()
        self.after = queue.Queue()
        self.down = False
        self.server = peer(self._serve)
        self.ws = connect(urls={**self.server.urls, "rest": self.rest.url}, **{"markers": True, **settings})
        self.watch = Watch(self.ws)

    def _serve(self, talk):
        if self.down:
            return
        request = talk.subscribed()
        if talk.number == 1:
            for arg in request["args"]:
                talk.json(push(trade(10), arg=arg))
            assert self.cut.wait(10)
            talk.reset()
            return
        while True:
            message = self.after.get(timeout=20)
            if message is None:
                talk.until_gone()
            elif message == "reset":
                talk.reset()
                self.down = True
                return
            elif isinstance(message, str):
                talk.text(message)
            else:
                talk.json(message)

    def lose(self):
        self.cut.set()
        self.watch.wait("disconnected")

    def read(self, count, timeout=8):
        return [self.ws.get(timeout=timeout) for _ in range(count)]


@pytest.fixture
def lab(peer, connect):
    made = []

    def make(**settings):
        made.append(Lab(peer, connect, **settings))
        return made[-1]

    yield make
    for one in made:
        one.cut.set()
        one.after.put(None)


def test_a_hole_is_filled_before_the_first_live_message(lab):
    """Acceptance 86: marker, backfilled, live; one each, in order, marked; and told, at once and at the end."""
    one = lab()
    one.ws.subscribe("trades", instId="BTC-USDT")
    assert ids(one.read(1)) == [10]
    one.lose()
    gap = one.watch.wait("gap", arg=TRADES)
    assert gap.data == {"cause": "disconnect", "since_ms": 1700000000010}
    one.rest.newest = 15
    one.after.put(push(trade(15, 2)))
    one.after.put(push(trade(16)))
    marker, *messages = one.read(6)
    assert marker == {
        "event": "gap",
        "arg": TRADES,
        "cause": "disconnect",
        "since_ms": 1700000000010,
        "until_ms": 1700000000015,
        "lost": None,
        "repaired": True,
    }
    assert ids(messages) == [11, 12, 13, 15, 16], "14 and 15 came in one"
    assert messages[0] == {**push(trade(11)), "backfill": True}
    assert [message.get("backfill", False) for message in messages] == [True, True, True, False, False]
    assert one.watch.wait("repaired", arg=TRADES).data == marker
    (stats,) = one.ws.stats()["endpoints"]["public"]["subscriptions"]
    assert (stats["gaps"], stats["repairs"], stats["messages"]) == (1, 1, 3), "REST's are not counted as messages"
    one.after.put(push(trade(17)))
    assert ids(one.read(1)) == [17]


def test_without_markers_holes_are_filled_all_the_same(lab):
    """The marker is a wish of its own."""
    one = lab(markers=False)
    one.ws.subscribe("trades", instId="BTC-USDT")
    one.read(1)
    one.lose()
    one.after.put(push(trade(14)))
    assert ids(one.read(4)) == [11, 12, 13, 14]


def test_without_backfill_holes_stay_holes(lab):
    """Nothing is asked, and the marker says so."""
    one = lab(backfill=False)
    one.ws.subscribe("trades", instId="BTC-USDT")
    one.read(1)
    one.lose()
    one.after.put(push(trade(14)))
    marker, live = one.read(2)
    assert marker["repaired"] is False and ids([live]) == [14] and one.rest.asked == []
    one.watch.wait("gap")
    assert one.watch.wait("gap").data == marker, "told once more: it stays"


def test_a_quiet_market_is_filled_without_a_message(lab):
    """What REST told is not repeated when the stream tells it late."""
    one = lab()
    one.ws.subscribe("trades", instId="BTC-USDT")
    one.read(1)
    one.lose()
    one.rest.newest = 13
    marker, *messages = one.read(4)
    assert marker["repaired"] and ids(messages) == [11, 12, 13] and all(message["backfill"] for message in messages)
    one.after.put(push(trade(13)))
    one.after.put(push(trade(14)))
    assert ids(one.read(1)) == [14]


def test_what_rest_had_not_yet_told_is_another_hole(lab):
    """The first live message shows that some were traded since."""
    one = lab()
    one.ws.subscribe("trades", instId="BTC-USDT")
    one.read(1)
    one.lose()
    one.rest.newest = 13
    one.read(4)
    one.rest.newest = 100
    one.after.put(push(trade(16)))
    marker, *messages = one.read(4)
    assert marker["repaired"] and ids(messages) == [14, 15, 16]


BAD = {
    "mute": lambda path, query: "silence",
    "busy": lambda path, query: http('{"code":"50001","msg":"busy"}', "503 Busy"),
    "html": lambda path, query: http("<html>", "200 OK"),
    "limit": lambda path, query: http('{"code":"50011","msg":"Too Many Requests"}', "429 Too Many"),
    "no rows": lambda path, query: http('{"code":"0","msg":"","data":[]}'),
    "lies": lambda path, query: http('{"code":"0","msg":"","data":[{"instId":"ETH-USDT","tradeId":"12"}]}'),
    "nonsense": lambda path, query: http('{"code":"0","msg":"","data":[1,2,3]}'),
}


@pytest.mark.parametrize("how", BAD)
def test_a_rest_that_does_not_help_holds_the_stream_up_within_its_bound(how, lab):
    """Acceptance 86, 89: live messages go on after `backfill_timeout` at the latest; what is missing is named."""
    one = lab(backfill_timeout=0.4)
    one.ws.subscribe("trades", instId="BTC-USDT")
    one.read(1)
    one.rest.spoil = BAD[how]
    one.lose()
    one.after.put(push(trade(14)))
    one.watch.wait("subscribed")
    one.watch.wait("subscribed")
    start = time.monotonic()
    marker, live = one.read(2)
    assert time.monotonic() - start < 1.5
    assert marker["repaired"] is False and marker["missing"].startswith("tradeId from 11 to 13 (")
    assert ids([live]) == [14] and "backfill" not in live
    one.watch.wait("gap")
    assert one.watch.wait("gap").data == marker
    one.after.put(push(trade(15)))
    assert ids(one.read(1)) == [15]


def test_an_answer_that_cannot_be_right_is_asked_for_again(lab):
    """One lie is not the last word."""
    one = lab()
    one.ws.subscribe("trades", instId="BTC-USDT")
    one.read(1)
    answers = [BAD["lies"], BAD["html"]]
    one.rest.spoil = lambda path, query: answers.pop()(path, query) if answers else None
    one.lose()
    one.after.put(push(trade(13)))
    marker, *messages = one.read(4)
    assert marker["repaired"] and ids(messages) == [11, 12, 13] and answers == []


def test_a_stream_that_waits_holds_up_no_other(lab):
    """They get what comes, while REST is mute."""
    one = lab(backfill_timeout=2.0)
    args = [TRADES, *({"channel": channel, "instId": "BTC-USDT"} for channel in ("tickers", "open-interest"))]
    trades, *others = one.ws.subscribe(args, queue=True)  # in one request, which is all that the server reads
    assert ids([trades.get(timeout=8)]) == [10]
    one.rest.spoil = BAD["mute"]
    one.lose()
    one.after.put(push(trade(14)))
    for other in others:
        one.after.put(push({"ts": "1700000000099"}, arg=other.arg))
    start = time.monotonic()
    for other in others:
        assert other.get(timeout=8)["data"] and other.get(timeout=8)["event"] == "gap" and other.get(timeout=8)["data"]
    assert time.monotonic() - start < 1.5
    marker, live = trades.get(timeout=8), trades.get(timeout=8)
    assert marker["repaired"] is False and ids([live]) == [14] and time.monotonic() - start > 1.0


def test_a_link_that_falls_during_a_repair_lets_it_end_within_its_bound(lab):
    """In order, on the link's own thread, with no link there."""
    one = lab(backfill_timeout=0.5)
    got = queue.Queue()
    threads = set()

    def inline(message):
        threads.add(threading.current_thread().name)
        got.put(message)

    one.ws.subscribe("trades", instId="BTC-USDT", handler=inline, inline=True)
    assert ids([got.get(timeout=5)]) == [10]
    one.rest.spoil = BAD["mute"]
    one.lose()
    one.after.put(push(trade(14)))
    one.watch.wait("subscribed")
    one.watch.wait("subscribed")
    one.after.put("reset")
    one.watch.wait("disconnected")
    marker = got.get(timeout=3)
    assert marker["repaired"] is False and ids([got.get(timeout=1)]) == [14]
    assert threads == {"okx-ws:public"}


def test_too_many_messages_end_the_wait(lab, monkeypatch):
    """Room is bounded as time is."""
    monkeypatch.setattr("okx_ws.holds.MAX_HELD", 50)
    one = lab(backfill_timeout=30.0)
    one.ws.subscribe("trades", instId="BTC-USDT")
    one.read(1)
    one.rest.spoil = BAD["mute"]
    one.lose()
    for number in range(20, 80):
        one.after.put(push(trade(number)))
    marker, *messages = one.read(61, timeout=5)
    assert marker["repaired"] is False and ids(messages) == list(range(20, 80))


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "block", "error", "latest"])
def test_a_hold_that_releases_more_than_a_queue_takes_loses_nothing_silently(policy, lab):
    """In order, each once; what a full queue drops, the whole hole perhaps, has its marker or its error before it."""
    one = lab(backfill_timeout=0.3, overflow=policy, queue_size=50)
    trades = one.ws.subscribe("trades", instId="BTC-USDT", queue=True)
    assert ids([trades.get(timeout=5)]) == [10]
    one.rest.spoil = BAD["mute"]
    one.lose()
    held = threading.Event()
    inside = one.rest.spoil
    one.rest.spoil = lambda path, query: held.set() or inside(path, query)
    for number in range(20, 1520):
        one.after.put(push(trade(number)))
    assert held.wait(5)
    last, told, longest, got = 10, False, 0, 0
    while last < 1520:
        longest = max(longest, trades.own_queue.qsize())
        try:
            message = trades.get(timeout=0.6)
        except queue.Empty:  # of what was dropped last, the next message tells
            one.after.put(push(trade(1520)))
            continue
        except QueueOverflow:
            told = True
            continue
        if message.get("event"):
            told = told or not message["repaired"]
            continue
        (number,) = ids([message])
        assert number > last and (number == last + 1 or told), (last, number)
        last, told, got = number, False, got + 1
    assert longest <= {"block": 1600, "drop_newest": 50}.get(policy, 51)
    assert got == 1501 if policy == "block" else got > 1


def test_what_is_held_when_the_manager_closes_is_delivered(lab):
    """What had arrived can be read, and its marker says that the hole stays."""
    one = lab(backfill_timeout=20.0)
    one.ws.subscribe("trades", instId="BTC-USDT")
    one.read(1)
    held = threading.Event()
    one.rest.spoil = lambda path, query: held.set() or "silence"
    one.lose()
    one.after.put(push(trade(14)))
    assert held.wait(5)
    one.ws.close()
    marker, live = list(one.ws)
    assert marker["repaired"] is False and "the link has ended" in marker["missing"] and ids([live]) == [14]


def test_unsubscribing_during_a_repair_ends_it(lab):
    """Nothing new reaches the handler."""
    one = lab(backfill_timeout=2.0)
    got = queue.Queue()
    subscription = one.ws.subscribe("trades", instId="BTC-USDT", handler=got.put)
    got.get(timeout=5)
    held = threading.Event()
    one.rest.spoil = lambda path, query: held.set() or "silence"
    one.lose()
    one.after.put(push(trade(14)))
    assert held.wait(5)
    subscription.unsubscribe()
    assert one.ws.rest is not None and got.empty()
    with pytest.raises(queue.Empty):
        got.get(timeout=0.3)


def test_a_message_that_cannot_be_read_is_asked_for(lab):
    """A hole of one message, found by the link: filled as others are, at its place."""
    one = lab()
    one.rest.newest = 11
    one.ws.subscribe("trades", instId="BTC-USDT")
    one.lose()
    assert ids(one.read(1)) == [10]
    one.after.put(push(trade(11)))
    marker, live = one.read(2)
    assert marker["repaired"] and ids([live]) == [11] and "backfill" not in live
    one.rest.newest = 12
    one.after.put('{"arg":{"channel":"trades","instId":"BTC-USDT"},"action":"x","data":[{"ts":"1700000000012"')
    marker, filled = one.read(2)
    assert (marker["cause"], marker["lost"], marker["repaired"]) == ("malformed", 1, True)
    assert ids([filled]) == [12] and filled["backfill"]
    one.after.put(push(trade(13)))
    assert ids(one.read(1)) == [13]


# ------------------------------------------------------------------------------------------- on the local exchange


class Truth:
    """Every trade that happens on a local exchange, by instId."""

    def __init__(self, exchange):
        self.ids = defaultdict(list)
        exchange.world.followers["the test's truth"] = self

    def watch(self, ts, trades):
        for instId, new in trades.items():
            for one in new:
                self.ids[instId] += range(one.tradeId - one.count + 1, one.tradeId + 1)


def test_trades_delivered_are_trades_that_happened(connect):
    """Acceptance 86: links that fall at random; exactly once, in order, inline and queued, per trade and aggregated."""
    rng = random.Random(7)
    with LocalExchange(speed=5) as exchange:
        truth = Truth(exchange)
        ws = connect(exchange, markers=True)
        got, bad = defaultdict(list), []

        def take(message):
            if message.get("event"):
                bad.extend([] if message["repaired"] else [message])
                return
            for row in message["data"]:
                last = int(row["tradeId"])
                got[message["arg"]["channel"], row["instId"]] += range(last - int(row.get("count", 1)) + 1, last + 1)

        ws.subscribe("trades", instId="BTC-USDT", handler=take, inline=True)
        ws.subscribe("trades", instId="ETH-USDT", handler=take)
        ws.subscribe("trades-all", instId="BTC-USDT-SWAP", handler=take).wait(5)
        eventually(lambda: len(got) == 3, 10)
        for _ in range(6):
            threading.Event().wait(rng.choice((0.02, 0.2, 0.5, 1.2)))
            exchange.drop()
        marks = {place: ids[-1] for place, ids in got.items()}
        eventually(lambda: all(got[place][-1] > mark + 30 for place, mark in marks.items()), 20)
        ws.close()
        for (channel, instId), ids in got.items():
            wanted = truth.ids[instId]
            assert ids == wanted[wanted.index(ids[0]) : wanted.index(ids[-1]) + 1], (channel, instId)
        assert bad == []


def test_every_closed_candle_comes_once(connect):
    """Acceptance 87: of trades, of an index and of a spread, with links that fall."""
    with LocalExchange(speed=40) as exchange:
        ws = connect(exchange)
        got = defaultdict(list)

        def take(message):
            channel = message["arg"]["channel"]
            got[channel] += [int(row[0]) for row in message["data"] if row[-1] == "1"]

        for channel in ("candle1s", "candle1m", "index-candle1m"):
            ws.subscribe(channel, instId="BTC-USDT", handler=take)
        ws.subscribe("sprd-candle1m", sprdId="BTC-USDT_BTC-USDT-SWAP", handler=take)
        watch = Watch(ws)
        for _ in range(4):
            eventually(lambda: got["candle1s"])
            exchange.drop("business")
            threading.Event().wait(0.3)
            watch.wait("subscribed", timeout=10)
        mark = got["candle1s"][-1]
        eventually(lambda: got["candle1s"][-1] > mark + 20_000 and len(got) == 4 and all(map(len, got.values())), 15)
        ws.close()
        for channel, starts in got.items():
            length = 1000 if channel == "candle1s" else 60_000
            assert starts == list(range(starts[0], starts[-1] + 1, length)), channel


def test_orders_that_changed_without_a_link_are_told(connect):
    """Acceptance 90: one was canceled, one came and was filled; each told once, marked, after the marker; then live."""
    with LocalExchange() as exchange:
        ws = connect(exchange, markers=True, **exchange.credentials)
        orders = ws.subscribe("orders", instType="ANY", queue=True)
        fills = ws.subscribe("fills", queue=True)
        for subscription in (orders, fills):
            subscription.wait(5)
        resting = ws.place_order(instId="BTC-USDT", tdMode="cash", side="buy", ordType="limit", px="1000", sz="0.01")
        staying = ws.place_order(instId="BTC-USDT", tdMode="cash", side="buy", ordType="limit", px="1001", sz="0.01")
        assert [orders.get(timeout=5)["data"][0]["state"] for _ in range(2)] == ["live", "live"]
        fault = exchange.faults.start("refuse", what="upgrade", endpoint="private")
        watch = Watch(ws)
        exchange.drop("private")
        watch.wait("disconnected", endpoint="private")
        ws.rest.post("/api/v5/trade/cancel-order", {"instId": "BTC-USDT", "ordId": resting["ordId"]})
        body = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "market", "sz": "100"}
        (made,) = ws.rest.post("/api/v5/trade/order", body)
        fault.stop()
        marker, canceled, filled = (orders.get(timeout=10) for _ in range(3))
        assert marker["event"] == "gap" and marker["repaired"], marker
        assert canceled["backfill"] and canceled["arg"] == {**orders.arg, "uid": exchange.accounts[0].uid}
        told = [(message["data"][0]["ordId"], message["data"][0]["state"]) for message in (canceled, filled)]
        assert told == [(resting["ordId"], "canceled"), (made["ordId"], "filled")]
        truth = [row["tradeId"] for row in exchange.truth().fills]
        marker, *told = (fills.get(timeout=10) for _ in range(len(truth) + 1))
        assert marker["repaired"] and [message["data"][0]["tradeId"] for message in told] == truth
        ws.cancel_order(instId="BTC-USDT", ordId=staying["ordId"])
        live = orders.get(timeout=5)
        assert live["data"][0]["state"] == "canceled" and "backfill" not in live


def test_orders_that_no_question_finds_any_more_come_from_the_history(connect):
    """Acceptance 90: one ended and is not known by its number; another came and went, and was never filled."""
    with LocalExchange() as exchange:
        ws = connect(exchange, markers=True, **exchange.credentials)
        orders = ws.subscribe("orders", instType="ANY", queue=True).wait(5)
        order = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "px": "1000", "sz": "0.01"}
        resting = ws.place_order(**order)
        assert orders.get(timeout=5)["data"][0]["state"] == "live"
        exchange.faults.start("rest_error", status=200, code="51603", msg="Order does not exist", path="*/trade/order")
        refused = exchange.faults.start("refuse", what="upgrade", endpoint="private")
        watch = Watch(ws)
        exchange.drop("private")
        watch.wait("disconnected", endpoint="private")
        (passing,) = ws.rest.post("/api/v5/trade/batch-orders", [order])
        named = [{"instId": "BTC-USDT", "ordId": row["ordId"]} for row in (resting, passing)]
        ws.rest.post("/api/v5/trade/cancel-batch-orders", named)
        refused.stop()
        marker, *told = (orders.get(timeout=10) for _ in range(3))
        assert marker["repaired"] and all(message["backfill"] for message in told), marker
        assert [message["data"][0]["ordId"] for message in told] == [row["ordId"] for row in (resting, passing)]
        assert {message["data"][0]["state"] for message in told} == {"canceled"}


def test_a_funding_rate_is_told_though_its_next_push_is_far(connect):
    """The present one, once."""
    with LocalExchange() as exchange:
        ws = connect(exchange, markers=True)
        rates = ws.subscribe("funding-rate", instId="BTC-USDT-SWAP", queue=True)
        rates.get(timeout=5)
        exchange.drop()
        marker, message = rates.get(timeout=5), rates.get(timeout=5)
        assert marker["repaired"] and message["data"][0]["instId"] == "BTC-USDT-SWAP"


@pytest.mark.parametrize("backfill", [False, True])
def test_a_stream_that_is_refused_when_it_is_subscribed_again_ends_with_its_hole(backfill, connect):
    """Design 2: a hole that no message will end is told in the queue, too, before the refusal."""
    with LocalExchange(speed=10) as exchange:
        ws = connect(exchange, markers=True, backfill=backfill)
        watch = Watch(ws)
        trades = ws.subscribe("trades", instId="BTC-USDT", queue=True).wait()
        last = trades.get(timeout=5)["data"][-1]
        exchange.faults.start("refuse", what="subscribe", channel="trades")
        exchange.drop()
        watch.wait("subscribe_failed")
        rest = []
        with pytest.raises(SubscribeError):
            rest += trades  # until the refusal is raised
        (marker,) = [message for message in rest if message.get("event") == "gap"]
        assert rest[-1] is marker and marker["cause"] == "disconnect" and not marker["repaired"]
        newest = rest[-2]["data"][-1] if rest[:-1] else last
        assert marker["since_ms"] == int(newest["ts"]) <= marker["until_ms"]


RARE = [
    {"channel": "option-trades", "instType": "OPTION", "instFamily": "BTC-USD"},
    {"channel": "sprd-public-trades", "sprdId": "BTC-USDT_BTC-USDT-SWAP"},
]


def test_trades_of_options_and_spreads_are_filled_too(connect):
    """Acceptance 86: of a family, and of a spread: each once, of each instrument in order, as the stream sends them."""
    with LocalExchange(speed=10) as exchange:
        exchange.record()
        ws = connect(exchange, markers=True)
        got, filled, markers = defaultdict(list), set(), []

        def take(message):
            if message.get("event"):
                markers.append(message)
                return
            got[message["arg"]["channel"]] += message["data"]
            filled.update([message["arg"]["channel"]] if message.get("backfill") else [])

        for subscription in ws.subscribe(RARE, handler=take):
            subscription.wait(5)
        eventually(lambda: len(got) == 2, 15)
        for _ in range(4):
            outage = exchange.faults.start("refuse", what="upgrade")
            exchange.drop()
            threading.Event().wait(0.15)
            outage.stop()
            marks = {channel: len(rows) for channel, rows in got.items()}
            eventually(lambda marks=marks: all(len(got[channel]) > n + 1 for channel, n in marks.items()), 15)
        threading.Event().wait(0.2)  # what was pushed last arrives
        ws.close()
        assert markers and [marker for marker in markers if not marker["repaired"]] == []
        assert filled == {arg["channel"] for arg in RARE}
        for arg in RARE:
            rows = got[arg["channel"]]
            truth = [row for sent in exchange.sent(arg) for row in sent.push["data"]]
            places = {row.get("instId") for row in rows}
            for place in places:
                ids, there = ([row["tradeId"] for row in some if row.get("instId") == place] for some in (rows, truth))
                assert ids == there[there.index(ids[0]) : there.index(ids[-1]) + 1], place
            assert all(row in truth for row in rows), "as the stream would have sent them"
