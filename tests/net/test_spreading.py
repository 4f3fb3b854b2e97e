"""Several links for one endpoint: subscriptions spread over them, each loss its own, all of it within OKX's limits."""

import json
import time

import pytest

from okx_ws import ConnectionLost, Limits
from okx_ws.exchange import LocalExchange
from okx_ws.net import connection, opening
from tests.chaos.verify import Got, Thing, complaints, things_of
from tests.net.lines import limited, tickers
from tests.watch import Watch, eventually

MANY = [{"channel": "tickers", "instId": f"COIN{n}-USDT"} for n in range(2000)]


def links(ws, endpoint="public"):
    return ws.stats()["endpoints"][endpoint]["links"]


def carried(ws):
    """How many subscriptions each link has."""
    return sorted(link["subscriptions"] for link in links(ws))


def cut(exchange, desk):
    """Cut one connection."""
    exchange._each(None, lambda line: line.ws.transport.abort() if line.desk is desk else None)


@pytest.fixture
def crowd(tmp_path):
    """A strict exchange that knows 2,000 instruments, and pushes a message of each to whoever subscribes."""
    file = tmp_path / "many.jsonl"
    file.write_text("".join(json.dumps({"arg": arg, "data": [{"last": "1"}]}) + "\n" for arg in MANY))
    with LocalExchange(strict=True) as exchange:
        exchange.replay(file)
        yield exchange


def test_2000_subscriptions_start_within_the_limits(crowd, connect, monkeypatch):
    """Acceptance 92: 3 connects a second, 480 requests an hour, 64 KB a frame; and a lost link replays only its own."""
    starts = []
    dial = opening.open_tcp
    monkeypatch.setattr(opening, "open_tcp", lambda *args: starts.append(time.monotonic()) or dial(*args))
    ws = connect(crowd, limits=Limits())
    watch = Watch(ws)
    start = time.monotonic()
    subscriptions = ws.subscribe(MANY)
    for subscription in subscriptions:
        subscription.wait(20)
    seen = {ws.get(timeout=10)["arg"]["instId"] for _ in MANY}
    took = time.monotonic() - start
    print(f"2,000 subscriptions: {took:.1f} s")
    assert len(seen) == 2000 and 2.2 < took < 15
    assert carried(ws) == [222] * 7 + [223] * 2
    assert all(later - first >= 1 for first, later in zip(starts, starts[3:])), "four connects in a second"
    desks = list(crowd.desks)
    requests = [request for desk in desks for request in desk.requests]
    assert len(desks) == 9 and all(len(desk.requests) <= 2 for desk in desks)
    assert max(len(json.dumps(request)) for request in requests) < 65_536
    assert {arg["instId"] for desk in desks for arg in desk.args.values()} == seen

    victim = desks[4]
    lost = {arg["instId"] for arg in victim.args.values()}
    cut(crowd, victim)
    watch.wait("disconnected")
    eventually(lambda: all(s.state == "active" for s in subscriptions) and len(crowd.desks) == 10)
    assert {arg["instId"] for request in crowd.desks[-1].requests for arg in request["args"]} == lost
    assert {ws.get(timeout=5)["arg"]["instId"] for _ in lost} == lost and ws.msgQueue.empty()
    assert len(watch.of("disconnected")) == 1 and requests == [r for desk in desks for r in desk.requests]


@pytest.mark.parametrize("code", [4008, 4009])
def test_what_is_too_much_for_a_link_moves_to_others(peer, connect, code):
    """Halved until OKX is content: everything is active in the end, nothing was tried at the longest delay."""
    server = peer(limited(3, code))
    ws = connect(urls=server.urls)
    watch = Watch(ws)
    subscriptions = ws.subscribe(tickers(10))
    for subscription in subscriptions:
        subscription.wait(5)
    assert {ws.get(timeout=5)["arg"]["instId"] for _ in subscriptions} == {s.arg["instId"] for s in subscriptions}
    assert max(carried(ws)) <= 3 and sum(carried(ws)) == 10
    told = watch.wait("notice")
    assert "5 subscriptions moved, 5 a link from now on" in told.msg
    assert watch.of("disconnected")[0].code == str(code)
    one_more = ws.subscribe("tickers", instId="ONE-MORE").wait(5)
    assert one_more.state == "active" and max(carried(ws)) <= 3


def test_a_hole_moves_with_its_subscription(peer, connect):
    """What was active when OKX closed the link has a hole, told at its place on the new one, and keeps its newest."""
    server = peer(limited(4, 4009))
    ws = connect(urls=server.urls, markers=True)
    args = tickers(5)
    for arg in args[:4]:
        ws.subscribe(**arg).wait(5)
        assert ws.get(timeout=5)["arg"] == arg
    ws.subscribe(**args[4])
    got = [ws.get(timeout=5) for _ in range(9)]
    assert len(links(ws)) == 2
    for arg in args[:4]:
        marker, message = [one for one in got if one["arg"] == arg]
        assert (marker["event"], marker["cause"]) == ("gap", "disconnect") and message["data"]
        assert marker["since_ms"] == 1_700_000_000_001 < marker["until_ms"]
        assert ws.latest(**arg) == message
    assert len([one for one in got if one["arg"] == args[4]]) == 1
    # Messages are counted over all links.
    counts = {s["arg"]["instId"]: s["messages"] for s in ws.stats()["endpoints"]["public"]["subscriptions"]}
    assert counts == {"I0-USDT": 2, "I1-USDT": 2, "I2-USDT": 2, "I3-USDT": 2, "I4-USDT": 1}


def test_one_subscription_that_is_too_much_is_tried_seldom(peer, connect):
    """There is nothing to move: the longest delay applies."""
    server = peer(limited(0, 4008))
    ws = connect(urls=server.urls)
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT")
    assert watch.wait("reconnecting").delay_s == 0.05  # the cap, not a drawn delay
    assert watch.of("notice") == []


def test_a_link_that_is_empty_ends_after_a_while(exchange, connect, monkeypatch):
    """Not the first one; what it counted stays counted, nobody is told of a loss, and a new need opens another."""
    monkeypatch.setattr(connection, "LINGER_S", 0.2)
    ws = connect(exchange, subscriptions_per_link=1)
    watch = Watch(ws)
    args = [{"channel": "tickers", "instId": name} for name in ("BTC-USDT", "ETH-USDT", "SOL-USDT")]
    subscriptions = ws.subscribe(args)
    for subscription in subscriptions:
        subscription.wait(5)
    eventually(lambda: all(link["messages"] >= 2 for link in links(ws)))
    for subscription in subscriptions:
        subscription.unsubscribe()
    eventually(lambda: len(links(ws)) == 1)
    stats = ws.stats()["endpoints"]["public"]
    assert stats["connects"] == 3 and stats["messages"] >= 6 and stats["state"] == "up"
    eventually(lambda: len(exchange.hub.lines) == 1)
    assert watch.of("disconnected") == []
    for subscription in ws.subscribe(args):
        subscription.wait(5)
    assert carried(ws) == [1, 1, 1]


def test_private_channels_share_a_connection(exchange, connect):
    """OKX counts the connections of each private channel; every further line logs in by itself."""
    ws = connect(exchange, subscriptions_per_link=2, **exchange.credentials)
    orders = [{"channel": "orders", "instType": kind} for kind in ("SPOT", "SWAP", "FUTURES")]
    for subscription in ws.subscribe([*orders, {"channel": "account"}, {"channel": "balance_and_position"}]):
        subscription.wait(5)
    by_desk = [sorted({arg["channel"] for arg in desk.args.values()}) for desk in exchange.desks]
    assert sum("orders" in channels for channels in by_desk) == 1 and len(by_desk) > 1
    assert all(desk.account is not None for desk in exchange.desks)


def test_a_bad_key_is_tried_on_one_line_only(exchange, connect):
    """What needs a login later fails at once, wherever there is room."""
    ws = connect(exchange, subscriptions_per_link=1, apiKey="k", secretKey="s", passphrase="p")
    first = ws.subscribe("orders", instType="ANY")
    with pytest.raises(Exception, match="60005|60032|key"):
        first.wait(5)
    second = ws.subscribe("account")
    assert second.state == "rejected"
    assert len(exchange.connects) == 1


def test_without_reconnect_the_loss_of_one_link_ends_the_endpoint(exchange, connect):
    """As it is with one link: what waits gets `ConnectionLost`, and no thread is left."""
    ws = connect(exchange, subscriptions_per_link=1, reconnect=False)
    both = ws.subscribe([{"channel": "tickers", "instId": name} for name in ("BTC-USDT", "ETH-USDT")])
    for subscription in both:
        subscription.wait(5)
    cut(exchange, exchange.desks[0])
    eventually(lambda: {subscription.state for subscription in both} == {"closed"})
    with pytest.raises(ConnectionLost):
        both[0].wait(5)
    with pytest.raises(ConnectionLost):
        while True:
            ws.get(timeout=5)
    eventually(lambda: exchange.hub.lines == [])


def test_every_call_finds_its_line(exchange, connect):
    """latest, a second subscription, unsubscribe by arg, order books: wherever it is."""
    ws = connect(exchange, subscriptions_per_link=1)
    args = [{"channel": "trades", "instId": name} for name in ("BTC-USDT", "ETH-USDT", "SOL-USDT")]
    ws.subscribe(args)
    book = ws.order_book("BTC-USDT").wait_ready(5)
    again = ws.subscribe(**args[2], queue=True)
    assert again.wait(5) and again.get(timeout=5)["arg"] == args[2]
    assert eventually(lambda: ws.latest(**args[1]))["arg"] == args[1]
    assert len(exchange.connects) == 4 and len({id(s.stream.link) for s in (again, book.subscription)}) == 2
    ws.unsubscribe(**args[2])
    eventually(lambda: all(arg != args[2] for desk in exchange.desks for arg in desk.args.values()))
    assert again.state == "closed" and book.synced
    cut(exchange, exchange.desks[0])
    book.wait_ready(5)
    stats = ws.stats()["endpoints"]["public"]
    assert [sorted(link) for link in stats["links"]] == 4 * [
        [
            "bytes",
            "conn_id",
            "connects",
            "last_error",
            "malformed",
            "messages",
            "round_trip_s",
            "state",
            "subscriptions",
        ]
    ]


def test_lines_open_and_end_while_many_threads_subscribe(exchange, connect):
    """close() from outside, while lines are still being dialled, ends every thread."""
    ws = connect(exchange, subscriptions_per_link=1, limits=Limits(connects_per_s=1))
    ws.subscribe([{"channel": "tickers", "instId": name} for name in ("BTC-USDT", "ETH-USDT", "SOL-USDT")])
    start = time.monotonic()
    ws.close()
    assert time.monotonic() - start < 1


def test_what_is_held_back_for_a_repair_goes_first_when_its_stream_moves(connect):
    """Acceptance 86: REST is slow, and OKX closes the link as too full: nothing is late, or missing untold."""
    args = [{"channel": "trades", "instId": instId} for instId in ("BTC-USDT", "ETH-USDT", "SOL-USDT", "BTC-USDT-SWAP")]
    got = {arg["instId"]: Got("trades") for arg in args}
    with LocalExchange(speed=10) as exchange:
        exchange.record()
        ws = connect(exchange, markers=True, backfill_timeout=60.0)
        watch = Watch(ws)
        ws.subscribe(args, handler=lambda message: got[message["arg"]["instId"]].take(message))

        def flow():
            before = {name: len(one.items) for name, one in got.items()}
            eventually(lambda: all(len(one.items) > before[name] + 10 for name, one in got.items()), timeout=15)

        flow()
        slow = exchange.faults.start("slow", what="rest", delay_s=60.0)
        refused = exchange.faults.start("refuse", what="upgrade")
        exchange.drop("public")
        watch.wait("disconnected")
        made = [len(exchange.sent(arg)) for arg in args]
        eventually(lambda: all(len(exchange.sent(a)) > n + 3 for a, n in zip(args, made, strict=True)), timeout=15)
        refused.stop()
        (line,) = ws._lines["public"].lines
        holds = line.keeper._holds
        eventually(lambda: len(holds) == 4 and all(len(hold._held) > 3 for hold in holds.values()), timeout=15)
        exchange.faults.start("close", endpoint="public", code=4009)
        watch.wait("notice")
        moved = [got[stream.arg["instId"]] for stream in ws._lines["public"].lines[1].session.subscriptions]
        assert len(moved) == 2
        eventually(lambda: all(one.holes["disconnect"] and isinstance(one.items[-1], Thing) for one in moved))
        slow.stop()
        flow()
        ws.close()
        for arg in args:
            truth = [thing for made in exchange.sent(arg) for thing in things_of("trades", made.push)]
            wrong, _ = complaints(got[arg["instId"]], truth)
            assert wrong == []
