"""`Hold` under every order of events: a market, a link that falls, a REST that lags or fails."""

import json
import random
from collections import deque
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from okx_ws.errors import ConnectionLost
from okx_ws.holds import Hold
from okx_ws.protocol import gaps
from okx_ws.protocol.subscriptions import Stream

ARG = {"channel": "trades", "instId": "BTC-USDT"}
PAGE = 7

STEPS = {"trade": 9, "deliver": 6, "cut": 1, "connect": 2, "answer": 4, "lie": 0, "fail": 0, "wait": 2}


def push(high, count=1):
    row = {"instId": "BTC-USDT", "tradeId": str(high), "px": "1", "sz": "1", "side": "buy", "ts": str(10**12 + high)}
    return json.dumps({"arg": ARG, "data": [{**row, "count": str(count)}]}, separators=(",", ":")).encode()


class World:
    """The market, the link, REST, and what owns the hold: all on one clock that the test moves."""

    timeout_s = 3.0
    markers = True
    congested = False
    ended = False
    link = None

    def __init__(self, seed, steps):
        self.rng = random.Random(seed)
        self.weights = steps
        self.now = 100.0
        self.traded = 0
        #: How far REST has seen.
        self.shown = 0
        self.up = True
        self.wire = deque()
        self.asked = deque()
        self.got, self.marks = [], []
        self.longest_s, self.waiting = 0.0, {}
        self.stream = Stream(ARG, False)
        self.hold = Hold(self, self.stream, self)

    # what a hold wants of its owner

    def memory_of(self, stream):
        return None

    def wake_at(self, at):
        """The test goes on by itself."""

    def tell(self, stream, marker, filled):
        """Markers tell the same."""

    def tell_hole(self, stream, cause, since_ms):
        """And of this, too."""

    def ask(self, hold, ask, deadline):
        self.asked.append((ask, self.now + ask.pause_s))

    def hand_over(self, outlet, batch):
        for payload in batch:
            message = json.loads(payload)
            if message.get("event"):
                self.marks.append(message)
                continue
            self.longest_s = max(self.longest_s, self.now - self.waiting.pop(payload, self.now))
            for row in message["data"]:
                high = int(row["tradeId"])
                self.got += range(high - int(row["count"]) + 1, high + 1)

    # what happens

    def step(self):
        getattr(self, self.rng.choices(list(self.weights), list(self.weights.values()))[0])()

    def trade(self):
        count = self.rng.choice((1, 1, 2, 3))
        self.traded += count
        if self.up:
            self.wire.append(push(self.traded, count))
        if self.rng.random() < 0.7:
            self.shown = self.traded

    def deliver(self):
        batch = [self.wire.popleft() for _ in range(min(len(self.wire), self.rng.randrange(1, 4)))]
        self.waiting.update({payload: self.now for payload in batch if not gaps.is_marker(payload)})
        if batch:
            self.hold.deliver(batch)

    def cut(self):
        if self.up:
            self.up = False
            self.wire.clear()

    def connect(self):
        if not self.up:
            self.up = True
            self.wire.append(gaps.marker(ARG, "disconnect", 10**12, 10**12))

    def answer(self):
        if self.asked and self.asked[0][1] <= self.now:
            ask, _ = self.asked.popleft()
            self.hold.answered(ask, self.rows_for(ask))

    def rows_for(self, ask):
        top = min(self.shown, int(ask.params.get("after", 10**9)) - 1)
        return [json.loads(push(number))["data"][0] for number in range(top, max(0, top - PAGE), -1)]

    def lie(self):
        """An answer that is late, empty, out of order, doubled, of another instrument, or no trades."""
        if self.asked and self.asked[0][1] <= self.now:
            ask, _ = self.asked.popleft()
            rows = self.rows_for(ask)
            how = self.rng.choice(["empty", "order", "double", "foreign", "junk", "half", "endless"])
            at = self.rng.randrange(len(rows)) if rows else 0
            if how == "order":
                self.rng.shuffle(rows)
            elif how == "double":
                rows += rows[: at + 1]
            elif how in ("foreign", "junk") and rows:
                rows[at] = {**rows[at], **({"instId": "ETH-USDT"} if how == "foreign" else {"ts": None})}
            elif how == "half":
                rows = rows[: at + 1]
            elif how == "endless":
                rows = [json.loads(push(number))["data"][0] for number in range(self.shown, 0, -1)][:PAGE]
            self.hold.answered(ask, [] if how == "empty" else rows)

    def fail(self):
        if self.asked:
            self.hold.answered(self.asked.popleft()[0], ConnectionLost("REST is down"))

    def wait(self):
        self.now += self.rng.choice((0.01, 0.3, 1.1))
        self.hold.go_on(self.now)

    def finish(self):
        """Let everything come to its end, with one more trade that shows what is missing."""
        self.connect()
        self.trade()
        self.shown = self.traded
        while self.wire:
            self.deliver()
        for _ in range(200):
            self.answer()
            self.now += 0.05
            self.hold.go_on(self.now)


def run(seed, steps, weights):
    world = World(seed, weights)
    with patch("okx_ws.holds.time") as clock:
        clock.monotonic = lambda: world.now
        world.trade()
        while world.wire:
            world.deliver()
        for _ in range(steps):
            world.step()
        world.finish()
    return world


@given(st.integers(0, 2**32), st.integers(0, 150))
def test_what_is_delivered_is_what_was_traded(seed, steps):
    """Property: each trade once, in order, none missing but those that a marker names; nobody waits past the bound."""
    world = run(seed, steps, STEPS)
    assert world.got == sorted(set(world.got)), "each once, in order"
    lost = sorted(set(range(world.got[0], world.traded + 1)) - set(world.got))
    told = [mark for mark in world.marks if not mark["repaired"]]
    assert told or not lost
    assert world.longest_s <= World.timeout_s + 1.2, "one step of the clock more at the most"


@given(st.integers(0, 2**32), st.integers(0, 150))
def test_a_rest_that_is_down_costs_nothing_but_the_holes(seed, steps):
    """Property: what came live is delivered, in order, and every hole with something in it is told as unrepaired."""
    world = run(seed, steps, {**STEPS, "answer": 1, "fail": 4})
    assert world.got == sorted(set(world.got))
    lost = set(range(world.got[0], world.traded + 1)) - set(world.got)
    assert not lost or any(not mark["repaired"] for mark in world.marks)
    assert world.longest_s <= World.timeout_s + 1.2


@given(st.integers(0, 2**32), st.integers(0, 150))
def test_a_rest_that_lies_costs_no_more(seed, steps):
    """Property: what it tells of trades is refused, or is what was traded; nobody is told twice, or out of order."""
    world = run(seed, steps, {**STEPS, "answer": 2, "lie": 4})
    assert world.got == sorted(set(world.got)) and world.got[-1] <= world.traded
    lost = set(range(world.got[0], world.traded + 1)) - set(world.got)
    assert not lost or any(not mark["repaired"] for mark in world.marks)
    assert world.longest_s <= World.timeout_s + 1.2


def test_a_hole_begins_with_what_was_handed_on_last_though_its_marker_names_an_earlier_time():
    """A repair has told more than whoever began the hole knows; and no hole ends before it begins."""
    for last, since_ms in ((5, 10**12 + 5), (50, 10**12 + 9)):
        world = World(0, STEPS)
        world.hold = Hold(world, world.stream, world, push(last))
        world.hold.deliver([gaps.marker(ARG, "disconnect", 10**12, 10**12 + 9)])
        world.hold.go_on(world.now + 10**9)
        (marker,) = world.marks
        assert (marker["since_ms"], marker["until_ms"]) == (since_ms, 10**12 + 9)
