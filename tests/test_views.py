"""`ws.account()` and `ws.orders()` over real sockets: readable only while they are proven current, and rebuilt."""

import json
import os
import queue
import sys
import threading
import time

import pytest

from okx_ws import (
    AccountState,
    AckTimeout,
    Backoff,
    ConnectionLost,
    Event,
    Limits,
    LoginError,
    ManagerClosed,
    OrderEnded,
    RestError,
    SubscribeError,
    UsageError,
    ViewOutOfSync,
    orders_keeper,
    orders_view,
)
from okx_ws.exchange import LocalExchange
from okx_ws.exchange.accounts import Account
from okx_ws.protocol import order_life
from tests.desk import KEY, Desk
from tests.peer import frame
from tests.protocol.test_holdings import account, detail, place, positions
from tests.protocol.test_order_life import fill, push
from tests.watch import Watch, eventually
from tests.web import http

MONEY, PLACES, ORDERS = (
    {"channel": "account"},
    {"channel": "positions", "instType": "ANY"},
    {"channel": "orders", "instType": "ANY"},
)


def money(kind="snapshot", *details, **more):
    return {"arg": {**MONEY, "uid": "7"}, **account(kind, *(details or [detail("BTC"), detail("USDT", "9")]), **more)}


def places(kind="snapshot", *rows, **more):
    return {"arg": {**PLACES, "uid": "7"}, **positions(kind, *rows, **more)}


def orders(*rows):
    return {"arg": {**ORDERS, "uid": "7"}, "data": list(rows)}


@pytest.fixture
def desk(peer, monkeypatch):
    monkeypatch.setattr(order_life, "LAG_S", 0.01)
    made = Desk(peer)
    yield made
    made.leave()


@pytest.fixture
def ws(desk, connect):
    return connect(urls=desk.urls, **KEY)


@pytest.fixture
def watch(ws):
    return Watch(ws)


@pytest.fixture
def held(desk, ws):
    """An account that is synced."""
    view = ws.account()
    assert desk.accept(money(), places("snapshot", place("A"))) == [MONEY, PLACES]
    return view.wait_synced(5)


@pytest.fixture
def book(desk, ws):
    """A view of the orders that is synced: one is open."""
    desk.orders["1"] = push("1")
    view = ws.orders()
    assert desk.accept() == [ORDERS]
    return view.wait_synced(5)


def breaks(watch):
    """Return what was told of broken views; holes of subscriptions have `data`."""
    return [event for event in watch.of("gap") if event.data is None]


def after_a_loss(desk, watch, *messages):
    """Cut the link, and see it come back."""
    desk.drop()
    watch.wait("disconnected")
    return desk.accept(*messages)


# ---------------------------------------------------------------------- the account


def test_an_account_is_read_in_the_exchanges_texts(held):
    """What is not there is zero, or closed."""
    assert held.synced and held.balance("USDT").cashBal == "9" and held.balance("DOGE").availBal == "0"
    assert sorted(held.balances()) == ["BTC", "USDT"] and held.totals["totalEq"] == "5"
    assert held.position("A").pos == "1" and held.position("B") is None and held.positions("B") == ()
    view = held.view()
    assert isinstance(view, AccountState) and view.synced and view.positions == held.positions()
    assert view.balances["BTC"].raw["eq"] == "1" and repr(held) == "<AccountView synced>"
    with pytest.raises(TypeError):
        view.balances["BTC"] = None


def test_a_view_asked_for_again_is_the_same(held, ws):
    """And after it was closed, a new one; whoever has the old one is told so."""
    assert ws.account() is held
    held.close()
    held.close()
    with pytest.raises(ViewOutOfSync, match="closed"):
        held.balances()
    with pytest.raises(UsageError, match="unsubscribed"):
        held.wait_synced(5)
    assert ws.account() is not held


def test_several_positions_of_an_instrument_want_to_be_told_apart(desk, held):
    """The one that is meant, or an error that says which there are."""
    rows = [place("A", posSide="long"), place("A", posSide="short", pos="2"), place("B", mgnMode="isolated")]
    desk.send(places("snapshot", *rows))
    eventually(lambda: len(held.positions()) == 3)
    assert held.position("A", "short").pos == "2" and held.position("A", posSide="long", mgnMode="cross").pos == "1"
    assert held.position("B", mgnMode="cross") is None
    with pytest.raises(UsageError, match="long cross USDT, short cross USDT"):
        held.position("A")


@pytest.mark.parametrize("call", [lambda held: held.balance(""), lambda held: held.balance(None)])
def test_a_call_that_cannot_be_right_is_refused(call, held):
    """A currency is a text."""
    with pytest.raises(UsageError):
        call(held)


@pytest.mark.parametrize(
    "call",
    [
        lambda ws: ws.account(5),
        lambda ws: ws.account(max_silence=-1),
        lambda ws: ws.orders(on_update=5),
        lambda ws: ws.orders(dedupe=None),
        lambda ws: ws.orders(""),
        lambda ws: ws.orders(instId=5),
    ],
)
def test_a_view_that_cannot_be_is_refused(call, ws):
    """Before anything is sent or started."""
    with pytest.raises(UsageError):
        call(ws)
    assert ws.stats()["endpoints"] == {}


def test_a_view_needs_a_key(desk, connect):
    """Acceptance 19: at once, and nothing is opened."""
    ws = connect(urls=desk.urls)
    for call, named in ((ws.account, "account"), (ws.orders, "orders")):
        with pytest.raises(UsageError, match=f"^{named} needs a login"):
            call()
    assert desk.server.connections == 0


def test_updates_are_merged_and_told(desk, ws):
    """Each change calls, on the link's thread, once the view is whole; what a handler raises harms nothing."""
    seen = queue.Queue()

    def on_update(view):
        seen.put((view.balance("BTC").eq, threading.current_thread().name))
        raise RuntimeError("mine")

    view = ws.account(on_update)
    desk.accept(money(), places())
    view.wait_synced(5)
    assert seen.get(timeout=5) == ("1", "okx-ws:private") and view.positions() == ()
    desk.send(money("event_update", detail("BTC", "4", "5")), places("event_update", place("A", "3")))
    assert [seen.get(timeout=5)[0] for _ in range(2)] == ["4", "4"]
    assert view.position("A").pos == "3" and view.balance("USDT").eq == "9"
    desk.send(places("event_update", place("A", "0", uTime="9")))
    seen.get(timeout=5)
    assert view.position("A") is None and ws.stats()["handler_errors"] == 4


def test_pages_count_when_they_are_complete(desk, ws):
    """Half a snapshot is none; the other stream waits for nobody."""
    view = ws.account()
    desk.accept(money("snapshot", detail("BTC"), last=False), places("snapshot", place("A")))
    eventually(lambda: view.view(stale_ok=True).positions)
    assert view.position("A").pos == "1" and not view.synced
    with pytest.raises(ViewOutOfSync, match="account: its snapshot has not come yet"):
        view.balance("BTC")
    desk.send(money("snapshot", detail("ETH"), page=2))
    assert sorted(view.wait_synced(5).balances()) == ["BTC", "ETH"]


def test_pages_torn_by_a_loss_are_no_snapshot(desk, ws, watch):
    """Page 1 of the old link and page 2 of the new one: asked for anew, on the same link, and told."""
    view = ws.account()
    desk.accept(money("snapshot", detail("BTC"), last=False), places("snapshot", place("A")))
    eventually(lambda: view.view(stale_ok=True).positions)
    after_a_loss(desk, watch, money("snapshot", detail("ETH"), page=2), places())
    assert watch.wait("gap", arg=MONEY, data=None).msg == "page 2 of a snapshot came after page 0"
    assert not view.synced and desk.renew(money("snapshot", detail("SOL"))) == [MONEY]
    watch.wait("repaired", arg=MONEY)
    assert list(view.wait_synced(5).balances()) == ["SOL"] and desk.server.connections == 2


def test_a_lost_link_makes_it_unreadable_until_a_new_snapshot(desk, held, watch):
    """What it was can still be seen, marked; what is not in the new snapshot is gone."""
    desk.drop()
    watch.wait("disconnected")
    with pytest.raises(ViewOutOfSync, match="there is no link"):
        held.balance("BTC")
    stale = held.view(stale_ok=True)
    assert not stale.synced and stale.balances["BTC"].eq == "1" and not held.synced
    desk.accept(money("snapshot", detail("BTC", "2")), places())
    view = held.wait_synced(5).view()
    assert {ccy: balance.eq for ccy, balance in view.balances.items()} == {"BTC": "2"} and view.positions == ()


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(money("event_update", detail("BTC", "x")), separators=(",", ":")),
        json.dumps(money("what"), separators=(",", ":")),
        json.dumps(money(), separators=(",", ":"))[:-3],
    ],
)
def test_a_malformed_message_breaks_that_stream_alone(text, desk, held, watch):
    """It cannot be read from then on, and is asked for anew; the positions go on."""
    desk.texts(text)
    watch.wait("gap", arg=MONEY, data=None)
    with pytest.raises(ViewOutOfSync, match="account: "):
        held.balance("BTC")
    assert held.position("A").pos == "1"
    assert desk.renew(money("snapshot", detail("ETH"))) == [MONEY]
    assert list(held.wait_synced(5).balances()) == ["ETH"]
    assert len(breaks(watch)) == 1


def test_a_hole_of_one_of_two_links_has_a_new_snapshot_asked_for(desk, ws, held):
    """The other one is not known to have had all: no epoch begins, and what was missed shows nowhere."""
    ws._tell(Event("gap", "private", MONEY, data={"cause": "disconnect", "since_ms": 1}))
    assert desk.renew(money("snapshot", detail("ETH"))) == [MONEY]
    assert list(held.wait_synced(5).balances()) == ["ETH"] and held.position("A").pos == "1"


def test_it_cannot_be_read_while_a_new_snapshot_is_still_to_be_asked_for(desk, connect):
    """OKX's limit has room for nothing more: broken it is all the same."""
    ws = connect(urls=desk.urls, **KEY, limits=Limits(connects_per_s=1000, requests_per_h=2))
    watch, view = Watch(ws), ws.account()
    desk.accept(money(), places())
    view.wait_synced(5)
    desk.send(money("what"))
    watch.wait("gap", arg=MONEY, data=None)
    with pytest.raises(ViewOutOfSync, match="account: malformed"):
        view.balance("BTC")


def test_what_comes_before_the_acknowledgement_counts_with_what_comes_after(desk, ws):
    """It may be of an attempt that was given up."""
    view = ws.account()
    requests = []

    def early(talk):
        requests.append(talk.read_request("subscribe"))
        for message in (money(), places("snapshot", place("A"))):
            talk.json(message)

    desk(early)
    eventually(lambda: view.view(stale_ok=True).positions)
    assert not view.synced
    desk(lambda talk: talk.ack(requests[0]))
    desk.send(money("event_update", detail("BTC", "2", "5")), places("event_update", place("B")))
    state = view.wait_synced(5).view()
    assert state.balances["BTC"].eq == "2" and len(state.positions) == 2


def test_what_a_stream_sends_while_it_is_left_does_not_count(desk, held, watch):
    """A snapshot of before, and an update of after, are no state."""
    desk.send(money("what"))
    watch.wait("gap", arg=MONEY, data=None)
    assert desk.renew(money("event_update", detail("BTC", "7", "5")), before=[money("snapshot", detail("OLD"))]) == [
        MONEY
    ]
    desk.send(places("event_update", place("B")))
    eventually(lambda: len(held.positions()) == 2)
    with pytest.raises(ViewOutOfSync):
        held.balances()
    desk.send(money("snapshot", detail("BTC", "8", "6")))
    assert list(held.wait_synced(5).balances()) == ["BTC"]


def test_markers_are_none_of_its_messages(desk, connect):
    """They tell of the hole in queues; the view knows of it."""
    ws = connect(urls=desk.urls, **KEY, markers=True)
    watch, view, book = Watch(ws), ws.account(), ws.orders()

    def accept(*messages):
        args = desk.accept()
        while len(args) < 3:
            args += desk.accept()
        desk.send(money(), places(), *messages)

    accept(orders(push("8")))
    eventually(lambda: view.synced and book.synced)
    desk.drop()
    watch.wait("disconnected")
    accept(orders(push("9")))
    view.wait_synced(5)
    assert book.wait_synced(5).get("c9").state == "live" and breaks(watch) == []


def test_what_is_subscribed_besides_gets_every_message(desk, ws):
    """A view takes nothing from the shared queue, nor from a handler."""
    ws.subscribe("account")
    desk.accept(money("snapshot", detail("BTC")))
    assert ws.get(timeout=5)["eventType"] == "snapshot"
    seen = queue.Queue()
    ws.on("positions", seen.put)
    view = ws.account()

    def act(talk):
        """One stream is subscribed anew, the other for the first time, in whatever requests."""
        request = {"op": "", "args": []}
        while request["op"] != "subscribe" or MONEY not in request["args"]:
            request = talk.read_request()
            talk.ack(request)
        talk.json(money("snapshot", detail("ETH")))
        talk.json(places("snapshot", place("A")))

    desk(act)
    view.wait_synced(5)
    assert ws.get(timeout=5)["data"][0]["details"][0]["ccy"] == "ETH"
    assert seen.get(timeout=5)["data"] == [place("A")]


def test_a_refused_channel_is_the_reason_to_wait_no_longer(desk, ws):
    """The connection count (okx-protocol 2.1): after the ack, and for good; asked for again it is subscribed again."""
    view = ws.account()
    desk.accept(money(), places())
    view.wait_synced(5)
    desk.send({"event": "channel-conn-count-error", "channel": "positions", "connCount": "30", "connId": "a4d3ae55"})
    eventually(lambda: not view.synced)
    with pytest.raises(SubscribeError, match="too many connections"):
        view.wait_synced(5)
    with pytest.raises(ViewOutOfSync, match="too many connections"):
        view.positions()
    assert view.balance("BTC").eq == "1"
    again = ws.account()
    assert again is not view


def test_the_local_exchange_repeats_its_pages(connect):
    """Each row a page of its own, again and again: the view follows, and stays whole over a loss."""
    with LocalExchange(speed=20, accounts=[Account(page_rows=1)]) as exchange:
        ws, seen = connect(exchange, **exchange.credentials), []
        watch = Watch(ws)
        view = ws.account(lambda view: seen.append(view.view())).wait_synced(5)
        assert sorted(view.balances()) == ["BTC", "ETH", "USDT"] and len(view.positions()) == 2
        eventually(lambda: len(seen) > 4)
        exchange.drop()
        watch.wait("disconnected")
        view.wait_synced(5)
        assert all(len(state.balances) == 3 and len(state.positions) == 2 and state.synced for state in seen)
        assert breaks(watch) == watch.of("handler_error") == []


def test_readers_never_see_half_a_change(desk, held):
    """Two threads read while updates of all currencies, and whole snapshots, come as fast as they can."""
    stop, wrong, reads = threading.Event(), [], [0, 0]
    ccys = [f"C{number}" for number in range(20)]

    def read(which):
        while not stop.is_set():
            found = {balance.eq for ccy, balance in held.balances().items() if ccy in ccys}
            if len(found) > 1:
                wrong.append(found)
            reads[which] += 1

    def change(number):
        kind = "snapshot" if number % 2 else "event_update"
        return money(kind, *[detail(ccy, str(number), str(number)) for ccy in ccys], uTime=str(number))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=read, args=(which,)) for which in (0, 1)]
    try:
        for thread in threads:
            thread.start()
        desk.send(*[change(number) for number in range(1, 300)])
        eventually(lambda: held.balance("C7").eq == "299", 30)
    finally:
        stop.set()
        for thread in threads:
            thread.join(5)
        sys.setswitchinterval(interval)
    assert wrong == [] and min(reads) > 50


def test_a_reader_does_not_hold_up_the_link(desk, held):
    """Whatever a reader does in the middle of reading; it reads again, since the state has changed."""
    within, go, found = threading.Event(), threading.Event(), []

    def slow():
        within.set()
        go.wait(5)
        return held._held["account"].held[("BTC",)].eq

    thread = threading.Thread(target=lambda: found.append(held._read(held._account, slow)))
    thread.start()
    assert within.wait(5)
    desk.send(money("event_update", detail("BTC", "6", "5")))
    eventually(lambda: held.balance("BTC").eq == "6")
    go.set()
    thread.join(5)
    assert found == [("6", True)]


# ---------------------------------------------------------------------- orders


def test_open_orders_are_asked_for_at_the_beginning(book, desk):
    """The stream tells nothing of what was before."""
    assert [order.ordId for order in book.open()] == ["1"] and book.open("ETH-USDT") == ()
    assert book.get("c1") is book.get(ordId="1") and book.get("nobody") is None
    state = book.view()
    assert (len(state.open), state.done, state.synced) == (1, (), True)
    assert desk.asked == [("/api/v5/trade/orders-pending", {"limit": "100"})]
    assert repr(book) == "<OrdersView synced>"


def test_a_life_is_told_once_each(desk, ws):
    """Acceptance 84: in order; duplicates are no news, but for those who want them; a subscription gets all of them."""
    news, everything = queue.Queue(), queue.Queue()
    view = ws.orders(on_update=news.put)
    assert ws.orders(on_update=everything.put, dedupe=False) is view
    ws.subscribe("orders", instType="ANY")
    desk.accept(
        *[orders(row) for row in (push(), fill(), fill(), push(state="filled", uTime=3, acc="2", tradeId="t2"))]
    )
    desk.send(orders(push(state="filled", uTime=3, acc="2", tradeId="t2")))
    view.wait_synced(5)
    assert [everything.get(timeout=5).state for _ in range(5)] == ["live", *["partially_filled"] * 2, *["filled"] * 2]
    assert [news.get(timeout=5).state for _ in range(3)] == ["live", "partially_filled", "filled"] and news.empty()
    assert [ws.get(timeout=5)["data"][0]["state"] for _ in range(5)][-1] == "filled"
    order = view.get("c1")
    assert order.done and view.open() == () and view.view().done == (order,)


def test_a_wait_for_an_order_that_is_not_known_yet(desk, book):
    """The push may come before the reply to the order: nobody has to be quicker."""
    found = queue.Queue()
    thread = threading.Thread(target=lambda: found.put(book.wait("c9", "filled", 10)))
    thread.start()
    desk.send(orders(push("9")), orders(fill("9")), orders(push("9", "filled", 5, "10")))
    assert found.get(timeout=5).state == "filled"
    thread.join(5)
    assert book.wait("c9", "live", 0).state == "filled" and book.get("c9").wait("partially_filled", 0).done


def test_an_order_that_ends_otherwise_is_told_at_once(desk, book):
    """A post-only order that would cross is only cancelled: to wait for it to be live would be in vain."""
    desk.send(orders(push("9", "canceled", cancelSource="31", ordType="post_only")))
    with pytest.raises(OrderEnded, match="order c9 is canceled; it was never live") as told:
        book.wait("c9", "live", 5)
    assert told.value.order.raw["cancelSource"] == "31" and book.wait("c9", timeout=5).done


def test_a_wait_says_how_far_it_is(desk, book):
    """An order's state, and whether the view can be believed."""
    with pytest.raises(TimeoutError, match="order c9 is not filled in 0 s: it is unheard of"):
        book.wait("c9", "filled", 0)
    desk.send(orders(fill("1", acc="3")))
    assert book.wait(ordId="1", state="partially_filled", timeout=5).accFillSz == "3"
    with pytest.raises(TimeoutError, match=r"order 1 is not done in 0.01 s: it is partially_filled \(filled 3 of 10\)"):
        book.get("c1").wait(timeout=0.01)


@pytest.mark.parametrize(
    "call",
    [
        lambda book: book.wait("c1", "gone"),
        lambda book: book.wait(),
        lambda book: book.wait("c1", ordId="1"),
        lambda book: book.wait(5),
        lambda book: book.wait("c1", instId=""),
        lambda book: book.wait(ordId="1", instId="BTC-USDT"),
        lambda book: book.get(),
        lambda book: book.get(""),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused(call, book):
    """Exactly one name, and a state there is."""
    with pytest.raises(UsageError):
        call(book)


def test_waiting_on_the_links_thread_is_refused(desk, ws):
    """It would wait for itself."""
    errors = queue.Queue()

    def on_update(order):
        for call in (order.wait, view.wait_synced):
            try:
                call()
            except UsageError as exc:
                errors.put(exc)

    view = ws.orders(on_update=on_update)
    desk.accept(orders(push("9")))
    assert all("a link's own thread" in str(errors.get(timeout=5)) for _ in range(2))


def test_a_loss_with_orders_changed_meanwhile(desk, book, watch):
    """Acceptance 90: filled, cancelled, amended and new while nobody was told; unreadable until REST has told."""
    desk.send(*[orders(push(number)) for number in "234"])
    eventually(lambda: len(book.open()) == 4)
    desk.orders |= {
        "1": push("1", "filled", 9, "10", avgPx="5.2"),
        "2": push("2", "canceled", 9),
        "4": push("4", uTime=9, px="6"),
        "5": push("5", uTime=9),
    }
    desk.gate.clear()
    desk.drop()
    watch.wait("disconnected")
    with pytest.raises(ViewOutOfSync, match="there is no link"):
        book.open()
    assert len(book.view(stale_ok=True).open) == 4 and not book.view(stale_ok=True).synced
    desk.accept()
    eventually(lambda: len(desk.asked) == 2)
    with pytest.raises(ViewOutOfSync, match="REST has not told yet"):
        book.get("c1")
    desk.send(orders(push("6", uTime=10)))
    desk.gate.set()
    book.wait_synced(5)
    assert {order.ordId: order.px for order in book.open()} == {"4": "6", "5": "5", "6": "5"}
    assert {order.ordId: order.state for order in book.view().done} == {"1": "filled", "2": "canceled", "3": "unknown"}
    assert desk.questions()[1:] == ["page ", "1", "2", "3", "3"]
    filled = book.get("c1")
    assert filled.avgPx == "5.2" and filled.history == (("live", "1"), ("filled", "9")) and not filled.fills_complete


def test_a_view_does_not_wait_until_the_hole_of_a_subscription_is_filled(desk, connect):
    """It asks for what it missed itself; what comes now, it has now: the queue gets that behind what was missed."""
    ws = connect(urls=desk.urls, **{**KEY, "backfill": True}, backfill_timeout=20)
    watch, view = Watch(ws), ws.orders()
    subscription = ws.subscribe("orders", instType="ANY", queue=True)
    desk.accept(orders(push("1", cTime="1765201257005")))
    desk.orders["1"] = push("1")
    view.wait_synced(5)
    subscription.get(timeout=5)
    desk.fills_known.clear()
    after_a_loss(desk, watch, orders(push("2", uTime=9)))
    view.wait_synced(5)
    desk.send(orders(push("3", uTime=10)))
    assert view.wait("c3", "live", 2) and view.synced
    assert subscription.own_queue.empty()
    desk.fills_known.set()
    assert [subscription.get(timeout=5)["data"][0]["ordId"] for _ in range(2)] == ["2", "3"]


def test_a_wait_goes_on_through_a_hole(desk, book, watch):
    """An order that ended in it; and one that was made in it and ended, if its instrument is known."""
    found = queue.Queue()
    waits = [
        threading.Thread(target=lambda: found.put(book.wait("c1", "filled", 10))),
        threading.Thread(target=lambda: found.put(book.wait("mine", "filled", 10, instId="BTC-USDT"))),
    ]
    for thread in waits:
        thread.start()
    eventually(lambda: "mine" in desk.questions())
    desk.orders |= {"1": push("1", "filled", 9, "10"), "7": push("7", "filled", 9, "10", clOrdId="mine")}
    after_a_loss(desk, watch)
    assert {found.get(timeout=5).clOrdId for _ in waits} == {"c1", "mine"}
    for thread in waits:
        thread.join(5)
    assert book._keeper.waited == {}


def test_an_order_that_ended_before_the_view_began_is_found_by_its_instrument(desk, book):
    """Asked for once, at once."""
    desk.orders["7"] = push("7", "filled", 9, "10", clOrdId="mine")
    assert book.wait("mine", "filled", 5, instId="BTC-USDT").ordId == "7"


def test_thousands_of_open_orders_are_asked_for_page_by_page(desk, ws):
    """And reading them holds nobody up."""
    desk.orders = {str(number): push(str(number)) for number in range(1, 2_501)}
    view = ws.orders()
    desk.accept()
    assert len(view.wait_synced(10).open()) == 2_500
    assert len(desk.asked) == 26 and desk.questions()[-1] == "page 1"


def test_thousands_of_orders_that_end_leave_little(desk, book):
    """The last 1,000 are kept."""
    rows = [row for number in range(2, 4_002) for row in (push(str(number)), push(str(number), "canceled", 2))]
    desk.send(*[orders(*rows[start : start + 100]) for start in range(0, len(rows), 100)])
    eventually(lambda: (found := book.view()).done and found.done[-1].ordId == "4001")
    assert len(book.view().done) == orders_view.KEEP and len(book.open()) == 1


def test_a_hole_that_is_told_while_a_link_goes_on_is_asked_about(desk, ws, book):
    """As of two links, one of which is lost while the other is not known yet to have all: no epoch begins then."""
    desk.orders["2"] = push("2")
    ws._tell(Event("gap", "private", ORDERS, data={"cause": "disconnect", "since_ms": 1}))
    eventually(lambda: {order.ordId for order in book.view(stale_ok=True).open} == {"1", "2"} and book.synced)


def test_a_busy_rest_is_asked_again(desk, ws, watch):
    """A failure that may pass costs a moment; the text says what the view waits for."""
    for _ in range(2):
        desk.answers.put(http('{"code":"50001","msg":"Service temporarily unavailable","data":[]}', "503 Unavailable"))
    desk.orders["1"] = push("1")
    view = ws.orders()
    desk.accept()
    assert len(view.wait_synced(10).open()) == 1 and len(desk.asked) == 3


def test_a_refusal_of_rest_is_told_and_raised(desk, ws, watch, monkeypatch):
    """Not current, and it says why; it is asked again, seldom, and in the end the view is whole."""
    monkeypatch.setattr(orders_keeper, "BACKOFF", Backoff(first_s=0.01, cap_s=0.3))
    for _ in range(2):
        desk.answers.put(http('{"code":"50120","msg":"This API key doesn\'t have permission","data":[]}'))
    view = ws.orders()
    desk.accept()
    with pytest.raises(RestError, match="50120.*lacks the permission"):
        view.wait_synced(10)
    assert "50120" in watch.wait("notice", arg=ORDERS).msg
    eventually(lambda: view.synced)
    assert view.wait_synced(5).open() == () and len(desk.asked) == 3
    assert len([event for event in watch.of("notice") if event.arg == ORDERS]) == 1


def test_rest_that_answers_nonsense_proves_nothing(desk, ws):
    """Acceptance 89: rows that are no orders, and no JSON at all: asked again, and soon; nobody refused anything."""
    desk.answers.put(http('{"code":"0","msg":"","data":[{"ordId":"1"}]}'))
    desk.answers.put(http("<html>"))
    view = ws.orders()
    desk.accept()
    assert view.wait_synced(10).open() == () and len(desk.asked) == 3


def test_rest_that_cannot_be_reached_is_named(peer, connect, monkeypatch):
    """Time-out with the reason."""
    monkeypatch.setattr(orders_keeper, "QUESTION_S", 0.5)
    made = Desk(peer)
    ws = connect(urls={**made.urls, "rest": "http://127.0.0.1:9"}, **KEY)
    view = ws.orders()
    made.accept()
    eventually(lambda: "REST does not tell" in view._why(view.streams), 10)
    with pytest.raises(AckTimeout, match="no view of the orders in 0.01 s: orders: REST does not tell the orders"):
        view.wait_synced(0.01)
    made.leave()


def test_a_malformed_push_makes_it_unreadable_until_rest_has_told(desk, book, watch):
    """On the same link: nothing else says so."""
    desk.gate.clear()
    desk.send(orders(5))
    watch.wait("gap", arg=ORDERS, data=None)
    with pytest.raises(ViewOutOfSync, match="REST has not told yet"):
        book.open()
    desk.gate.set()
    assert len(book.wait_synced(5).open()) == 1


@pytest.mark.parametrize("row", [{"ordId": "9"}, push("9", uTime="x"), 5])
def test_a_malformed_push_has_rest_asked(row, desk, book, watch):
    """It may have been about any order; the good rows before it count."""
    desk.orders["9"] = push("9")
    desk.send(orders(push("8"), row))
    watch.wait("gap", arg=ORDERS, data=None)
    watch.wait("repaired", arg=ORDERS)
    assert sorted(order.ordId for order in book.wait_synced(5).open()) == ["1", "9"]
    assert book.get(ordId="8").state == "unknown" and desk.questions() == ["page ", "page ", "8", "8"]


def test_a_push_that_is_no_JSON_has_rest_asked(desk, book, watch):
    """Told as malformed, too."""
    desk.send(orders(push("8")))
    eventually(lambda: book.get("c8"))
    desk.orders["8"] = push("8", "filled", 9, "10")
    desk.texts(json.dumps(orders(push("8", "filled", 9, "10")), separators=(",", ":"))[:-5])
    watch.wait("malformed")
    watch.wait("repaired", arg=ORDERS)
    assert book.get("c8").state == "filled"


@pytest.mark.parametrize("together", [True, False])
def test_what_is_pushed_with_the_acknowledgement_or_before_it_is_known(together, desk, ws):
    """REST, which may be behind, does not undo it."""

    def act(talk):
        request = talk.read_request("subscribe")
        if not together:
            talk.json(orders(push("9")))
            eventually(lambda: view.view(stale_ok=True).open)
        frames = [{"id": request["id"], "event": "subscribe", "arg": ORDERS, "connId": "a4d3ae55"}, orders(push("8"))]
        talk.send(b"".join(frame(json.dumps(one, separators=(",", ":"))) for one in frames))

    view = ws.orders()
    desk(act)
    view.wait_synced(5)
    assert all(order.state == "live" for order in view.open()) and len(view.open()) == 2 - together


def test_a_second_loss_while_rest_is_asked_begins_again(desk, book, watch):
    """An answer to the first hole proves nothing about the second."""
    desk.gate.clear()
    after_a_loss(desk, watch)
    eventually(lambda: len(desk.asked) == 2)
    desk.drop()
    watch.wait("disconnected")
    assert desk.accept() == [ORDERS]
    desk.let_one()
    eventually(lambda: len(desk.asked) == 3)
    desk.send(orders(push("9")))
    eventually(lambda: len(book.view(stale_ok=True).open) == 2)
    assert not book.synced
    desk.orders["1"] = push("1", "canceled", 9)
    desk.gate.set()
    assert [order.ordId for order in book.wait_synced(5).open()] == ["9"] and book.get("c1").state == "canceled"


def test_narrow_views_ask_narrowly(desk, ws):
    """By type and instrument; each is one of its own."""
    view = ws.orders("SWAP", instId="BTC-USDT-SWAP")
    assert desk.accept() == [{"channel": "orders", "instType": "SWAP", "instId": "BTC-USDT-SWAP"}]
    view.wait_synced(5)
    assert desk.asked[0][1] == {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "limit": "100"}
    assert ws.orders() is not view


def test_a_view_of_orders_that_are_subscribed_already(desk, ws):
    """Nothing is sent for it, and REST is asked all the same."""
    ws.subscribe("orders", instType="ANY")
    desk.accept()
    eventually(lambda: ws.stats()["endpoints"]["private"]["subscriptions"][0]["state"] == "active")
    assert ws.orders().wait_synced(5).open() == () and desk.questions() == ["page "]


# ---------------------------------------------------------------------- the end


def test_closing_lets_those_go_who_wait(desk, book, ws):
    """At once, with the reason."""
    errors = queue.Queue()

    def wait(call):
        try:
            call()
        except Exception as exc:
            errors.put(exc)

    calls = (lambda: book.wait("c9", "filled", None), lambda: book.get("c1").wait(timeout=30))
    threads = [threading.Thread(target=wait, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    eventually(lambda: all(thread.is_alive() for thread in threads))
    began = time.monotonic()
    ws.close()
    assert [type(errors.get(timeout=5)) for _ in threads] == [ManagerClosed] * 2 and time.monotonic() - began < 2
    for thread in threads:
        thread.join(5)
    with pytest.raises(ViewOutOfSync):
        book.open()
    for call in (ws.orders, ws.account):
        with pytest.raises(ManagerClosed):
            call()


def test_closing_while_rest_is_asked_does_not_hang(desk, ws):
    """The worker is left behind, if it must."""
    desk.gate.clear()
    ws.orders()
    desk.accept()
    eventually(lambda: desk.asked)
    began = time.monotonic()
    ws.close()
    assert time.monotonic() - began < 2
    desk.gate.set()


def test_closing_one_view_leaves_the_other(desk, book, ws):
    """And ends its subscription; closed while REST is asked, it asks no more."""
    view = ws.account()
    desk.accept(money(), places())
    view.wait_synced(5)
    book.close()
    assert desk(lambda talk: talk.read_request("unsubscribe"))["args"] == [ORDERS]
    assert view.synced and not book.synced
    with pytest.raises(ViewOutOfSync, match="closed"):
        book.get("c1")
    with pytest.raises(UsageError):
        book.wait("c1", "filled", 5)


def test_a_refused_login_is_raised(connect):
    """Acceptance 20: by whoever waits."""
    with LocalExchange() as exchange:
        ws = connect(exchange, **{**exchange.credentials, "passphrase": "not this one"})
        view = ws.orders()
        with pytest.raises(LoginError):
            view.wait_synced(5)
        with pytest.raises(LoginError):
            ws.account().wait_synced(5)


def test_a_link_that_does_not_come_back_is_raised(desk, connect):
    """reconnect=False."""
    ws = connect(urls=desk.urls, reconnect=False, **KEY)
    view = ws.orders()
    desk.accept()
    view.wait_synced(5)
    desk.drop()
    with pytest.raises(ConnectionLost):
        view.wait("c9", timeout=5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_cannot_read_it(held, book):
    """Nothing changes it there."""
    if (pid := os.fork()) == 0:
        code = 1
        try:
            code = (
                0 if not held.synced and "another process" in str(pytest.raises(ViewOutOfSync, book.open).value) else 2
            )
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
