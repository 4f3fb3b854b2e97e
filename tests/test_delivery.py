"""`delivery`: bounded queues between links and readers."""

import queue
import threading
import time

import pytest

from okx_ws import ConnectionLost, ManagerClosed, UsageError
from okx_ws.config import Settings
from okx_ws.delivery import FanOut, MessageQueue
from tests.queues import HEAD, Reports, numbers, payload, story, timed


@pytest.fixture
def reports():
    return Reports()


@pytest.fixture
def make(reports):
    return lambda **settings: MessageQueue("q", Settings(**settings), reports)


def test_messages_come_out_decoded_and_in_order(make):
    """A batch in, messages out, plain dicts."""
    q = make()
    assert q.deliver([payload(n) for n in range(3)]) is False
    assert q.take() == {"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": [0, ""]}
    assert numbers(q) == [1, 2]


@pytest.mark.parametrize("wait", [{"timeout": 0.05}, {"block": False}, {"timeout": 0}, {"timeout": -1}])
def test_nothing_in_time_is_queue_empty(wait, make):
    """As `queue.Queue`."""
    start = time.monotonic()
    with pytest.raises(queue.Empty):
        make().get(**wait)
    assert time.monotonic() - start < 0.5


def test_it_has_the_methods_of_a_queue(make):
    """The older code's queue: get, get_nowait, put, qsize, empty, full."""
    q = make(queue_size=2)
    assert q.empty() and not q.full() and q.qsize() == 0
    q.put({"mine": 1})
    q.put_nowait(b"raw bytes of mine")
    assert q.full() and not q.empty() and q.qsize() == 2
    assert q.get(True, 1) == {"mine": 1} and q.get_nowait() == b"raw bytes of mine"


def test_a_sleeping_reader_is_woken(make):
    """By a batch, by the end."""
    q, got = make(), queue.Queue()

    def read():
        for message in q.stream():
            got.put(message["data"][0])
        got.put("end")

    reader = threading.Thread(target=read)
    reader.start()
    q.deliver([payload(1)])
    assert got.get(timeout=2) == 1
    q.deliver([payload(2), payload(3)])
    assert [got.get(timeout=2), got.get(timeout=2)] == [2, 3]
    q.end(ManagerClosed("closed"))
    assert got.get(timeout=2) == "end"
    reader.join(2)


def test_readers_drain_before_they_are_told_the_end(make):
    """Design 4.6: what is queued is delivered, what came with the end too, then the reason."""
    q = make()
    q.deliver([payload(1)])
    q.end(ConnectionLost("gone"))
    q.deliver([payload(2)])
    assert [q.take()["data"][0] for _ in range(2)] == [1, 2]
    for _ in range(2):
        with pytest.raises(ConnectionLost, match="gone"):
            q.take()
    with pytest.raises(ConnectionLost):
        next(q.stream())
    q.reopen()
    q.deliver([payload(3)])
    assert q.take()["data"][0] == 3


def test_many_readers_share_the_messages(make):
    """Each message goes to one of them; none is lost, none doubled, over real threads."""
    q, taken, lock = make(), [], threading.Lock()

    def read():
        mine = [message["data"][0] for message in q.stream()]
        with lock:
            taken.extend(mine)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for start in range(0, 20_000, 50):
        q.deliver([payload(n) for n in range(start, start + 50)])
    q.end(ManagerClosed("closed"))
    for reader in readers:
        reader.join(10)
    assert sorted(taken) == list(range(20_000))


def test_losses_are_told_at_once_and_then_at_intervals_and_add_up(make, reports):
    """The sum of what is told is what was dropped."""
    q = make(queue_size=5)
    for n in range(300):
        q.deliver([payload(n)])
    assert reports.told == [("q", 1)], "the first at once, the rest within the second"
    q.tell_losses()
    assert sum(lost for _, lost in reports.told) == q.dropped == 295
    q.tell_losses()
    assert len(reports.told) == 2


def test_a_full_queue_is_named_once_in_the_log(make, caplog):
    """And whether anybody reads it."""
    q = make(queue_size=1)
    for n in range(10):
        q.deliver([payload(n)])
    assert [record.message for record in caplog.records] == ["q is full: nobody is reading it"]


def test_a_marker_takes_the_place_of_a_malformed_message(make):
    """In order, with its arg."""
    q = make(markers=True)
    q.deliver([timed(1), timed(2)[:-3], timed(3)])
    assert story(q) == [1, ("BTC", "malformed", 2, 2, 1), 3]


def test_a_malformed_message_without_a_time_is_given_that_of_the_next_one_of_its_arg(make):
    """Our clock may be minutes off OKX's; and what is missing is said in words."""
    q = make(markers=True)
    q.deliver([timed(1), timed(2)[:65], timed(9, b"ETH"), timed(3)])
    assert q.take()["data"]
    marker = q.take()
    assert marker["since_ms"] == marker["until_ms"] == 1_700_000_000_003
    assert (marker["repaired"], marker["missing"]) == (False, "the message: it was found when it was read")


def test_the_end_lets_paused_links_go(make):
    """A closing manager must not hang on a full queue."""
    q = make(queue_size=1, overflow="block")
    q.deliver([payload(1), payload(2)])
    q.end(ManagerClosed("closed"))
    assert not q.congested


def test_a_message_that_cannot_be_decoded_is_passed_over(make, reports):
    """Told, and the next one is returned within the same call; a thousand in a row too."""
    q = make()
    broken = [HEAD + b',"data":[']
    q.deliver(broken * 3000 + [payload(1)] + broken)
    assert q.take(timeout=1)["data"][0] == 1
    with pytest.raises(queue.Empty):
        q.take(timeout=0.05)
    assert len(reports.bad) == 3001


def test_waiting_is_refused_where_it_would_wait_for_itself(make, reports):
    """On a link's thread; what is there can be taken."""
    q, reports.forbidden = make(), True
    q.deliver([payload(1)])
    assert q.take()["data"][0] == 1
    with pytest.raises(UsageError):
        q.take(timeout=1)


def test_a_fan_out_serves_every_outlet(make):
    """And is congested if one of them is."""
    small, large = make(queue_size=1, overflow="block"), make(overflow="block")
    fan_out = FanOut([small, large])
    assert fan_out.deliver([payload(1)]) is False
    assert fan_out.deliver([payload(2)]) is True and fan_out.congested
    assert numbers(large) == [1, 2] and numbers(small) == [1, 2] and not fan_out.congested


def test_losses_not_told_yet_are_owed(make, reports):
    """So that somebody tells them, though no other loss follows."""
    q = make(queue_size=1)
    q.deliver([payload(0), payload(1)])
    assert reports.owing == []
    q.deliver([payload(2)])
    assert reports.owing == [q]
    q.tell_losses()
    assert reports.lost == {HEAD: 2}


def test_where_waiting_is_refused_not_waiting_is_allowed(make, reports):
    """On a link's own thread `get_nowait` answers as ever."""
    reports.forbidden = True
    with pytest.raises(queue.Empty):
        make().get_nowait()


def test_a_log_handler_that_raises_costs_nothing(make, reports, monkeypatch):
    """The warning about a full queue is a courtesy."""
    monkeypatch.setattr("okx_ws.delivery.log.warning", lambda *args: 1 / 0)
    make(queue_size=1).deliver([payload(n) for n in range(3)])
    assert reports.lost == {HEAD: 2}


def test_put_waits_for_room_under_block(make):
    """Until the queue is half empty; not for longer than it is told to, and not once nobody will read."""
    q = make(overflow="block", queue_size=4)
    for n in range(4):
        q.put(n)
    for options in ({"timeout": 0.05}, {"block": False}, {"timeout": 0}):
        with pytest.raises(queue.Full):
            q.put(9, **options)
    reader = threading.Thread(target=lambda: [q.take(timeout=5) for _ in range(2)])
    waiter = threading.Thread(target=q.put, args=[4])
    waiter.start()
    reader.start()
    waiter.join(5)
    reader.join()
    assert numbers_put(q) == [2, 3, 4]
    for n in range(4):
        q.put(n)
    q.end(ManagerClosed("over"))
    q.put(4)
    assert q.qsize() == 5


def numbers_put(q):
    return [q.get_nowait() for _ in range(q.qsize())]
