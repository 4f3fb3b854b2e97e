"""A hole is told once, as events too: as it begins, and how it ended; whichever of two links lacks what."""

import socket
import threading

import pytest

from okx_ws import Backoff
from okx_ws.exchange import LocalExchange
from okx_ws.net import pairs
from okx_ws.protocol import merging
from tests.net.lines import TRADES, lose_both, trade, whole
from tests.peer import close_frame
from tests.watch import Watch, eventually

TICKERS = {"channel": "tickers", "instId": "BTC-USDT"}
QUICK = Backoff(first_s=0.01, cap_s=0.1)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """On loopback no connection lags behind another for seconds."""
    monkeypatch.setattr(pairs, "ALONE_S", 0.05)
    monkeypatch.setattr(pairs, "LAG_S", 0.05)


def told(watch, arg):
    """Return what was told of the holes of an arg: how each began, and how it ended."""
    events = [event for event in watch.events if event.type in ("gap", "repaired") and event.arg == arg]
    return [("ended", event.data["repaired"]) if "until_ms" in event.data else ("began",) for event in events]


def counted(ws, arg):
    """Return the holes that an arg had, and those that were filled, as `stats` has them."""
    (one,) = [s for s in ws.stats()["endpoints"]["public"]["subscriptions"] if s["arg"] == arg]
    return one["gaps"], one["repairs"]


@pytest.mark.parametrize("backfill", [False, True])
def test_what_both_links_miss_is_told_once(connect, backfill):
    """Whichever is back first tells it; the other one brings it too, and says nothing."""
    with LocalExchange(speed=10) as exchange:
        ws = connect(exchange, markers=True, redundancy=2, backfill=backfill, backoff=QUICK)
        watch, got = Watch(ws), []
        ws.subscribe([TRADES, TICKERS], handler=got.append)
        for number in range(1, 4):
            eventually(lambda: len(got) > 20)
            whole(ws)
            lose_both(exchange, watch, [TRADES, TICKERS])
            whole(ws)
            got.clear()
            eventually(lambda: len(got) > 20)
            for arg in (TRADES, TICKERS):
                eventually(lambda arg=arg, number=number: len(told(watch, arg)) >= 2 * number)
                assert [what for what, *_ in told(watch, arg)] == ["began", "ended"] * number
                repairs = sum(repaired for what, *rest in told(watch, arg) for repaired in rest)
                assert counted(ws, arg) == (number, repairs) and (arg is TRADES or repairs == number)


@pytest.mark.parametrize("markers", [False, True])
def test_a_hole_that_numbers_alone_show_is_told(connect, peer, monkeypatch, markers):
    """A link is back and brings trade 9; what is before it nobody brings: an event says so, with markers or without."""
    monkeypatch.setattr(merging, "PATIENCE_MS", 50)
    talks = {}

    def script(talk):
        talk.subscribed()
        if talk.number < 3:
            talk.json(trade(1))
        talks[talk.number] = talk
        talk.until_gone()

    ws = connect(urls=peer(script).urls, markers=markers, redundancy=2, backfill=False)
    watch = Watch(ws)
    subscription = ws.subscribe(**TRADES, queue=True)
    assert subscription.get(timeout=5)["data"][0]["tradeId"] == "1"
    whole(ws)
    talks[2].sock.shutdown(socket.SHUT_RDWR)
    eventually(lambda: 3 in talks)
    whole(ws)
    talks[3].json(trade(9))
    got = [subscription.get(timeout=5) for _ in range(1 + markers)]
    assert [message.get("event") for message in got] == ["gap"] * markers + [None]
    eventually(lambda: len(told(watch, TRADES)) > 1)
    assert told(watch, TRADES) == [("began",), ("ended", False)] and counted(ws, TRADES) == (1, 0)
    assert watch.events[-1].data["cause"] == "sequence"


@pytest.mark.parametrize("quick", [False, True])
def test_a_new_link_that_lacks_nothing_had_no_hole_for_long(connect, peer, monkeypatch, quick):
    """The old link falls before it is known what the new one lacks: then its first message shows that it is nothing.

    The loss is told, however quick the other link's thread is to see that nobody else is there.
    """
    talks, link_lost = {}, pairs.Pair.link_lost

    def slow(pair, link):
        if quick and link is pair.first:
            pair.stir(link)
            eventually(lambda: all(stream.sure for stream in pair.second.session.subscriptions))
        link_lost(pair, link)

    monkeypatch.setattr(pairs.Pair, "link_lost", slow)

    def script(talk):
        talks[talk.number] = talk
        talk.subscribed()
        if talk.number == 1:
            talk.json(trade(1))
        talk.until_gone()

    got = []
    ws = connect(urls=peer(script).urls, markers=True, backfill=False)
    watch = Watch(ws)
    ws.subscribe(**TRADES, handler=got.append)
    eventually(lambda: len(got) == 1)
    (old,) = ws._lines["public"].lines
    monkeypatch.setattr(pairs, "LAG_S", 60.0)  # nothing is for sure
    assert ws.rotate() == 1
    eventually(lambda: [s.twin is not None and s.twin.live for s in old.session.subscriptions] == [True])
    talks[1].sock.shutdown(socket.SHUT_RDWR)
    watch.wait("disconnected")
    talks[2].json(trade(2))
    eventually(lambda: len(got) == 2)
    assert [message["data"][0]["tradeId"] for message in got] == ["1", "2"]
    eventually(lambda: len(told(watch, TRADES)) == 2)
    assert told(watch, TRADES) == [("began",), ("ended", True)]


def test_a_hole_that_grows_while_it_is_filled_is_one(connect):
    """The link is lost again before any message came: one marker, one beginning, one end."""
    with LocalExchange(speed=10) as exchange:
        ws = connect(exchange, markers=True, backoff=QUICK, backfill_timeout=30.0)
        watch, got = Watch(ws), []
        ws.subscribe(**TRADES, handler=got.append).wait(5)
        eventually(lambda: len(got) > 5)
        silent = exchange.faults.start("stall", channel="trades")
        slow = exchange.faults.start("slow", what="rest", delay_s=0.5)
        watch.wait("subscribed", arg=TRADES)
        for _ in range(2):
            exchange.drop("public")
            watch.wait("disconnected")
            watch.wait("subscribed", arg=TRADES)
        silent.stop()
        slow.stop()
        watch.wait("repaired", arg=TRADES, timeout=10)
        before = len(got)
        eventually(lambda: len(got) > before + 5)
        assert [message["event"] for message in got if "event" in message] == ["gap"]
        assert told(watch, TRADES) == [("began",), ("ended", True)]
        assert counted(ws, TRADES) == (1, 1)


SECONDS = {"channel": "candle1s", "instId": "BTC-USDT"}


def second(number, closed="1"):
    return {"arg": SECONDS, "data": [[str(1_700_000_000_000 + 1000 * number), *"1212333", closed]]}


def test_seconds_without_trades_are_no_hole(connect, peer, monkeypatch):
    """A link is back, and the next bar starts some seconds later: there were no trades, or OKX would have told."""
    monkeypatch.setattr(merging, "PATIENCE_MS", 50)
    talks = {}

    def script(talk):
        talk.subscribed()
        if talk.number < 3:
            talk.json(second(1))
        talks[talk.number] = talk
        talk.until_gone()

    ws = connect(urls=peer(script).urls, markers=True, redundancy=2, backfill=False)
    watch = Watch(ws)
    subscription = ws.subscribe(**SECONDS, queue=True)
    assert subscription.get(timeout=5)["data"][0][0] == "1700000001000"
    whole(ws, "business")
    talks[2].sock.shutdown(socket.SHUT_RDWR)
    eventually(lambda: 3 in talks)
    whole(ws, "business")
    talks[3].json(second(7))
    assert subscription.get(timeout=5)["data"][0][0] == "1700000007000"
    assert watch.of("gap") == []


LIQUIDATIONS = {"channel": "liquidation-orders", "instType": "SWAP"}
LATER = Backoff(first_s=60.0, cap_s=60.0)


def liquidation(number):
    details = [{"ts": str(1_700_000_000_000 + number)}]
    return {"arg": LIQUIDATIONS, "data": [{"instId": "BTC-USDT-SWAP", "details": details}]}


def test_a_link_that_withholds_a_stream_while_the_other_one_is_away_is_found_out(connect, peer, monkeypatch):
    """It answers pings, and never brought what the other had: asked anew, and told, though it has no numbers."""
    monkeypatch.setattr(pairs, "MUTE_S", 0.3)
    talks = {}

    def script(talk):
        if talk.number > 2:
            return
        talk.upgrade()
        talks[talk.number] = talk
        while True:
            request = talk.read_request()
            talk.ack(request)
            talk.requests = [*getattr(talk, "requests", []), request["op"]]

    ws = connect(urls=peer(script).urls, markers=True, redundancy=2, backoff=LATER)
    watch = Watch(ws)
    subscription = ws.subscribe([LIQUIDATIONS], queue=True)[0].wait(5)
    whole(ws)
    for number in (1, 2):
        talks[2].json(liquidation(number))
        assert subscription.get(timeout=5)["data"] == liquidation(number)["data"]
        if number == 1:
            talks[1].json(liquidation(number))
    stream = ws._lines["public"].find(LIQUIDATIONS)
    eventually(lambda: sorted([stream.messages, stream.twin.messages]) == [1, 2])
    talks[2].sock.shutdown(socket.SHUT_RDWR)
    assert watch.wait("stalled", timeout=5).arg == LIQUIDATIONS
    eventually(lambda: talks[1].requests == ["subscribe", "unsubscribe", "subscribe"])
    watch.wait("gap", arg=LIQUIDATIONS)
    talks[1].json(liquidation(9))
    marker, message = subscription.get(timeout=5), subscription.get(timeout=5)
    assert (marker["cause"], marker["since_ms"], marker["until_ms"]) == ("stall", 1_700_000_000_002, 1_700_000_000_009)
    assert message["data"] == liquidation(9)["data"]
    eventually(lambda: len(told(watch, LIQUIDATIONS)) == 2)


def test_a_link_that_has_brought_all_is_left_in_peace(connect, peer, monkeypatch):
    """Its stream is quiet, as far as anybody can know."""
    monkeypatch.setattr(pairs, "MUTE_S", 0.1)
    talks = {}

    def script(talk):
        if talk.number > 2:
            return
        talk.subscribed()
        talks[talk.number] = talk
        talk.until_gone()

    ws = connect(urls=peer(script).urls, markers=True, redundancy=2, backoff=LATER)
    watch = Watch(ws)
    subscription = ws.subscribe([LIQUIDATIONS], queue=True)[0].wait(5)
    whole(ws)
    for talk in (talks[2], talks[1]):
        talk.json(liquidation(1))
    assert subscription.get(timeout=5)["data"]
    (pair,) = [line.pair for line in ws._lines["public"].lines]
    eventually(lambda: pair.first.session.messages > 1 and pair.second.session.messages > 1)
    talks[2].sock.shutdown(socket.SHUT_RDWR)
    watch.wait("disconnected")
    eventually(lambda: pair._left is None)
    talks[1].json(liquidation(2))
    assert subscription.get(timeout=5)["data"] == liquidation(2)["data"]
    assert watch.of("stalled") == watch.of("gap") == []


@pytest.mark.parametrize("quicker", ["first", "second"])
def test_what_moves_to_other_links_is_missing_until_either_brings_it(connect, peer, quicker):
    """OKX closes a link for carrying too much: whichever new link is quicker tells the hole that the move has left."""
    talks, args = {}, [{"channel": "trades", "instId": f"I{number}-USDT"} for number in range(4)]

    def push(arg, number):
        row = {"instId": arg["instId"], "tradeId": str(number), "ts": str(1_700_000_000_000 + number), "count": "1"}
        return {"arg": arg, "data": [{**row, "px": "1", "sz": "1", "side": "buy"}]}

    def script(talk):
        talk.upgrade()
        talks[talk.sock.getpeername()[1]] = talk
        while True:
            request = talk.read_request()
            talk.ack(request)
            for arg in request["args"] if talk.number < 3 and request["op"] == "subscribe" else ():
                talk.json(push(arg, 1))

    got = []
    ws = connect(urls=peer(script).urls, markers=True, redundancy=2, backfill=False, backoff=LATER)
    watch = Watch(ws)
    ws.subscribe(args, handler=got.append)
    whole(ws)
    eventually(lambda: len(got) == 4)
    (crowded,) = [line.pair for line in ws._lines["public"].lines]
    talk_of(talks, crowded.first).send(close_frame(4009, "too many"))
    eventually(lambda: len(ws._lines["public"].lines) == 2)
    pair = ws._lines["public"].lines[1].pair
    streams = pair.first.session.subscriptions
    eventually(lambda: [s.live and s.twin.live for s in streams] == [True, True])
    moved = next(iter(streams))
    talk_of(talks, getattr(pair, quicker)).json(push(moved.arg, 9))
    eventually(lambda: len(got) == 6)
    talk_of(talks, pair.second if quicker == "first" else pair.first).json(push(moved.arg, 9))
    talk_of(talks, getattr(pair, quicker)).json(push(moved.arg, 10))
    eventually(lambda: len(got) == 7)
    assert [m.get("event") or m["data"][0]["tradeId"] for m in got[4:]] == ["gap", "9", "10"]
    assert (got[4]["since_ms"], got[4]["until_ms"]) == (1_700_000_000_001, 1_700_000_000_009)
    assert told(watch, moved.arg) == [("began",), ("ended", False)]


def talk_of(talks, link):
    """Return the peer's end of a link."""
    return talks[link._app.wire._sock.getsockname()[1]]


def test_a_link_whose_acknowledgement_was_lost_covers_the_other_one(connect, peer):
    """Data counts as much: it has gone on with the stream when the other one falls, and nothing is missing."""
    talks = {}

    def script(talk):
        talk.upgrade()
        request = talk.read_request("subscribe")
        if talk.number < 3:
            talk.ack(request)
            talk.json(trade(1))
        talks[talk.number] = talk
        talk.until_gone()

    got = []
    ws = connect(urls=peer(script).urls, markers=True, redundancy=2, backfill=False)
    watch = Watch(ws)
    ws.subscribe(**TRADES, handler=got.append)
    whole(ws)
    talks[2].sock.shutdown(socket.SHUT_RDWR)
    watch.wait("disconnected")
    eventually(lambda: 3 in talks)
    stream = ws._lines["public"].find(TRADES)
    for talk in (talks[1], talks[3]):
        before = stream.messages + stream.twin.messages
        talk.json(trade(2))
        eventually(lambda before=before: stream.messages + stream.twin.messages > before)
    talks[1].sock.shutdown(socket.SHUT_RDWR)
    watch.wait("disconnected")
    talks[3].json(trade(3))
    eventually(lambda: len(got) == 3)
    assert [m.get("event") or m["data"][0]["tradeId"] for m in got] == ["1", "2", "3"]


def test_what_waits_for_a_handler_when_it_moves_lies_in_the_hole(connect, peer):
    """It was read, and is handed on to nobody any more: the hole begins behind what was."""
    talks, args = {}, [{"channel": "trades", "instId": f"I{number}-USDT"} for number in range(2)]
    blocked, go_on = threading.Event(), threading.Event()

    def push(number):
        row = {"instId": "I1-USDT", "tradeId": str(number), "ts": str(1_700_000_000_000 + number), "count": "1"}
        return {"arg": args[1], "data": [{**row, "px": "1", "sz": "1", "side": "buy"}]}

    def script(talk):
        talk.upgrade()
        talks[talk.sock.getpeername()[1]] = talk
        while True:
            talk.ack(talk.read_request())

    def take(message):
        got.append(message)
        if "data" in message and message["data"][0]["tradeId"] == "2":
            blocked.set()
            assert go_on.wait(10)

    got = []
    ws = connect(urls=peer(script).urls, markers=True, redundancy=2, backfill=False, backoff=LATER)
    ws.subscribe(args, handler=take, inline=True)
    whole(ws)
    (crowded,) = [line.pair for line in ws._lines["public"].lines]
    talk_of(talks, crowded.second).json(push(1))
    talk_of(talks, crowded.second).json(push(2))
    assert blocked.wait(5)
    stream = ws._lines["public"].find(args[1])
    for number in (1, 2, 3, 4):
        talk_of(talks, crowded.first).json(push(number))
    eventually(lambda: stream.messages == 4)
    talk_of(talks, crowded.first).send(close_frame(4009, "too many"))
    eventually(lambda: len(ws._lines["public"].lines) == 2)
    go_on.set()
    pair = ws._lines["public"].lines[1].pair
    eventually(lambda: [s.live and s.twin.live for s in pair.first.session.subscriptions] == [True])
    talk_of(talks, pair.second).json(push(9))
    eventually(lambda: "data" in got[-1] and got[-1]["data"][0]["tradeId"] == "9")
    told = [(m["since_ms"], m["until_ms"]) if "event" in m else int(m["data"][0]["tradeId"]) for m in got]
    assert told == [1, 2, (1_700_000_000_002, 1_700_000_000_009), 9]
