"""`backlog`: what waits in a queue within its bounds, and what each policy lets go; seen through the queue."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okx_ws import ManagerClosed, QueueOverflow
from okx_ws.config import Settings
from okx_ws.delivery import MessageQueue
from okx_ws.protocol import gaps
from tests.queues import HEAD, Reports, numbers, payload, story, timed
from tests.watch import eventually


@pytest.fixture
def reports():
    return Reports()


@pytest.fixture
def make(reports):
    return lambda **settings: MessageQueue("q", Settings(**settings), reports)


def test_drop_oldest_keeps_the_newest_and_counts_the_rest(make, reports):
    """The bound in messages; every drop is counted and told, by head."""
    q = make(queue_size=10)
    q.deliver([payload(n) for n in range(8)])
    assert q.dropped == 0 and reports.told == []
    q.deliver([payload(n) for n in range(8, 25)])
    assert q.dropped == 15 and reports.lost == {HEAD: 15}
    assert numbers(q) == list(range(15, 25))


@given(
    st.lists(st.lists(st.integers(0, 400), min_size=1, max_size=20), max_size=40),
    st.integers(100, 20_000),
    st.lists(st.integers(0, 15), min_size=40, max_size=40),
)
def test_the_bound_in_bytes_holds(batches, bound, takes):
    """Never more than the bound, but for the newest message; what is dropped is the oldest, and not early."""
    reports = Reports()
    q = MessageQueue("q", Settings(queue_bytes=bound), reports)
    sizes, model, number, lost, largest = {}, [], 0, 0, 0
    for batch, take in zip(batches, takes, strict=False):
        texts = []
        for size in batch:
            texts.append(payload(number, size))
            sizes[number] = len(texts[-1])
            model.append(number)
            number += 1
        q.deliver(texts)
        largest = max(largest, sum(map(len, texts)))
        held = [n for n in model[q.dropped - lost :]]
        assert q.qsize() == len(held)
        lost = q.dropped
        total = sum(sizes[n] for n in held)
        assert total <= bound or len(held) == 1
        newest_dropped = model[len(model) - len(held) - 1] if len(held) < len(model) else None
        # What readers have taken is known to the precision of a batch.
        assert newest_dropped is None or total + sizes[newest_dropped] > bound - largest
        model = held
        for _ in range(min(take, len(model))):
            assert q.get_nowait()["data"][0] == model.pop(0)
    assert [message["data"][0] for message in map(lambda _: q.get_nowait(), range(q.qsize()))] == model


def test_one_message_larger_than_the_bound_is_still_delivered(make):
    """An empty queue would serve nobody."""
    q = make(queue_bytes=1000)
    q.deliver([payload(1)])
    q.deliver([payload(2, 5000)])
    assert numbers(q) == [2]


def test_small_messages_do_not_cost_a_mark_each(make):
    """Memory: the byte count is kept in coarse marks."""
    q = make()
    for n in range(5000):
        q.deliver([payload(n)])
    assert len(q._backlog._weight._marks) < 20


def test_block_keeps_everything_and_asks_for_a_pause(make, reports):
    """Nothing is dropped; at half full the links are let go on."""
    q = make(queue_size=10, overflow="block")
    assert q.deliver([payload(n) for n in range(10)]) is False
    assert q.deliver([payload(10)]) is True and q.congested
    for _ in range(5):
        q.get_nowait()
    assert q.congested and reports.resumed == 0
    q.get_nowait()
    assert not q.congested and reports.resumed == 1
    assert numbers(q) == [6, 7, 8, 9, 10] and q.dropped == 0


def test_block_counts_bytes_too(make, reports):
    """Either bound pauses."""
    q = make(queue_bytes=10_000, overflow="block")
    assert q.deliver([payload(n, 1000) for n in range(12)]) is True
    for _ in range(8):
        q.get_nowait()
    assert reports.resumed == 0, "what has left is known batch by batch"
    for _ in range(4):
        q.get_nowait()
    assert reports.resumed == 1


def test_drop_newest_refuses_what_comes(make, reports):
    """What waits is kept; the rest is counted and told."""
    q = make(queue_size=3, overflow="drop_newest")
    q.deliver([payload(n) for n in range(5)])
    q.deliver([payload(5)])
    assert q.dropped == 3 and reports.lost == {HEAD: 2}, "the first loss is told at once, the next within the second"
    assert numbers(q) == [0, 1, 2]
    q.deliver([payload(6)])
    assert numbers(q) == [6]
    q.tell_losses()
    assert reports.lost == {HEAD: 3}


def test_drop_newest_counts_bytes_too(make):
    """A message that fits is let in, though a larger one before it was not; the first one is, however large."""
    q = make(queue_bytes=1000, overflow="drop_newest")
    q.deliver([payload(1, 5000)])
    assert numbers(q) == [1]
    q.deliver([payload(2), payload(3, 5000), payload(4)])
    assert numbers(q) == [2, 4] and q.dropped == 1


def test_error_raises_once_per_hole_and_goes_on_behind_it(make):
    """`QueueOverflow` at the hole; the number is exact; reading goes on."""
    q = make(queue_size=3, overflow="error")
    q.deliver([payload(n) for n in range(3)])
    assert q.take()["data"][0] == 0
    q.deliver([payload(n) for n in range(3, 6)])
    q.deliver([payload(6)])
    with pytest.raises(QueueOverflow) as caught:
        q.take()
    assert caught.value.lost == q.dropped == 3
    assert numbers(q) == [4, 5, 6]
    q.deliver([payload(n) for n in range(7, 12)])
    with pytest.raises(QueueOverflow, match="2 messages"):
        q.get_nowait()
    assert numbers(q) == [9, 10, 11]


OTHER = HEAD.replace(b"BTC", b"ETH")


def other(n):
    return payload(n).replace(b"BTC", b"ETH")


def test_latest_keeps_only_the_newest_of_each_arg_at_its_place(make, reports):
    """At all times, not only when full; replaced ones count as dropped and are told."""
    q = make(overflow="latest")
    q.deliver([payload(1), other(2), payload(3)])
    q.deliver([payload(4), other(5)])
    assert q.qsize() == 2 and numbers(q) == [4, 5]
    q.tell_losses()
    assert q.dropped == 3 and reports.lost == {HEAD: 2, OTHER: 1}
    q.deliver([payload(6)])
    q.put({"mine": 1})
    assert [q.take(), q.take()["mine"]] == [{"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": [6, ""]}, 1]
    assert q.empty()


def test_latest_is_bounded_too(make):
    """More args than places: the oldest are dropped."""
    q = make(overflow="latest", queue_size=3)
    q.deliver([payload(n).replace(b"BTC", b"X%d" % n) for n in range(10)])
    assert numbers(q) == [7, 8, 9] and q.dropped == 7
    q = make(overflow="latest", queue_bytes=500)
    q.deliver([payload(n, 200).replace(b"BTC", b"X%d" % n) for n in range(10)])
    assert numbers(q) == [9]


def test_latest_holds_with_readers_at_work(make):
    """Replaced while being taken: nothing is lost for good, nothing comes twice."""
    q, seen = make(overflow="latest"), []

    def read():
        seen.extend(message["data"][0] for message in q.stream())

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(20_000):
        q.deliver([payload(n)])
    q.end(ManagerClosed("closed"))
    reader.join(10)
    assert seen == sorted(set(seen)) and seen[-1] == 19_999 and len(seen) + q.dropped == 20_000


def test_under_drop_oldest_the_marker_comes_next(make):
    """At the head: one per arg, with the exact number and bounds that hold all that is missing."""
    q = make(queue_size=3, markers=True)
    q.deliver([timed(n, b"ETH" if n % 4 == 0 else b"BTC") for n in range(9)])
    assert story(q) == [("ETH", "overflow", 0, 4, 2), ("BTC", "overflow", 1, 5, 4), 6, 7, 8]
    q.deliver([timed(n) for n in range(9, 12)])
    assert story(q) == [9, 10, 11]


def test_under_drop_newest_the_marker_comes_before_the_next_of_that_arg(make):
    """At the tail, where the messages are missing."""
    q = make(queue_size=2, markers=True, overflow="drop_newest")
    q.deliver([timed(n) for n in range(5)] + [timed(5, b"ETH")])
    assert story(q) == [0, 1]
    q.deliver([timed(6)])
    assert story(q) == [("BTC", "overflow", 2, 4, 3), 6]
    q.deliver([timed(7), timed(8, b"ETH")])
    assert story(q) == [7, ("ETH", "overflow", 5, 5, 1), 8]


def test_under_error_the_exception_comes_before_the_marker(make):
    """Then the marker, then the first message behind the hole."""
    q = make(queue_size=2, markers=True, overflow="error")
    q.deliver([timed(n) for n in range(4)])
    with pytest.raises(QueueOverflow):
        q.take()
    assert story(q) == [("BTC", "overflow", 0, 1, 2), 2, 3]


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "latest"])
def test_a_marker_is_never_dropped_itself(overflow, make):
    """A full queue keeps the markers of other holes, joined by arg and cause."""
    arg = {"channel": "trades", "instId": "BTC"}
    q = make(queue_size=2, markers=True, overflow=overflow)
    start = 1_700_000_000_000
    for n in range(5):
        q.deliver([gaps.marker(arg, "disconnect", start + n, start + n + 1), timed(n, b"X%d" % n)])
    q.deliver([timed(9)])
    told = []
    for _ in range(3):
        told += story(q)
        q.deliver([timed(10)])
    held = [entry for entry in told if isinstance(entry, tuple) and entry[1] == "disconnect"]
    assert {entry[4] for entry in held} == {None}
    assert min(entry[2] for entry in held) == 0 and max(entry[3] for entry in held) == 5


@given(
    st.sampled_from(["drop_oldest", "drop_newest", "error", "latest"]),
    st.lists(st.lists(st.sampled_from([b"A", b"B", b"C"]), min_size=1, max_size=6), max_size=30),
    st.lists(st.integers(0, 5), min_size=30, max_size=30),
)
def test_every_message_is_delivered_or_lies_in_a_marker(overflow, batches, takes):
    """For each arg: in order, once, and what is missing is counted exactly between its neighbours."""
    q = MessageQueue("q", Settings(queue_size=4, overflow=overflow, markers=True), Reports())
    sent, got, number = {}, {}, 0

    def take():
        try:
            message = q.get_nowait()
        except QueueOverflow:
            return
        got.setdefault(message["arg"]["instId"], []).append(message)

    for batch, count in zip(batches, takes, strict=False):
        texts = []
        for name in batch:
            sent.setdefault(name.decode(), []).append(number)
            texts.append(timed(number, name))
            number += 1
        q.deliver(texts)
        for _ in range(min(count, q.qsize())):
            take()
    while q.qsize():
        take()
    for arg, missing in sent.items():
        for message in got.get(arg, []):
            if "data" in message:
                assert message["data"][0]["n"] == missing.pop(0)
            else:
                lost, missing = missing[: message["lost"]], missing[message["lost"] :]
                assert message["since_ms"] <= 1_700_000_000_000 + lost[0]
                assert message["until_ms"] >= 1_700_000_000_000 + lost[-1]
        assert not missing or overflow == "drop_newest", "told when the next one is let in"


def test_room_that_was_made_while_the_queue_filled_is_seen(make):
    """`block`: a reader that takes without the lock may empty the queue before it is called full."""
    q = make(overflow="block", queue_size=4)
    reader = threading.Thread(target=lambda: [q.take(timeout=5) for _ in range(6)])
    backlog = q._backlog
    real = backlog._weight.exceeds

    def racing(*args):  # the size is known by then, the queue not yet called full
        reader.start()
        while backlog.items:
            pass
        return real(*args) or True

    backlog._max_messages = 100
    backlog._weight.exceeds = racing
    assert q.deliver([payload(n) for n in range(6)]) is False
    reader.join()


def test_an_overflow_that_readers_were_quicker_than_is_none(make):
    """`drop_oldest`: the queue may be empty by the time something is to be dropped."""
    q = make(queue_size=2)
    items = q._backlog.items
    q._backlog.take = lambda: items.clear() or items.popleft()
    assert q.deliver([payload(n) for n in range(5)]) is False
    assert q.qsize() == 0


@pytest.mark.parametrize(("overflow", "comes"), [("drop_oldest", ["gap", 4, 5]), ("error", ["error", "gap", 4, 5])])
def test_a_sleeping_reader_meets_the_marker_first_too(overflow, comes, make, reports):
    """It was asleep when the batch came that overflowed the queue."""
    q = make(overflow=overflow, queue_size=2, markers=True)
    seen = []

    def read():
        while len(seen) < len(comes):
            try:
                message = q.take(timeout=5)
                seen.append(message.get("event") or message["data"][0])
            except QueueOverflow:
                seen.append("error")

    reader = threading.Thread(target=read)
    reader.start()
    eventually(lambda: q._waiting)
    q.deliver([payload(n) for n in range(6)])
    reader.join()
    assert seen == comes


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "error", "latest"])
def test_what_users_put_is_bounded_and_counted_like_the_rest(overflow, make, reports):
    """The policy holds; `put` never waits but under `block`."""
    q = make(overflow=overflow, queue_size=2)
    for n in range(5):
        q.put(n)
    assert q.qsize() == 2 and q.dropped == reports.lost.total() + q._losses.untold.total() == 3
    if overflow == "error":
        with pytest.raises(QueueOverflow) as caught:
            q.take(timeout=0)
        assert caught.value.lost == 3
    assert [q.take(timeout=0), q.take(timeout=0)] == ([0, 1] if overflow == "drop_newest" else [3, 4])


def test_payloads_that_are_put_count_their_bytes(make):
    """`put_payload`: what comes out is decoded, and the bound in bytes holds."""
    q = make(queue_bytes=1000)
    for n in range(20):
        q.put_payload(payload(n, 100))
    assert 0 < q.qsize() < 10 and q.take()["data"][0] == 20 - q.qsize() - 1
