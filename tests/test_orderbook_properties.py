"""`OrderBook` over a session and a model of the exchange: whatever happens, it is the exchange's or unreadable."""

import random
import threading

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okx_ws import BookOutOfSync
from okx_ws.config import Settings
from okx_ws.orderbook import OrderBook
from okx_ws.subscription import Subscription
from tests.protocol.test_book import Model, row
from tests.protocol.wired import Wired

BOOKS = {"channel": "books", "instId": "BTC-USDT"}
PRICES = ["99", "100", "100.5", "101", "102", "103.25"]

#: What may happen, by how often.
STEPS = {
    "update": 12,
    "keep-alive": 2,
    "deliver": 20,
    "deliver all": 4,
    "answer": 8,
    "lose": 2,
    "double": 1,
    "garble": 1,
    "reset": 1,
    "snapshot": 1,
    "refuse": 1,
    "late": 2,
    "cut": 1,
    "wait": 3,
}


class Link(Wired):
    """The session, where a book expects the lines of its endpoint."""

    endpoint = "public"
    failure = None
    last_error = ""

    def __init__(self):
        super().__init__()
        self.mutex = threading.RLock()
        self.changed = threading.Condition(self.mutex)

    def find(self, arg):
        return self.session.subscriptions.find(arg)

    def is_up(self, stream):
        return self.session.up

    def is_paused(self, stream):
        return False

    def resubscribe(self, stream):
        return self.session.resubscribe(stream, self.now)


class Ear:
    """A manager and a reporter, as far as a book needs them."""

    left_over = 0

    def __init__(self):
        self.events = []

    def check_may_block(self):
        """It may."""

    def resume(self):
        """No link has paused."""

    def tell(self, event):
        self.events.append(event.type)

    def malformed(self, payload, exc):
        self.events.append("malformed")

    def handler_error(self, handler, exc):
        raise exc


class Exchange:
    """One instrument, one client: a book that changes, requests to answer, and frames under way."""

    def __init__(self, seed, steps):
        self.rng = random.Random(seed)
        self.numbers = self.rng.sample(range(10**6), 2 * steps + 10)  # each once: a repeated one could hide a loss
        self.model = Model()
        self.seqId = self.numbers.pop()
        self.subscribed = False
        self.requests = []
        #: (payload, what the book is after it; None: it must not be read after it)
        self.under_way = []

    def frame(self, action, asks, bids, seqId, prevSeqId):
        return {"arg": BOOKS, "action": action, "data": [row(asks, bids, seqId, prevSeqId)]}

    def send(self, message, truth=()):
        payload = orjson.dumps(message)
        self.under_way.append((payload, self.model.sides() if truth == () else truth))

    def levels(self):
        return [(px, self.rng.choice(["0", "1", "2.5"])) for px in self.rng.sample(PRICES, 2)]

    def change(self):
        """Change the book; return the update that tells."""
        before, self.seqId = self.seqId, self.numbers.pop()
        message = self.frame("update", self.levels(), self.levels(), self.seqId, before)
        self.model.apply(message)
        return message

    def snapshot(self):
        return self.frame("snapshot", *self.model.sides(), self.seqId, -1)

    def answer(self, refuse=False):
        if not self.requests:
            return
        request = self.requests.pop(0)
        if refuse:
            self.send({"id": request["id"], "event": "error", "code": "64007", "msg": "later", "connId": "c"}, None)
            return
        self.send({"id": request["id"], "event": request["op"], "arg": BOOKS, "connId": "c"}, None)
        self.subscribed = request["op"] == "subscribe"
        if self.subscribed and self.rng.random() < 0.9:  # else it never comes
            self.send(self.snapshot())


class World:
    """All of it together."""

    def __init__(self, seed, steps):
        self.ear, self.link, self.exchange = Ear(), Link(), Exchange(seed, steps)
        self.updates = []
        self.book = OrderBook(self.ear, Settings(), self.ear, BOOKS, self.updated, False)
        self.book.live.subscription = Subscription(self.ear, self.link, BOOKS, sink=self.book.live.sink)
        self.link.box = self.book.live.sink  # the session's outlet
        self.book.live.sink.begin(frozenset(BOOKS.items()))
        (stream,) = self.link.want(BOOKS, holder=self.book.subscription)
        self.link.session.want_snapshots(stream, 5.0, self.link.now)
        self.stream = self.book.subscription.stream = stream
        self.last = None

    def updated(self, book):
        self.updates.append(book.view().seqId)  # raises unless it can be read

    def deliver(self, count):
        for _ in range(min(count, len(self.exchange.under_way))):
            payload, truth = self.exchange.under_way.pop(0)
            for outlet, batch in self.link.session.receive([payload], self.link.now, int(self.link.now * 1000)):
                outlet.deliver(batch)
            if b'"action"' in payload:
                self.last = truth
            self.check()

    def check(self):
        if not self.book.synced:
            with pytest.raises(BookOutOfSync):
                self.book.view()
            return
        view = self.book.view()
        assert self.last is not None
        assert [[(level.px, level.sz) for level in side] for side in (view.asks, view.bids)] == self.last

    def step(self, what):
        exchange, link = self.exchange, self.link
        if what in ("update", "lose", "double", "garble", "reset"):
            message = exchange.change()
            if what == "garble":
                message["data"][0]["asks"] = [["x", "1", "0", "1"]]
            if exchange.subscribed and what != "lose":
                for _ in range(1 + (what == "double")):
                    exchange.send(message, None if what == "garble" else exchange.model.sides())
        elif what == "keep-alive" and exchange.subscribed:
            exchange.send(exchange.frame("update", [], [], exchange.seqId, exchange.seqId))
        elif what == "snapshot" and exchange.subscribed:
            exchange.send(exchange.snapshot())
        elif what == "late" and not exchange.subscribed and any(r["op"] == "subscribe" for r in exchange.requests):
            exchange.send(exchange.frame("snapshot", [("1", "1")], [], exchange.numbers.pop(), -1), None)
        elif what in ("answer", "refuse"):
            exchange.answer(what == "refuse")
        elif what.startswith("deliver"):
            self.deliver(1 if what == "deliver" else 100)
        elif what == "wait":
            link.now += 3
            link.session.receive([b"pong"], link.now, int(link.now * 1000))
        elif what == "cut":
            exchange.under_way, exchange.requests, exchange.subscribed = [], [], False
            link.session.link_down()
            self.check()
            assert not self.book.synced
            link.session.link_up(link.now, 15)
        exchange.requests += [request for request in link.sent() if request["op"] != "login"]
        self.check()


@settings(max_examples=250, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(st.sampled_from([step for step, weight in STEPS.items() for _ in range(weight)]), max_size=120),
)
def test_a_readable_book_is_the_exchanges(seed, steps):
    """Losses, doubles, garbage, cuts, refusals, late and missing snapshots, in any order; and in the end it mends."""
    world = World(seed, len(steps) + 200)
    for step in ["wait", "answer", "deliver all", *steps]:
        world.step(step)
    for _ in range(60):  # an honest exchange from here on, over as much time as the longest delay
        for step in ("answer", "deliver all", "update", "deliver all", "wait"):
            world.step(step)
    assert world.book.synced and world.updates
    told = [event for event in world.ear.events if event != "malformed"]
    assert not told or (told[0], told[-1]) == ("gap", "repaired")
