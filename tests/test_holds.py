"""`Hold`: what was only suspected to be missing is told if REST knows of it, and not otherwise."""

import json

import pytest

from okx_ws.holds import Hold
from okx_ws.protocol import gaps
from okx_ws.protocol.subscriptions import Stream

ARG = {"channel": "candle1s", "instId": "BTC-USDT"}
MS = 1_700_000_000_000


def bar(second, closed="1"):
    return [str(MS + 1000 * second), "1", "2", "1", "2", "3", "3", "3", closed]


def push(second, closed="1"):
    return json.dumps({"arg": ARG, "data": [bar(second, closed)]}, separators=(",", ":")).encode()


class World:
    """What owns the hold, and reads behind it."""

    markers = True
    timeout_s = 60.0
    ended = False
    congested = False
    link = None

    def __init__(self):
        self.asked, self.got, self.told = [], [], []

    def memory_of(self, stream):
        return None

    def wake_at(self, at):
        pass

    def ask(self, hold, ask, deadline):
        self.asked.append(ask)

    def hand_over(self, outlet, batch):
        self.got += [json.loads(payload) for payload in batch]

    def tell(self, stream, marker, filled):
        self.told.append(("ended", marker["repaired"], filled))

    def tell_hole(self, stream, cause, since_ms):
        self.told.append(("began", cause))


@pytest.mark.parametrize("traded", [False, True])
def test_what_was_suspected_is_told_if_it_is_so(traded):
    """Seconds without a bar: REST has none either, or it has."""
    world = World()
    hold = Hold(world, Stream(ARG, False), world, push(0))
    hold.deliver([gaps.suspicion(ARG, "sequence", MS, MS + 5000), push(5, "0")])
    (ask,) = world.asked
    bars = [bar(5, "0"), *([bar(3)] if traded else []), bar(0)]
    hold.answered(ask, bars)
    while len(world.asked) > 1 and hold.work is not None:  # it asks again, since seconds are left out
        hold.answered(world.asked[-1], bars)
    assert hold.work is None
    starts = [message.get("event") or message["data"][0][0][-4:-3] for message in world.got]
    assert starts == (["gap", "3", "5"] if traded else ["5"])
    assert world.told == ([("began", "sequence"), ("ended", True, 1)] if traded else [])
