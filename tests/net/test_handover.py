"""A link takes the place of another while both live: on notice, on request, with age; under load, and with faults."""

import json
import queue
import threading
import time
from collections import Counter

import pytest

from okx_ws import Backoff, Limits, ManagerClosed, OkxWebSocketManager, UsageError
from okx_ws.exchange import LocalExchange
from okx_ws.net import handover, pairs
from tests.conftest import QUICK
from tests.net.lines import CANDLES, PUBLIC, conn_id, enough, handed_over, links, order, stats
from tests.verify import Verifier
from tests.watch import Watch, eventually


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """On loopback no connection lags behind another for seconds."""
    monkeypatch.setattr(pairs, "ALONE_S", 0.05)
    monkeypatch.setattr(pairs, "LAG_S", 0.05)


@pytest.fixture
def exact(world, connect):
    """A manager whose every message is verified, by a handler; nothing may be wrong at the end."""
    made = []

    def make(args=PUBLIC, **settings):
        subscribing = {"inline": settings.pop("inline", False)}
        ws = connect(world, markers=True, **settings)
        verifier = Verifier()
        watch = Watch(ws)
        for subscription in ws.subscribe(args, handler=verifier.take, **subscribing):
            subscription.wait(5)
        made.append((ws, verifier, watch))
        return ws, verifier, watch

    yield make
    for ws, verifier, watch in made:
        assert verifier.faults == [] and verifier.markers == []
        assert set(verifier.snapshots.values()) <= {1}, "a new snapshot is not for the consumer"
        assert watch.of("disconnected") == [] and watch.of("gap") == []
        assert watch.of("handler_error") == []


def test_a_notice_is_followed_before_the_cut(world, exact):
    """Acceptance 42 and 44: a new link, everything on it, then the old one goes; nothing is lost or doubled."""
    ws, verifier, watch = exact()
    enough(verifier)
    before = conn_id(ws)
    world.notice(close_after_s=20, endpoint="public")
    handed_over(ws, before)
    enough(verifier)
    time_of_notice = watch.wait("notice", code="64008").at_ms
    eventually(lambda: len(watch.of("connected")) == 2)
    assert watch.of("connected")[1].at_ms >= time_of_notice
    assert ws.stats()["endpoints"]["public"]["connects"] == 2
    assert {s["state"] for s in ws.stats()["endpoints"]["public"]["subscriptions"]} == {"active"}


@pytest.mark.parametrize(
    "text",
    [
        '{\n  "event" : "notice",\n  "code" : "64008",\n  "msg" : "soon",\n  "connId" : "a4d3ae55"\n}',
        '{"msg":"soon","connId":"a4d3ae55","code":"64008","event":"notice"}',
    ],
)
def test_a_notice_may_be_written_in_any_way(world, exact, text):
    """Acceptance 43: over several lines, and in any order of its keys; said twice, it is followed once."""
    ws, verifier, watch = exact(PUBLIC[:2])
    before = conn_id(ws)
    line = world.hub.lines[-1]
    world.call(lambda: [line.send(text), line.send(text)])
    handed_over(ws, before)
    eventually(lambda: len(watch.of("connected")) == 2)
    assert ws.stats()["endpoints"]["public"]["connects"] == 2


def test_candles_are_exact(world, exact):
    """Each candle is confirmed once, and none goes back."""
    ws, verifier, _ = exact(CANDLES)
    for _ in range(3):
        enough(verifier, channels=["candle1s"])
        before = conn_id(ws, "business")
        assert ws.rotate("business") == 1
        handed_over(ws, before, "business")
    enough(verifier, channels=["candle1s"])


def test_rotation_under_load_again_and_again(world, exact):
    """A dozen hand-overs, one after the other, with everything in motion."""
    ws, verifier, watch = exact()
    book = ws.order_book("SOL-USDT").wait_ready(5)
    unsynced = []
    stop = threading.Event()

    def read():
        while not stop.is_set():
            if not book.synced:
                unsynced.append(time.monotonic())
            stop.wait(0.0005)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(12):
            before = conn_id(ws)
            assert ws.rotate() == 1
            handed_over(ws, before)
    finally:
        stop.set()
        reader.join()
    enough(verifier)
    assert unsynced == [], "a live book stays readable"
    assert book.synced and book.best_bid is not None
    eventually(lambda: len(watch.of("connected")) == 13)


def test_inline_handlers_get_one_message_at_a_time_in_order(exact):
    """Whichever link's thread calls them; the verifier would see two threads at once."""
    ws, verifier, _ = exact(inline=True)
    for _ in range(3):
        before = conn_id(ws)
        ws.rotate()
        handed_over(ws, before)
    enough(verifier)


def test_a_paused_link_is_handed_over_without_loss(world, connect):
    """overflow="block": nothing is dropped, however the links have to pause meanwhile."""
    ws = connect(world, markers=True, overflow="block", queue_size=20)
    verifier = Verifier()
    watch = Watch(ws)
    for subscription in ws.subscribe(PUBLIC):
        subscription.wait(5)
    done = threading.Event()
    reader = threading.Thread(target=lambda: [verifier.take(m) or done.wait(0.001) for m in ws])
    reader.start()
    enough(verifier)
    before = conn_id(ws)
    ws.rotate()
    handed_over(ws, before)
    enough(verifier)
    ws.close()
    done.set()
    reader.join(5)
    assert verifier.faults == [] and verifier.markers == [] and watch.of("disconnected") == []


def test_twice_at_once_is_once(exact):
    """A hand-over under way is not begun again, by whoever asks."""
    ws, verifier, watch = exact()
    before = conn_id(ws)
    assert [ws.rotate(), ws.rotate("public"), ws.rotate("business")] == [1, 0, 0]
    handed_over(ws, before)
    eventually(lambda: len(watch.of("connected")) == 2)
    assert ws.stats()["endpoints"]["public"]["connects"] == 2


def test_what_is_not_there_is_not_rotated(world, connect):
    """Nothing up: nothing to do; a wrong name and a closed manager are errors."""
    ws = connect(world)
    assert ws.rotate() == 0
    with pytest.raises(UsageError, match="endpoint must be one of"):
        ws.rotate("publik")
    ws.close()
    with pytest.raises(ManagerClosed):
        ws.rotate()


def test_a_new_link_that_is_refused_leaves_the_old_one(connect, monkeypatch):
    """It serves on; no thread, joint or twin is left; and when it is cut in the end, the ordinary reconnect follows."""
    monkeypatch.setattr(handover, "HANDOVER_S", 0.5)
    with LocalExchange(speed=10) as exchange:
        ws = connect(exchange, markers=True)
        verifier, watch = Verifier(), Watch(ws)
        for subscription in ws.subscribe(PUBLIC, handler=verifier.take):
            subscription.wait(5)
        before = conn_id(ws)
        fault = exchange.faults.start("refuse", what="upgrade", endpoint="public")
        exchange.notice(close_after_s=1.5, endpoint="public")
        watch.wait("reconnecting")
        eventually(lambda: len(links(ws)) == 1 and ws._lines["public"].connections[0].pair is None)
        assert conn_id(ws) == before and watch.of("disconnected") == [] and verifier.markers == []
        enough(verifier)
        fault.stop()
        told = watch.wait("disconnected", timeout=5)
        assert told.code == "1001"
        eventually(lambda: conn_id(ws) not in (before, None))
        enough(verifier)
        assert verifier.faults == []
        assert {m["cause"] for m in verifier.markers} == {"disconnect"}
        ws.close()


def test_a_cut_in_the_middle_is_an_ordinary_loss(connect):
    """The old link goes before the new one has everything: it is told, and each hole is marked in its place.

    What the new link has brought until it is given up may lie between two holes.
    """
    with LocalExchange(speed=10) as exchange:
        ws = connect(exchange, markers=True, backoff=Backoff(first_s=0.01, cap_s=0.05))
        verifier, watch = Verifier(), Watch(ws)
        for subscription in ws.subscribe(PUBLIC, handler=verifier.take):
            subscription.wait(5)
        enough(verifier)
        exchange.faults.start("ack_lost", endpoint="public", what="subscribe", times=1)
        ws.rotate()
        eventually(lambda: len(exchange.hub.lines) == 2)
        old = exchange.hub.lines[0]
        exchange.call(old.abort)
        watch.wait("disconnected")
        eventually(lambda: len(links(ws)) == 1 and all(s["state"] == "active" for s in stats(ws)))
        enough(verifier)
        assert verifier.faults == [] and len(watch.of("disconnected")) == 1
        told = Counter(json.dumps(marker["arg"]) for marker in verifier.markers)
        assert told.keys() == {json.dumps(arg) for arg in PUBLIC} and max(told.values()) <= 2
        ws.close()


@pytest.mark.parametrize("wait_s", [0, 0.002, 0.01, 0.03])
def test_close_in_the_middle(world, connect, wait_s):
    """Both links end within a second, and no thread is left."""
    ws = connect(world)
    for subscription in ws.subscribe(PUBLIC):
        subscription.wait(5)
    ws.rotate()
    threading.Event().wait(wait_s)
    start = time.monotonic()
    ws.close()
    assert time.monotonic() - start < 1
    assert ws._lines["public"].failure is not None
    with pytest.raises(ManagerClosed):
        while True:
            ws.get(timeout=1)


def test_links_are_handed_over_with_age(world, exact):
    """max_link_age: by itself, again and again."""
    ws, verifier, watch = exact(PUBLIC[:4], max_link_age=0.3)
    eventually(lambda: len(watch.of("connected")) >= 4)
    enough(verifier, channels=["trades", "tickers"])


def test_subscriptions_come_and_go_during_a_hand_over(world, connect):
    """What is subscribed or unsubscribed meanwhile is so afterwards, and exact."""
    ws = connect(world, markers=True)
    verifier, watch = Verifier(), Watch(ws)
    for subscription in ws.subscribe(PUBLIC, handler=verifier.take):
        subscription.wait(5)
    others = []
    until = time.monotonic() + 2
    while time.monotonic() < until:
        ws.rotate()
        one = ws.subscribe("mark-price", instId="BTC-USDT-SWAP", queue=True)
        others.append(Verifier())
        another = ws.subscribe("trades", instId="SOL-USDT", handler=others[-1].take)
        if len(others) % 2:
            assert one.wait(5).state == "active" and another.wait(5)
            assert one.get(timeout=5)["arg"]["channel"] == "mark-price"
        one.unsubscribe()
        ws.unsubscribe("trades", instId="SOL-USDT")
    eventually(lambda: len(links(ws)) == 1 and ws._lines["public"].connections[0].pair is None)
    eventually(lambda: len(stats(ws)) == len(PUBLIC) and all(s["state"] == "active" for s in stats(ws)))
    eventually(
        lambda: {json.dumps(a) for a in world.hub.lines[-1].desk.args.values()} == {json.dumps(a) for a in PUBLIC}
    )
    enough(verifier)
    assert [one.faults + one.markers for one in [verifier, *others] if one.faults or one.markers] == []
    assert watch.of("disconnected") == [] and watch.of("unmatched") == [] and watch.of("gap") == []


def test_orders_are_exact(connect):
    """Each fill once, in order, though both links bring it; the new link logs in by itself."""
    with LocalExchange() as exchange:
        ws = connect(exchange, markers=True, **exchange.credentials)
        verifier, watch = Verifier(), Watch(ws)
        ws.subscribe("orders", instType="ANY", handler=verifier.take).wait(5)
        ws.subscribe("account", handler=verifier.take).wait(5)
        sent = 0
        for _ in range(5):
            before = conn_id(ws, "private")
            assert ws.rotate("private") == 1
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                sent += 1
                assert exchange.say(order(sent), "private") >= 1
            handed_over(ws, before, "private")
        eventually(lambda: len(verifier.rows) >= sent)
        assert verifier.rows == [str(n) for n in range(1, sent + 1)]
        assert verifier.faults == [] and verifier.markers == [] and watch.of("disconnected") == []
        assert all(desk.account is not None for desk in exchange.desks)


def test_a_call_in_flight_gets_its_reply_on_the_old_link(connect, peer):
    """The old link is not closed before; calls made meanwhile go over the new one."""
    held = queue.Queue()

    def reply(talk, request):
        number = [{"n": str(talk.number)}]
        talk.json({"id": request["id"], "op": request["op"], "code": "0", "msg": "", "data": number})

    def script(talk):
        talk.upgrade()
        talk.accept_login()
        while True:
            request = talk.read_request()
            if request["op"] == "subscribe":
                talk.ack(request)
            elif talk.number == 1:
                held.put((talk, request))
            else:
                reply(talk, request)

    server = peer(script)
    ws = connect(urls=server.urls, apiKey="k", secretKey="s", passphrase="p", clock_sync=False)
    ws.subscribe("account").wait(5)
    got = queue.Queue()
    caller = threading.Thread(target=lambda: got.put(ws.request("amend-everything", [{"n": "1"}])))
    caller.start()
    first = held.get(timeout=5)
    ws.rotate("private")
    eventually(lambda: getattr(ws._lines["private"].lines[0].pair, "state", "") == "emptying")
    assert ws.request("amend-everything", [{"n": "2"}])["data"] == [{"n": "2"}]
    assert len(links(ws, "private")) == 2 and got.empty()
    reply(*first)
    assert got.get(timeout=5)["data"] == [{"n": "1"}]
    caller.join(5)
    eventually(lambda: len(links(ws, "private")) == 1)
    assert ws.request("amend-everything", [{"n": "3"}])["data"] == [{"n": "2"}]


def test_several_lines_are_handed_over_each(connect):
    """Spread over links, each gets its own successor; within the connects a second."""
    with LocalExchange(speed=10) as exchange:
        ws = connect(exchange, markers=True, subscriptions_per_link=2)
        verifier, watch = Verifier(), Watch(ws)
        for subscription in ws.subscribe(PUBLIC, handler=verifier.take):
            subscription.wait(5)
        before = {link["conn_id"] for link in links(ws)}
        assert ws.rotate() == 4
        eventually(lambda: len(links(ws)) == 4 and before.isdisjoint(link["conn_id"] for link in links(ws)), timeout=10)
        enough(verifier)
        assert [link["subscriptions"] for link in links(ws)] == [2, 2, 2, 2]
        assert verifier.faults == [] and verifier.markers == [] and watch.of("disconnected") == []
        ws.close()


def test_the_older_class_sees_each_message_once(world):
    """An overridden on_message gets every text as it came, of data each once, though two links bring it."""
    seen, texts = Verifier(), []

    class Older(OkxWebSocketManager):
        def on_message(self, message):
            texts.append(message)
            decoded = json.loads(message)
            if "data" in decoded:
                seen.take(decoded)

    with Older(**QUICK, urls=world.urls) as ws:
        for subscription in ws.subscribe(PUBLIC):
            subscription.wait(5)
        for _ in range(4):
            enough(seen)
            before = conn_id(ws)
            ws.rotate()
            handed_over(ws, before)
        enough(seen)
    assert seen.faults == [] and set(seen.snapshots.values()) == {1}
    acks = [json.loads(text) for text in texts if '"event":"subscribe"' in text]
    assert len(acks) == 5 * len(PUBLIC)


def test_a_user_may_do_anything_inside_an_inline_handler(world, connect):
    """Subscribe, unsubscribe and rotate on either link's thread, in the middle of it all; and close in the end."""
    ws = connect(world)
    verifier = Verifier()
    calls = []

    def meddle(message):
        verifier.take(message)
        calls.append(1)
        if len(calls) % 5 == 0:
            ws.subscribe("mark-price", instId="BTC-USDT-SWAP", handler=calls.append)
        if len(calls) % 7 == 0:
            ws.unsubscribe("mark-price", instId="BTC-USDT-SWAP")
        if len(calls) % 20 == 0:
            ws.rotate()
        if len(calls) > 1500:
            ws.close()

    ws.subscribe(PUBLIC, handler=meddle, inline=True)
    with pytest.raises(ManagerClosed):
        ws.get(timeout=20)
    ws.close()
    assert verifier.faults == [] and ws.stats()["endpoints"]["public"]["connects"] > 2


def test_live_views_and_orders_go_through(connect):
    """Orders are placed while private links change: each is placed once, and the views never lose their proof."""
    with LocalExchange() as exchange:
        limits = Limits(connects_per_s=1000, pace_orders=False)
        ws = connect(exchange, **exchange.credentials, limits=limits)
        account, orders = ws.account(), ws.orders()
        account.wait_synced(10)
        orders.wait_synced(10)
        watch, placed, unsynced = Watch(ws), [], []
        stop = threading.Event()

        def place():
            while not stop.is_set():
                reply = ws.place_order(
                    instId="BTC-USDT", tdMode="cash", side="buy", ordType="limit", sz="0.01", px="100", timeout=5
                )
                placed.append(reply.ordId)

        def look():
            while not stop.is_set():
                unsynced.extend(view for view in (account, orders) if not view.synced)
                stop.wait(0.001)

        threads = [threading.Thread(target=place), threading.Thread(target=look)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                least = len(placed) + 3
                eventually(lambda least=least: len(placed) >= least)
                before = conn_id(ws, "private")
                ws.rotate("private")
                handed_over(ws, before, "private")
        finally:
            stop.set()
            for thread in threads:
                thread.join(10)
        eventually(lambda: {order.ordId for order in orders.open()} >= set(placed))
        assert len(placed) == len(set(placed)) >= 9 and unsynced == []
        assert watch.of("gap") == [] and watch.of("disconnected") == [] and watch.of("late_reply") == []
