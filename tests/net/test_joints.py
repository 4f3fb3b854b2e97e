"""A joint between threads: one delivers at a time, in order, outside the lock; what waits is bounded."""

import json
import threading

from okx_ws.net import joints
from okx_ws.net.joints import Joint
from tests.watch import eventually

ARG = {"channel": "trades", "instId": "BTC-USDT"}


def trade(n):
    row = {
        "instId": "BTC-USDT",
        "tradeId": str(n),
        "px": "1",
        "sz": "1",
        "count": "1",
        "ts": str(1_700_000_000_000 + n),
    }
    return json.dumps({"arg": ARG, "data": [row]}, separators=(",", ":")).encode()


class Slow:
    """An outlet whose deliveries wait until they may go on."""

    congested = False

    def __init__(self):
        self.got = []
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.inside = 0
        self.most_inside = 0

    def deliver(self, batch):
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.entered.set()
        assert self.go_on.wait(10)
        self.got += batch
        self.inside -= 1
        return False


class Nobody:
    """An owner that does nothing but note what is told."""

    def __init__(self, resume=lambda: None):
        self.resume = resume
        self.told = []

    def wait_for(self, joint):
        pass

    def hole_began(self, joint, cause, since_ms, told):
        self.told.append(("began", cause))

    def hole_ended(self, joint, marker, told):
        self.told.append(("ended", marker["cause"]))


def joined(outlet, markers=True, resume=lambda: None):
    """A joint of two links, both proven."""
    joint = Joint(ARG, markers, Nobody(resume))
    joint.outlet = outlet
    joint.sure("a")
    joint.sure("b")
    return joint


def test_nobody_waits_for_who_delivers_and_order_holds():
    """What one link brings while the other's thread delivers goes out behind it, by that thread."""
    slow = Slow()
    joint = joined(slow)
    thread = threading.Thread(target=joint.side("a").deliver, args=([trade(1)],))
    thread.start()
    assert slow.entered.wait(5)
    joint.side("b").deliver([trade(1), trade(2)])  # returns though the other is held up
    joint.side("b").deliver([trade(3)])
    assert slow.got == [] and not joint.idle
    slow.go_on.set()
    thread.join(5)
    assert slow.got == [trade(1), trade(2), trade(3)] and slow.most_inside == 1
    eventually(lambda: joint.idle)


def test_what_waits_is_bounded(monkeypatch):
    """Beyond it, the links that bring more pause; they are woken when it has gone out."""
    monkeypatch.setattr(joints, "MAX_WAITING", 10)
    slow, woken = Slow(), threading.Event()
    joint = joined(slow, resume=woken.set)
    thread = threading.Thread(target=joint.side("a").deliver, args=([trade(1)],))
    thread.start()
    assert slow.entered.wait(5)
    assert joint.side("b").deliver([trade(n) for n in range(1, 30)]) is True
    assert joint.side("b").congested
    slow.go_on.set()
    thread.join(5)
    assert woken.wait(5) and not joint.side("b").congested
    assert slow.got == [trade(n) for n in range(1, 30)]


def test_a_word_about_a_life_that_is_over_is_void():
    """Another thread gives it; meanwhile the link may have fallen: it would count as one that goes on."""
    joint = joined(None)
    life = joint.life("b")
    joint.lost("b")
    joint.sure("b", life)
    assert joint._merge.lines == ("a",)
    joint.sure("b", joint.life("b"))
    assert joint._merge.lines == ("a", "b")


def test_an_outlet_that_fails_does_not_stop_the_joint():
    """A bug of ours in one delivery must not hold up those to come."""

    class Failing:
        congested = False

        def deliver(self, batch):
            raise ZeroDivisionError

    joint = joined(Failing())
    try:
        joint.side("a").deliver([trade(1)])
    except ZeroDivisionError:
        pass
    slow = Slow()
    slow.go_on.set()
    joint.outlet = slow
    joint.side("b").deliver([trade(2)])
    assert slow.got == [trade(2)]


def test_markers_are_for_those_who_want_them():
    """A hole of the only link is in its place, or left out."""
    for markers in (True, False):
        slow = Slow()
        slow.go_on.set()
        joint = Joint(ARG, markers, Nobody())
        joint.outlet = slow
        joint.side("a").deliver([trade(1)])
        joint.lost("a")
        joint.side("b").deliver([trade(9)])
        assert [json.loads(text).get("event") for text in slow.got] == (
            [None, "gap", None] if markers else [None, None]
        )


def test_what_has_no_outlet_goes_nowhere():
    """Nobody holds it any more."""
    joint = joined(None)
    assert joint.side("a").deliver([trade(1)]) is False and joint.idle
