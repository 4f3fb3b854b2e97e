"""The end: close() from everywhere, what it finishes, what it counts, and what races it."""

import json
import threading
import time

import pytest

from okx_ws import ManagerClosed, UsageError
from tests.peer import frame
from tests.watch import Watch, eventually

BTC = {"channel": "trades", "instId": "BTC-USDT"}
ETH = {"channel": "trades", "instId": "ETH-USDT"}


def trades(count):
    """Return the frames of so many pushes, to be sent at once."""
    return b"".join(frame(json.dumps({"arg": BTC, "data": [n]}, separators=(",", ":"))) for n in range(count))


@pytest.mark.parametrize("inline", [False, True])
def test_close_from_inside_a_handler(inline, ws):
    """It returns at once, everything ends, and the next close joins."""
    closed = threading.Event()

    def handler(message):
        ws.close()
        closed.set()

    ws.subscribe("trades", instId="BTC-USDT", handler=handler, inline=inline)
    start = time.monotonic()
    assert list(ws) == []
    closed.wait(5)
    ws.close()
    assert time.monotonic() - start < 3
    with pytest.raises(ManagerClosed):
        ws.subscribe("trades", instId="BTC-USDT")


def test_close_finishes_what_handlers_have_queued(world, connect):
    """Until its deadline; the rest is counted and told in `closed`."""
    ws = connect(world)
    got = []

    def slow(message):
        got.append(message)
        threading.Event().wait(0.002)

    ws.subscribe([BTC, ETH], handler=slow)
    eventually(lambda: len(got) > 5)
    depth = eventually(lambda: next(iter(ws.stats()["handlers"].values()))["depth"])
    before = len(got)
    ws.close()
    assert len(got) >= before + depth


def test_what_handlers_cannot_finish_is_counted(world, connect):
    """A handler that never returns is left behind, and close says so within its time."""
    ws = connect(world)
    watch = Watch(ws)
    release, entered = threading.Event(), threading.Event()

    def stuck(message):
        entered.set()
        release.wait(20)

    ws.subscribe("trades", instId="BTC-USDT", handler=stuck)
    entered.wait(5)
    eventually(lambda: next(iter(ws.stats()["handlers"].values()))["depth"] >= 3)
    start = time.monotonic()
    ws.close(timeout=0.3)
    assert time.monotonic() - start < 1.5
    release.set()
    assert watch.wait("closed").lost >= 3
    ws.close()


@pytest.mark.parametrize("inline", [False, True])
def test_handlers_on_several_links_may_all_close(inline, world, connect):
    """None waits for the other: they would wait for each other."""
    ws = connect(world)
    both = threading.Barrier(2)
    took = []

    def closer():
        called = []

        def handler(message):
            called.append(message)
            if len(called) == 1:  # what was queued is finished, too
                both.wait(5)
                start = time.monotonic()
                ws.close()
                took.append(time.monotonic() - start)

        return handler

    ws.subscribe("trades", instId="BTC-USDT", handler=closer(), inline=inline)
    ws.subscribe("trades-all", instId="BTC-USDT", handler=closer(), inline=True)
    ws.subscribe("tickers", instId="BTC-USDT")
    start = time.monotonic()
    list(ws)
    ws.close()
    assert time.monotonic() - start < 2
    assert len(took) == 2 and max(took) < 0.5


def test_close_does_not_wait_for_a_batch_to_pass_an_inline_handler(peer, connect):
    """What it does not get is counted in `closed`."""
    first = threading.Event()

    def script(talk):
        talk.subscribed()
        talk.send(trades(500))
        talk.until_gone()

    def slow(message):
        first.set()
        threading.Event().wait(0.05)

    ws = connect(urls=peer(script).urls)
    watch = Watch(ws)
    ws.subscribe("trades", instId="BTC-USDT", handler=slow, inline=True)
    assert first.wait(5)
    start = time.monotonic()
    ws.close()
    assert time.monotonic() - start < 1
    assert 300 < watch.wait("closed").lost < 500


def test_a_slow_event_handler_does_not_outlast_the_end(ws):
    """Events that wait are left behind at the deadline, like messages, and counted."""
    seen, begun = [], threading.Event()

    @ws.on_event
    def slow(event):
        seen.append(event)
        begun.set()
        threading.Event().wait(0.2)

    ws.subscribe([{"channel": "no-such", "instId": str(n)} for n in range(40)])
    assert begun.wait(5)
    eventually(lambda: len(ws._reporter.thread.events) > 20)
    start = time.monotonic()
    ws.close(timeout=0.5)
    assert time.monotonic() - start < 1.5
    eventually(lambda: seen[-1].type == "closed")
    assert seen[-1].lost > 10


def test_subscribing_races_the_close(world, connect):
    """Either it is refused, or it is closed with the rest: no link survives."""
    for _ in range(30):
        ws = connect(world)
        go = threading.Barrier(3)

        def work(call, go=go):
            go.wait()
            try:
                call()
            except ManagerClosed:
                pass

        calls = [ws.close, lambda ws=ws: ws.subscribe([BTC]), lambda ws=ws: ws.subscribe("candle1m", instId="BTC-USDT")]
        threads = [threading.Thread(target=work, args=[call]) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ws.close()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("okx-ws:p")]


def test_a_subscription_of_another_manager_is_refused(world, connect):
    """It would take the wrong one down."""
    mine, other = connect(world), connect(world)
    foreign = other.subscribe("trades", instId="BTC-USDT").wait(5)
    mine.subscribe("trades", instId="BTC-USDT").wait(5)
    with pytest.raises(UsageError, match="another manager"):
        mine.unsubscribe(foreign)
    assert foreign.state == "active"


def test_losses_are_told_at_the_end(world, connect):
    """Every drop shows in an `overflow` event, also those of the last moment, and of a sink that leaves."""
    ws = connect(world, queue_size=3)
    watch = Watch(ws)
    mine = ws.subscribe("trades", instId="BTC-USDT", queue=True)
    ws.subscribe("trades", instId="ETH-USDT")
    eventually(lambda: mine.own_queue.dropped > 20 and ws.msgQueue.dropped > 20)
    mine.unsubscribe()
    ws.close()
    told = {arg: 0 for arg in ("BTC-USDT", "ETH-USDT")}
    for event in watch.of("overflow"):
        told[event.arg["instId"]] += event.lost
    assert told == {"BTC-USDT": mine.own_queue.dropped, "ETH-USDT": ws.msgQueue.dropped}


def test_losses_of_a_burst_are_told_without_another_loss(peer, connect):
    """Within about a second, though nothing follows."""
    step = threading.Event()

    def script(talk):
        talk.subscribed()
        talk.send(trades(10))
        step.wait(5)
        talk.send(trades(10))
        talk.until_gone()

    ws = connect(urls=peer(script).urls, queue_size=1)
    watch = Watch(ws)
    ws.subscribe("trades", instId="BTC-USDT")
    watch.wait("overflow")
    step.set()
    eventually(lambda: sum(event.lost for event in watch.of("overflow")) == 19, timeout=4)
