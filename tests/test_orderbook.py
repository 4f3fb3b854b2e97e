"""`OrderBook` over real sockets: readable only while it is proven current, and mended on the same link."""

import json
import queue
import sys
import threading
import time
from decimal import Decimal

import pytest

from okx_ws import (
    AckTimeout,
    BookOutOfSync,
    BookView,
    ConnectionLost,
    Level,
    ManagerClosed,
    SubscribeError,
    UsageError,
    subscribing,
)
from okx_ws.exchange import LocalExchange
from okx_ws.protocol import login
from tests.protocol.test_book import row
from tests.watch import Watch, eventually
from tests.web import http

BOOKS = {"channel": "books", "instId": "BTC-USDT"}
ASKS, BIDS = (("101", "1"), ("102.5", "2")), (("100", "3"), ("99", "4"))


def push(action, asks=(), bids=(), seqId=10, prevSeqId=-1, arg=BOOKS):
    return {"arg": arg, "action": action, "data": [row(asks, bids, seqId, prevSeqId)]}


def snapshot(asks=ASKS, bids=BIDS, seqId=10, **more):
    return push("snapshot", asks, bids, seqId, **more)


def update(asks=(), bids=(), seqId=15, prevSeqId=10, **more):
    return push("update", asks, bids, seqId, prevSeqId, **more)


class Orders:
    """What a scripted peer is told to do: the test puts functions of the conversation."""

    def __init__(self, peer, first=lambda peer: peer.json(snapshot())):
        self._todo = queue.Queue()
        self._done = queue.Queue()
        self._first = first
        self.server = peer(self._script)

    def _script(self, conversation):
        conversation.subscribed()
        self._first(conversation)
        while (action := self._todo.get(timeout=10)) is not None:
            self._done.put(action(conversation))
        conversation.until_gone()

    def __call__(self, action):
        """Have the peer do something; return what that returns."""
        self._todo.put(action)
        return self._done.get(timeout=10)

    def send(self, *messages):
        self(lambda peer: [peer.json(message) for message in messages])

    def renew(self, *messages):
        """See exactly one unsubscribe and one subscribe, and send what follows the second ack."""

        def act(peer):
            for op in ("unsubscribe", "subscribe"):
                request = peer.read_request(op)
                assert request["args"] == [BOOKS]
                peer.ack(request)
            for message in messages:
                peer.json(message)

        self(act)

    def leave(self):
        self._todo.put(None)


@pytest.fixture
def orders(peer):
    made = []

    def make(**options):
        made.append(Orders(peer, **options))
        return made[-1]

    yield make
    for one in made:
        one.leave()


@pytest.fixture
def talk(orders, connect):
    """A peer that follows orders, a manager, its events, and a book that is ready."""
    told = orders()
    ws = connect(urls=told.server.urls)
    watch = Watch(ws)
    return told, ws, watch, ws.order_book("BTC-USDT").wait_ready(5)


def px(levels):
    return [level.px for level in levels]


# ---------------------------------------------------------------------- reading


def test_a_book_is_read_in_the_exchanges_texts(talk):
    """Best first; what is computed is an exact Decimal."""
    _, _, _, book = talk
    assert book.synced
    assert book.best_bid == Level("100", "3", "1") and book.best_ask == Level("101", "1", "1", None)
    assert px(book.bids(1)) == ["100"] and px(book.asks()) == ["101", "102.5"] and book.bids(0) == ()
    assert (book.mid, book.spread) == (Decimal("100.5"), Decimal("1"))
    view = book.view(1)
    assert isinstance(view, BookView) and (view.seqId, view.ts, view.synced) == (10, "1765201257005", True)
    assert (px(view.bids), px(view.asks)) == (["100"], ["101"])
    assert repr(book) == f"<OrderBook {BOOKS} synced seqId=10>"


def test_depth_and_cost_are_exact(talk):
    """No float anywhere; not enough is None."""
    _, _, _, book = talk
    assert book.depth_at("102.50") == book.depth_at(Decimal("102.5")) == 2 and book.depth_at(7) == 0
    assert book.cost_to_fill("buy", "1.5") == Decimal("152.25")
    assert book.cost_to_fill("sell", 7) == 3 * 100 + 4 * 99
    assert book.cost_to_fill("buy", "3.00000000000000000000000001") is None and book.cost_to_fill("buy", 0) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda book: book.depth_at(100.0),
        lambda book: book.depth_at("x"),
        lambda book: book.depth_at("nan"),
        lambda book: book.depth_at(True),
        lambda book: book.cost_to_fill("BUY", "1"),
        lambda book: book.cost_to_fill("buy", "-1"),
        lambda book: book.bids(-1),
        lambda book: book.asks("1"),
        lambda book: book.view(depth=1.5),
    ],
)
def test_a_call_that_cannot_be_right_is_refused(call, talk):
    """A float is not exact; a depth is a number of levels."""
    with pytest.raises(UsageError):
        call(talk[3])


@pytest.mark.parametrize(
    ("instId", "options"),
    [("BTC-USDT", {"channel": "tickers"}), ("", {}), (None, {}), ("BTC-USDT", {"on_update": 5}), ("X", {"channel": 5})],
)
def test_a_book_that_cannot_be_is_refused(instId, options, connect):
    """Before anything is sent."""
    with pytest.raises(UsageError):
        connect().order_book(instId, **options)


def test_empty_and_one_sided_books_are_books(talk):
    """Acceptance 47: nothing is best, in the middle or between."""
    told, _, watch, book = talk
    told.send(update(bids=[("100", "0"), ("99", "0")]))
    eventually(lambda: book.view().seqId == 15)
    assert (book.best_bid, book.mid, book.spread) == (None, None, None) and book.best_ask.px == "101"
    told.send(update(asks=[("101", "0"), ("102.5", "0")], seqId=16, prevSeqId=15))
    eventually(lambda: book.view().seqId == 16)
    assert book.view()[:2] == ((), ()) and book.cost_to_fill("sell", 1) is None and book.synced


def test_a_spread_is_subscribed_by_its_own_name(orders, connect):
    """sprd-books-l2-tbt: sprdId, on /business, rows of three fields."""
    arg = {"channel": "sprd-books-l2-tbt", "sprdId": "A_B"}
    rows = {**row(seqId=1), "asks": [["1", "2", "3"]]}
    told = orders(first=lambda peer: peer.json({"arg": arg, "action": "snapshot", "data": [rows]}))
    ws = connect(urls=told.server.urls)
    book = ws.order_book("A_B", channel="sprd-books-l2-tbt").wait_ready(5)
    assert book.arg == arg and book.best_ask == Level("1", "2", "3") and list(ws.stats()["endpoints"]) == ["business"]


@pytest.mark.parametrize("channel", ["books", "books5", "bbo-tbt", "books-rpi", "books-l2-tbt", "books50-l2-tbt"])
def test_every_book_of_the_local_exchange_follows_it(channel, connect):
    """Acceptance 49, 60: a hundred changes in a row, none of them a gap; then it is what the feed has."""
    with LocalExchange(speed=20) as exchange:
        ws = connect(exchange, **exchange.credentials)
        watch, changes = Watch(ws), []
        book = ws.order_book("BTC-USDT-SWAP", channel=channel, on_update=lambda book: changes.append(book.view(1)))
        book.wait_ready(5)
        eventually(lambda: len(changes) >= 100, 20)
        assert all(view.synced and view.seqId is not None for view in changes)
        depth = {"books5": 5, "bbo-tbt": 1, "books50-l2-tbt": 50}.get(channel, 400)
        assert len(book.bids()) == len(book.asks()) == depth
        assert (book.best_ask.nonRpiSz is not None) == (channel == "books-rpi")
        assert watch.of("gap") == watch.of("handler_error") == []


# ---------------------------------------------------------------------- gaps


def test_a_gap_is_mended_by_one_unsubscribe_and_subscribe_on_the_same_link(talk):
    """Acceptance 50, 51: unreadable at once; what is queued of the old chain starts nothing; told, then repaired."""
    told, _, watch, book = talk
    told.send(
        update([("101", "9")], seqId=21, prevSeqId=20),
        update(seqId=23, prevSeqId=22),
        update(seqId=25, prevSeqId=24),
    )
    gap = watch.wait("gap", arg=BOOKS)
    assert gap.msg == "a gap: prevSeqId 20 after seqId 10"
    with pytest.raises(BookOutOfSync, match="a gap: prevSeqId 20 after seqId 10"):
        book.best_bid
    stale = book.view(stale_ok=True)
    assert (stale.synced, stale.seqId, px(stale.asks)) == (False, 10, ["101", "102.5"])
    told.renew(snapshot([("7", "1")], [], seqId=30))
    watch.wait("repaired", arg=BOOKS)
    assert book.wait_ready(5).view()[:3] == ((), (Level("7", "1", "1"),), 30)
    told.send(update([("8", "1")], seqId=31, prevSeqId=30))
    eventually(lambda: px(book.asks()) == ["7", "8"])
    assert told.server.connections == 1 and len(watch.of("gap")) == 1


def test_the_captured_gap_over_a_socket(frames, orders, connect):
    """Acceptance 50: the frames of July 2026, byte for byte."""
    lines = (frames / "books_2026-07_snapshot_seq_checksum0.jsonl").read_text().splitlines()[1:]
    (gap,) = (frames / "books_2026-07_gap_update.jsonl").read_text().splitlines()
    told = orders(first=lambda peer: [peer.text(line) for line in lines])
    ws = connect(urls=told.server.urls)
    watch = Watch(ws)
    book = ws.order_book("BTC-USDT").wait_ready(5)
    eventually(lambda: book.view().seqId == 78677952687)
    assert len(book.bids()) == len(book.asks()) == 400
    told(lambda peer: peer.text(gap))
    watch.wait("gap")
    assert not book.synced
    told.renew(json.loads(lines[0]))
    assert book.wait_ready(5).view().seqId == json.loads(lines[0])["data"][0]["seqId"]


def test_an_update_before_any_snapshot_is_refused(orders, connect):
    """Acceptance 55: never applied to an empty book; where REST cannot help, a snapshot is asked for."""
    told = orders(first=lambda peer: peer.json(update([("101", "1")])))
    ws = connect(urls=told.server.urls)
    watch = Watch(ws)
    book = ws.order_book("BTC-USDT")
    assert watch.wait("gap", timeout=15).msg.startswith("an update before any snapshot; REST /api/v5/market/books: ")
    assert book.view(stale_ok=True)[:2] == ((), ())
    told.renew(snapshot())
    assert px(book.wait_ready(5).asks()) == ["101", "102.5"]


def test_a_second_snapshot_replaces_the_book(talk):
    """Acceptance 54, 56: nothing of the old levels survives; and a reset to a smaller number goes on."""
    told, _, watch, book = talk
    told.send(snapshot([("7", "1")], [], seqId=30), update([("8", "1")], seqId=4, prevSeqId=30))
    eventually(lambda: book.view().seqId == 4)
    assert px(book.asks()) == ["7", "8"] and book.bids() == () and watch.of("gap") == []


@pytest.mark.parametrize("again", [[], [snapshot([("101", "7")], BIDS, seqId=15)]], ids=["no snapshot", "a snapshot"])
def test_a_second_acknowledgement_of_a_live_arg_doubles_nothing(again, talk):
    """Acceptance 32: OKX acks a repeated arg again, and may or may not send a second snapshot with it."""
    told, _, watch, book = talk
    told.send(update([("101", "7")]), {"event": "subscribe", "arg": BOOKS, "connId": "c0"}, *again)
    told.send(update([("102.5", "0"), ("103", "1")], seqId=17, prevSeqId=15))
    eventually(lambda: book.view().seqId == 17)
    left = ["101", "103"]
    assert px(book.asks()) == left and book.depth_at("101") == 7 and watch.of("gap") == []


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(update([("1e5", "1")]), separators=(",", ":")),
        json.dumps(update([("101", "-1")]), separators=(",", ":")),
        json.dumps({**update(), "data": []}, separators=(",", ":")),
        json.dumps(update(), separators=(",", ":"))[:-3],
    ],
)
def test_a_malformed_message_breaks_that_book_alone(text, peer, connect):
    """Acceptance 61: the other one goes on, on the same link."""
    other, go = {**BOOKS, "instId": "ETH-USDT"}, threading.Event()

    def script(conversation):
        conversation.upgrade()
        for arg in (BOOKS, other):
            request = conversation.read_request("subscribe")
            conversation.ack(request)
            conversation.json(snapshot(arg=arg))
            conversation.json(update([], [("100", "5")], 12, 10, arg=arg))
        assert go.wait(5)
        conversation.text(text)
        for op in ("unsubscribe", "subscribe"):
            request = conversation.read_request(op)
            assert request["args"] == [BOOKS]
            conversation.ack(request)
        conversation.json(update([], [("100", "6")], 15, 12, arg=other))
        conversation.json(snapshot(seqId=40))
        conversation.until_gone()

    ws = connect(urls=peer(script).urls)
    watch, states = Watch(ws), []
    first = ws.order_book("BTC-USDT").wait_ready(5)
    second = ws.order_book("ETH-USDT", on_update=lambda book: states.append(first.synced)).wait_ready(5)
    eventually(lambda: second.view().seqId == 12 and first.view().seqId == 12)
    go.set()
    assert watch.wait("gap").arg == BOOKS
    eventually(lambda: second.view().seqId == 15)
    assert first.wait_ready(5).view().seqId == 40 and len(watch.of("gap")) == 1
    assert states[-1] is False


def test_books_nobody_subscribed_are_told_and_not_added(talk):
    """Acceptance 63."""
    told, _, watch, book = talk
    foreign = {**BOOKS, "instId": "ETH-USDT"}
    told.send(snapshot([("7", "1")], arg=foreign), update([("101", "9")]))
    assert watch.wait("unmatched").arg == foreign
    eventually(lambda: book.asks(1)[0].sz == "9")


def test_a_keep_alive_is_no_update(orders, connect):
    """Acceptance 52: it proves life and tells nothing."""
    told, seen = orders(), []
    book = connect(urls=told.server.urls).order_book("BTC-USDT", on_update=lambda book: seen.append(book.view().seqId))
    book.wait_ready(5)
    told.send(update(seqId=10, prevSeqId=10), update(bids=[("100", "9")]), update(seqId=15, prevSeqId=15))
    told.send(update(bids=[("100", "1")], seqId=17, prevSeqId=15))
    eventually(lambda: 17 in seen)
    assert seen == [10, 15, 17]


# ---------------------------------------------------------------------- snapshots that are late, refused, or not there


def test_a_snapshot_that_never_comes_is_asked_for_anew_and_a_late_one_is_not_adopted(orders, connect, monkeypatch):
    """Acceptance 57: each attempt is told; what comes for one that was given up is not this one's."""
    monkeypatch.setattr(subscribing, "SNAPSHOT_S", 0.05)
    told = orders(first=lambda peer: None)
    ws = connect(urls=told.server.urls)
    watch, seen = Watch(ws), []
    book = ws.order_book("BTC-USDT", on_update=lambda book: seen.append(book.view().seqId))
    told.renew()
    with pytest.raises(AckTimeout, match="its snapshot has not come yet"):
        book.wait_ready(0.01)
    late, new = snapshot([("1", "1")], seqId=1), snapshot(seqId=50)

    def act(peer):
        request = peer.read_request("unsubscribe")
        peer.json(late)
        peer.ack(request)
        peer.json(late)
        request = peer.read_request("subscribe")
        peer.json(late)
        peer.pause(0.1)  # so that it is a read of its own
        peer.ack(request)
        peer.pause(0.02)
        peer.json(new)

    told(act)
    assert book.wait_ready(5).view().seqId == 50 and seen == [50]
    attempts = [event for event in watch.of("subscribe_failed") if "no snapshot in 0.05 s" in event.msg]
    assert len(attempts) == 2 and all(event.delay_s is not None for event in attempts)


def test_a_snapshot_before_the_acknowledgement_counts_once_the_next_message_follows_from_it(peer, connect):
    """Acceptance 26: data may precede the ack; but it might be of an attempt that was given up."""
    go = threading.Event()

    def script(conversation):
        conversation.upgrade()
        request = conversation.read_request("subscribe")
        conversation.json(snapshot())
        conversation.pause(0.1)
        conversation.ack(request)
        assert go.wait(5)
        conversation.json(update(seqId=10))
        conversation.until_gone()

    ws = connect(urls=peer(script).urls)
    book = ws.order_book("BTC-USDT")
    book.subscription.wait(5)
    assert not book.synced and book.view(stale_ok=True).seqId == 10
    go.set()
    assert book.wait_ready(5).view().seqId == 10


@pytest.mark.parametrize("code", ["50011", "60014", "64007"])
def test_a_resubscribe_that_is_refused_for_now_is_tried_again(code, talk, monkeypatch):
    """Acceptance 58."""
    monkeypatch.setattr(login, "RETRY_FIRST_S", 0.1)
    told, _, watch, book = talk
    told.send(update(seqId=21, prevSeqId=20))

    def act(peer):
        peer.ack(peer.read_request("unsubscribe"))
        request = peer.read_request("subscribe")
        peer.json({"id": request["id"], "event": "error", "code": code, "msg": "later", "connId": "a"})
        peer.ack(peer.read_request("subscribe"))
        peer.json(snapshot(seqId=50))

    told(act)
    assert watch.wait("subscribe_failed").delay_s > 0
    assert book.wait_ready(5).view().seqId == 50


def test_a_resubscribe_that_is_refused_for_good_stops_and_says_so(talk):
    """Acceptance 58: 60018; the subscription stands as rejected, and a user's new one serves this book too."""
    told, ws, watch, book = talk
    told.send(update(seqId=21, prevSeqId=20))

    def act(peer):
        peer.ack(peer.read_request("unsubscribe"))
        request = peer.read_request("subscribe")
        msg = "channel:books,instId:BTC-USDT doesn't exist"
        peer.json({"id": request["id"], "event": "error", "code": "60018", "msg": msg, "connId": "a"})

    told(act)
    with pytest.raises(SubscribeError, match="60018"):
        book.wait_ready(5)
    with pytest.raises(BookOutOfSync, match="OKX refused it: 60018"):
        book.best_ask
    assert book.subscription.state == "rejected"
    ws.order_book("BTC-USDT")
    told(lambda peer: [peer.ack(peer.read_request("subscribe")), peer.json(snapshot(seqId=50))])
    assert book.wait_ready(5).view().seqId == 50


def test_a_refused_book_raises_what_okx_said(exchange, connect):
    """An instrument that is not there."""
    with pytest.raises(SubscribeError, match="60018"):
        connect(exchange).order_book("NO-SUCH").wait_ready(5)


# ---------------------------------------------------------------------- links


def test_a_lost_link_makes_the_book_unreadable_and_a_new_one_mends_it(peer, connect):
    """Acceptance 56: at once, with no ghost of the old levels; and not by the acknowledgement alone."""
    go = threading.Event()

    def script(conversation):
        request = conversation.subscribed()
        assert request["args"] == [BOOKS]
        if conversation.number == 1:
            conversation.json(snapshot())
            assert go.wait(5)
            go.clear()
            return
        assert go.wait(5)
        conversation.json(snapshot([("7", "1")], [], seqId=3))
        conversation.until_gone()

    ws = connect(urls=peer(script).urls)
    watch = Watch(ws)
    book = ws.order_book("BTC-USDT").wait_ready(5)
    watch.wait("subscribed")
    go.set()
    watch.wait("disconnected")
    assert not book.synced
    with pytest.raises(BookOutOfSync):
        book.view()
    watch.wait("subscribed")
    assert not book.synced and px(book.view(stale_ok=True).asks) == ["101", "102.5"]
    go.set()
    assert book.wait_ready(5).view()[:3] == ((), (Level("7", "1", "1"),), 3)
    assert [event.data["cause"] for event in watch.of("gap")] == ["disconnect"], "of the stream, not of the book"


def test_a_link_that_stays_lost_is_the_reason(peer, connect):
    """What the errors say."""
    ws = connect(urls=peer(lambda conversation: conversation.reset()).urls)
    book = ws.order_book("BTC-USDT")
    with pytest.raises(BookOutOfSync, match="there is no link"):
        book.view()
    with pytest.raises(AckTimeout, match="there is no link; last error"):
        book.wait_ready(0.3)


def test_a_link_that_is_not_made_again_ends_the_wait(peer, connect):
    """reconnect=False."""
    ws = connect(urls=peer(lambda conversation: conversation.reset()).urls, reconnect=False)
    with pytest.raises(ConnectionLost):
        ws.order_book("BTC-USDT").wait_ready(5)


# ---------------------------------------------------------------------- several, closing


def test_a_second_book_of_the_same_arg_gets_a_snapshot_of_its_own(talk):
    """It joins mid-stream; and plain subscribers of the arg see what OKX sends."""
    told, ws, watch, book = talk
    plain = ws.subscribe("books", instId="BTC-USDT", queue=True)
    told.send(update(bids=[("100", "9")]))
    assert plain.get(5)["action"] == "update"
    second = ws.order_book("BTC-USDT")
    assert not second.synced and not book.synced
    told.renew(snapshot(seqId=30))
    assert second.wait_ready(5).view() == book.wait_ready(5).view() and plain.get(5)["action"] == "snapshot"
    second.close()
    assert book.synced
    with pytest.raises(BookOutOfSync, match="it was closed"):
        second.view()
    told.send(update(seqId=41, prevSeqId=40))
    watch.wait("gap")
    told.renew(snapshot(seqId=50))
    assert book.wait_ready(5).view().seqId == 50


def test_two_books_of_one_arg_mend_together(talk):
    """One gap, one event, one request."""
    told, ws, watch, book = talk
    second = ws.order_book("BTC-USDT")
    told.renew(snapshot(seqId=30))
    second.wait_ready(5)
    told.send(update(seqId=41, prevSeqId=40), update(seqId=43, prevSeqId=42))
    watch.wait("gap", data=None)
    assert not book.synced and not second.synced
    told.renew(snapshot(seqId=50))
    assert book.wait_ready(5).view() == second.wait_ready(5).view()
    assert [event.data and event.data["cause"] for event in watch.of("gap")] == ["sequence", None]


def test_a_closed_book_unsubscribes_and_cannot_be_read(talk):
    """Idempotent."""
    told, ws, _, book = talk
    book.close()
    book.unsubscribe()
    assert told(lambda peer: peer.read_request("unsubscribe"))["args"] == [BOOKS]
    with pytest.raises(BookOutOfSync, match="it was closed"):
        book.best_bid
    with pytest.raises(UsageError, match="was unsubscribed"):
        book.wait_ready(5)


def test_close_lets_waiters_go_and_nothing_is_readable_any_more(peer, connect):
    """Nobody waits for what cannot come."""
    ws = connect(urls=peer(lambda conversation: conversation.subscribed() and conversation.until_gone()).urls)
    book, raised = ws.order_book("BTC-USDT"), []

    def wait():
        try:
            book.wait_ready(10)
        except ManagerClosed as exc:
            raised.append(exc)

    thread = threading.Thread(target=wait)
    thread.start()
    book.subscription.wait(5)
    ws.close()
    thread.join(5)
    assert len(raised) == 1
    with pytest.raises(BookOutOfSync):
        book.view()
    with pytest.raises(ManagerClosed):
        ws.order_book("BTC-USDT")


# ---------------------------------------------------------------------- on_update


def test_on_update_runs_after_each_applied_message_on_the_links_thread(orders, connect):
    """It reads what was just applied; it may not wait; it may unsubscribe."""
    told, seen = orders(), []

    def on_update(book):
        try:
            book.wait_ready(1)
        except UsageError:
            seen.append((threading.current_thread().name, book.view(1).seqId))
        if book.view().seqId == 17:
            book.close()

    book = connect(urls=told.server.urls).order_book("BTC-USDT", "books", on_update)
    told.send(update(), update(seqId=17, prevSeqId=15), update(seqId=19, prevSeqId=17))
    assert told(lambda peer: peer.read_request("unsubscribe"))["args"] == [BOOKS]
    assert seen == [("okx-ws:public", seqId) for seqId in (10, 15, 17)]
    assert not book.synced


def test_an_on_update_that_raises_is_told_and_harms_nothing(orders, connect):
    """By its own name."""
    told, calls = orders(), []

    def faulty(book):
        calls.append(book.view().seqId)
        raise RuntimeError("mine")

    ws = connect(urls=told.server.urls)
    watch = Watch(ws)
    book = ws.order_book("BTC-USDT", on_update=faulty).wait_ready(5)
    assert "faulty" in watch.wait("handler_error").msg and "mine" in watch.events[-1].msg
    told.send(update())
    eventually(lambda: calls == [10, 15])
    assert book.synced and watch.of("gap") == []


# ---------------------------------------------------------------------- threads and size


def test_readers_never_see_half_an_update(orders, connect):
    """Both sides, the number and the depth are always of one moment, however busy the link is."""
    told, count = orders(first=lambda peer: peer.json(snapshot([("101", "0.5")], [("99", "0.5")], seqId=0))), 3000

    def level(n):
        # Each update moves both sides together: the spread stays, sizes are equal and name the number.
        old, new = n - 1, n
        asks = [(str(101 + old), "0"), (str(101 + new), f"{new}.5")]
        bids = [(str(99 + old), "0"), (str(99 + new), f"{new}.5")]
        return update(asks, bids, new, old)

    book = connect(urls=told.server.urls).order_book("BTC-USDT").wait_ready(5)
    stop, wrong, reads = threading.Event(), [], [0, 0]

    def read(which):
        while not stop.is_set():
            view = book.view()
            spread = Decimal(view.asks[0].px) - Decimal(view.bids[0].px)
            sizes = {view.asks[0].sz, view.bids[0].sz, f"{view.seqId}.5"}
            if spread != 2 or len(sizes) != 1 or len(view.asks) + len(view.bids) != 2 or book.spread != 2:
                wrong.append(view)
            reads[which] += 1

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=read, args=(which,)) for which in (0, 1)]
    try:
        for thread in threads:
            thread.start()
        told.send(*(level(n) for n in range(1, count + 1)))
        eventually(lambda: book.view().seqId == count, 30)
    finally:
        stop.set()
        for thread in threads:
            thread.join(5)
        sys.setswitchinterval(interval)
    assert wrong == [] and min(reads) > 100


def test_a_reader_does_not_hold_up_the_link(talk):
    """Whatever a reader does with what it read, or in the middle of reading."""
    told, _, _, book = talk
    within, go = threading.Event(), threading.Event()

    def slow(pure):
        within.set()
        go.wait(5)
        return pure.seqId

    found = []
    thread = threading.Thread(target=lambda: found.append(book._read(slow)))
    thread.start()
    assert within.wait(5)
    told.send(update())
    eventually(lambda: book.view().seqId == 15)
    go.set()
    thread.join(5)
    assert found == [(15, True)]  # it read again, since the book had changed


def test_waiting_takes_no_longer_than_it_says(orders, connect):
    """And raises with the reason."""
    told = orders(first=lambda peer: None)
    book = connect(urls=told.server.urls).order_book("BTC-USDT")
    begin = time.monotonic()
    with pytest.raises(AckTimeout, match="no book of .* in 0.2 s"):
        book.wait_ready(0.2)
    assert time.monotonic() - begin < 1


def test_a_book_that_stalls_is_not_served(peer, connect):
    """`max_silence`: a mute subscription on a link that lives is no proof of anything."""
    again = threading.Event()

    def script(talk):
        arg = talk.subscribed()["args"][0]
        snapshot = {"asks": [["2", "1", "0", "1"]], "bids": [["1", "1", "0", "1"]], "ts": "1", "checksum": 0}
        talk.json({"arg": arg, "action": "snapshot", "data": [{**snapshot, "prevSeqId": -1, "seqId": 1}]})
        talk.ack(talk.read_request("unsubscribe"))
        request = talk.read_request("subscribe")
        again.wait(5)
        talk.ack(request)
        talk.json({"arg": arg, "action": "snapshot", "data": [{**snapshot, "prevSeqId": -1, "seqId": 9}]})
        talk.until_gone()

    ws = connect(urls=peer(script).urls)
    watch = Watch(ws)
    book = ws.order_book("BTC-USDT", max_silence=0.5).wait_ready(5)
    assert book.view().seqId == 1
    watch.wait("stalled")
    with pytest.raises(BookOutOfSync):
        book.view()
    again.set()
    assert book.wait_ready(5).view().seqId == 9


def test_a_book_whose_link_is_paused_is_not_served(world, connect):
    """`overflow="block"`: while a full queue stops the reading, updates wait in the socket."""
    ws = connect(world, overflow="block", queue_size=20)
    book = ws.order_book("BTC-USDT").wait_ready(5)
    ws.subscribe("trades", instId="BTC-USDT")
    eventually(lambda: not book.synced)
    with pytest.raises(BookOutOfSync, match="full"):
        book.view()
    reader = threading.Thread(target=lambda: list(ws))
    reader.start()
    assert book.wait_ready(5).best_bid
    ws.close()
    reader.join(5)


# ---------------------------------------------------------------------------------------- streams without snapshots


@pytest.mark.parametrize("channel", ["books", "books-l2-tbt", "books50-l2-tbt"])
def test_a_stream_without_snapshots_is_spliced_with_rests_book(channel, connect):
    """Acceptance 91: in the announced mode, and again after a lost link; then it is what the feed has."""
    with LocalExchange(speed=3) as exchange:
        exchange.faults.start("no_snapshot")
        ws = connect(exchange, **exchange.credentials)
        watch = Watch(ws)
        book = ws.order_book("BTC-USDT", channel).wait_ready(10)
        seqId = book.view().seqId
        eventually(lambda: book.synced and book.view().seqId > seqId)
        exchange.drop()
        watch.wait("disconnected", endpoint="public")
        book.wait_ready(10)
        assert [event for event in watch.of("gap") if event.data is None] == [], "no book broke"
        assert_follows(exchange, book, channel)


def assert_follows(exchange, book, channel):
    """A book shows what the exchange has at that seqId."""
    market = exchange.world.markets["BTC-USDT"]
    depth = 50 if channel == "books50-l2-tbt" else 400

    def same():
        def look():
            return market.seqId, market.rows(market.asks, depth), market.rows(market.bids, depth)

        seqId, asks, bids = exchange.call(look)
        view = book.view(depth) if book.synced else None
        shown = view and [
            [[level.px, level.sz, "0", level.orders] for level in side] for side in (view.asks, view.bids)
        ]
        return view is not None and view.seqId == seqId and shown == [asks, bids]

    eventually(same, 10)


@pytest.mark.parametrize("how", ["status", "html", "lie", "empty", "broken"])
def test_where_rest_cannot_help_a_snapshot_is_asked_for(how, connect):
    """Acceptance 55, 91: the way out stays."""
    with LocalExchange(speed=3) as exchange:
        exchange.faults.start("rest_error", path="*/market/books", how=how, times=1000)
        exchange.faults.start("missing_snapshot")
        ws = connect(exchange)
        watch = Watch(ws)
        book = ws.order_book("BTC-USDT")
        assert watch.wait("gap", timeout=10, data=None).msg.startswith("an update before any snapshot; ")
        book.wait_ready(10)


def test_a_book_built_from_rest_is_read_when_the_updates_are_in(peer, connect):
    """Acceptance 91: REST's may be of a moment between two updates: its number is that of none."""
    sides = {"asks": [["2", "1", "0", "1"]], "bids": [["1", "1", "0", "1"]], "ts": "1700000000000"}

    def rest(talk):
        while True:
            talk.read_head()
            talk.send(http(json.dumps({"code": "0", "msg": "", "data": [{**sides, "seqId": 12}]})))

    def script(talk):
        talk.subscribed()
        talk.json(update(seqId=15, prevSeqId=10))
        talk.json(update(seqId=20, prevSeqId=15))
        talk.until_gone()

    url = f"http://127.0.0.1:{peer(rest).port}"
    ws, seen = connect(urls={**peer(script).urls, "rest": url}), []
    book = ws.order_book("BTC-USDT", on_update=lambda book: seen.append(book.view().seqId)).wait_ready(5)
    eventually(lambda: book.view().seqId == 20)
    assert set(seen) <= {15, 20}
