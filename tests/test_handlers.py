"""`handlers`: which messages reach a handler, and that nothing it is or does harms the thread."""

import threading
import time

import pytest

from okx_ws.config import Settings
from okx_ws.events import Event
from okx_ws.handlers import EventSink, HandlerThread, name_of
from okx_ws.protocol.codec import arg_key
from okx_ws.sinks import MAX_WAITING, InlineSink, QueuedSink, Turn
from okx_ws.switchboard import identity
from tests.queues import Reports as QueueReports
from tests.watch import eventually


class Reports(QueueReports):
    def __init__(self):
        super().__init__()
        self.errors = []

    def handler_error(self, handler, exc):
        self.errors.append((name_of(handler), exc))


@pytest.fixture
def reports():
    return Reports()


def push(**arg):
    pairs = ",".join(f'"{name}":"{value}"' for name, value in arg.items())
    return f'{{"arg":{{{pairs}}},"data":[]}}'.encode()


ANY = {"channel": "orders", "instType": "ANY"}
SPOT = {"channel": "orders", "instType": "SPOT"}
ACCOUNT = {"channel": "account"}
BTC = {"channel": "account", "ccy": "BTC"}


@pytest.mark.parametrize(
    ("lives", "ends", "arg", "reaches"),
    [
        ([SPOT, SPOT], [SPOT], SPOT, True),  # another subscription of the same arg goes on
        ([SPOT], [SPOT], SPOT, False),
        ([SPOT, ANY], [SPOT], SPOT, False),
        ([SPOT, ANY], [SPOT], ANY, True),
        ([SPOT, ANY], [SPOT], {**ANY, "instId": "X"}, True),  # contained in the push's
        ([SPOT, ANY], [ANY], {**ANY, "instId": "X"}, False),
        ([ACCOUNT, BTC], [ACCOUNT], ACCOUNT, False),
        ([ACCOUNT, BTC], [BTC], ACCOUNT, True),
        ([BTC, SPOT], [BTC], ACCOUNT, False),  # it was the only one of that channel
        ([BTC, SPOT], [SPOT], ACCOUNT, True),
        ([BTC, SPOT], [SPOT], {"channel": "new"}, True),
    ],
)
def test_what_is_under_way_for_an_ended_subscription_is_dropped_and_nothing_else(lives, ends, arg, reaches, reports):
    """One handler may serve many args; messages are assigned to them as routing assigns them."""
    got = []
    sink = InlineSink(got.append, Settings(), reports)
    sink.begin(arg_key({"channel": "another"}))
    for live in lives:
        sink.begin(arg_key(live))
    for end in ends:
        sink.finish(arg_key(end))
    sink.deliver([push(**arg)])
    assert bool(got) == reaches


def test_an_arg_that_is_subscribed_again_is_live_again(reports):
    """What ended before does not matter any more."""
    got = []
    sink = InlineSink(got.append, Settings(), reports)
    sink.begin(arg_key(SPOT))
    sink.finish(arg_key(SPOT))
    assert sink.dead
    sink = InlineSink(got.append, Settings(), reports)
    sink.begin(arg_key(ANY))
    for _ in range(2):
        sink.begin(arg_key(SPOT))
        sink.finish(arg_key(SPOT))
    sink.begin(arg_key(SPOT))
    sink.deliver([push(**SPOT)])
    assert len(got) == 1


def test_what_an_inline_handler_does_not_get_at_the_end_is_counted(reports):
    """Also the rest of the batch it is in."""
    sink = InlineSink(lambda message: sink.cut_off(), Settings(), reports)
    sink.begin(arg_key(SPOT))
    sink.deliver([push(**SPOT)] * 10)
    assert reports.left_over == 9


class Equal:
    """Callables that are all equal."""

    def __init__(self):
        self.got = []

    def __call__(self, message):
        self.got.append(message)

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1

    def method(self, message):
        """Take a message."""


class Derived(Equal):
    def method(self, message):
        """Take another message."""

    def bases(self):
        return super().method


def test_handlers_are_told_apart_by_identity():
    """Equal objects are two handlers; a bound method is one, though each access makes a new object."""
    one, two, derived, box = Equal(), Equal(), Derived(), []
    assert identity(one) != identity(two)
    assert identity(one.method) == identity(one.method) != identity(two.method)
    assert identity(derived.method) != identity(derived.bases())
    assert identity(box.append) == identity(box.append) != identity(box.extend) != identity([].append)


class Nasty:
    """A handler whose every attribute raises, and that raises what cannot be shown."""

    def __getattribute__(self, name):
        raise RuntimeError(name)

    def __call__(self, message):
        raise Unshowable


class Unshowable(Exception):
    def __repr__(self):
        raise RuntimeError

    __str__ = __repr__


def test_a_handler_that_cannot_even_be_named_harms_nobody(exchange, connect):
    """Its errors are told by its type."""
    ws, errors = connect(exchange), []
    ws.on_event(lambda event: errors.append(event) if event.type == "handler_error" else None)
    ws.subscribe("tickers", instId="BTC-USDT", handler=Nasty())
    ws.subscribe("tickers", instId="BTC-USDT", queue=True).get(timeout=5)
    assert eventually(lambda: errors)[0].msg == "Nasty: Unshowable"


@pytest.fixture
def thread(reports):
    made = HandlerThread(reports, lambda left: None, lambda: None)
    yield made
    made.stop(0)
    assert not made.started or made.join(time.monotonic() + 5)


def test_many_links_schedule_a_sink_once(thread, reports):
    """Deliveries from several links at once must not give it several turns at a time, nor count what is left twice."""
    sink = QueuedSink(lambda message: None, Settings(), reports, thread)
    go = threading.Barrier(4)

    def deliver():
        go.wait()
        for _ in range(500):
            sink.deliver([push(**SPOT)])

    links = [threading.Thread(target=deliver) for _ in range(4)]
    for link in links:
        link.start()
    for link in links:
        link.join()
    assert len(thread._sinks) == 1


def test_a_flood_of_events_is_bounded_and_its_lines_too(thread, reports, caplog):
    """The oldest are dropped and counted; the log is not flooded."""
    for _ in range(10_500):
        thread.post(EventSink(print), Event("notice"))
    assert (len(thread.events), thread.events_dropped) == (10_000, 500)
    assert len(caplog.records) == 1


def test_a_fault_of_our_own_does_not_end_the_thread(thread, reports, caplog):
    """It is logged, and the next one has its turn."""
    done = threading.Event()
    bad = QueuedSink(lambda message: None, Settings(), reports, thread)
    bad.turn = lambda: 1 / 0 if not done.is_set() else False
    good = QueuedSink(lambda message: done.set(), Settings(), reports, thread)
    thread.start()
    for sink in (bad, good):
        sink.deliver([push(**SPOT)])
    assert done.wait(5)
    assert "ZeroDivisionError" in caplog.text


def test_nothing_reaches_an_event_handler_after_remove(connect, exchange):
    """Not even what was queued; and the same function registered twice is two registrations."""
    ws, got, hold, entered = connect(exchange), [], threading.Event(), threading.Event()

    def handler(event):
        got.append(event)
        entered.set()
        hold.wait(5)

    first, second = ws.on_event(handler), ws.on_event(handler)
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    assert entered.wait(5)
    first.remove()
    second.remove()
    third = ws.on_event(handler)
    first.remove()
    before = len(got)
    hold.set()
    ws.subscribe("tickers", instId="ETH-USDT").wait(5)
    eventually(lambda: len(got) > before)
    assert all(event.arg["instId"] == "ETH-USDT" for event in got[before:])
    third.remove()


def test_what_ends_does_not_revive_a_handler_that_was_cut_off(reports):
    """An unsubscribe during the close, for example."""
    sink = InlineSink(lambda message: None, Settings(), reports)
    sink.begin(arg_key(SPOT))
    sink.begin(arg_key(ANY))
    sink.cut_off()
    sink.finish(arg_key(ANY))
    assert sink.dead


def test_links_take_turns_at_an_inline_handler():
    """What one brings while another's thread calls the handler is handed over by that thread, in order; jobs too."""
    entered, go_on, got = threading.Event(), threading.Event(), []

    def work():
        entered.set()
        assert go_on.wait(5)
        got.append("first")

    resumed = threading.Event()
    turn = Turn(resumed.set)
    busy = threading.Thread(target=turn.take, args=(work,))
    busy.start()
    assert entered.wait(5)
    turn.take(got.append, ("second",), MAX_WAITING + 1)
    turn.take(lambda: got.append("third"))
    assert got == [] and turn.full
    go_on.set()
    busy.join(5)
    assert got == ["first", "second", "third"] and resumed.is_set() and not turn.full
    turn.take(lambda: turn.take(lambda: got.append("from inside")))
    assert got[-1] == "from inside"


def test_a_handler_of_several_links_is_called_by_one_at_a_time(exchange, connect):
    """Args on four links, one inline handler that dawdles."""
    ws = connect(exchange, subscriptions_per_link=1)
    inside, worst, calls = [0], [0], [0]

    def dawdle(message):
        inside[0] += 1
        worst[0] = max(worst[0], inside[0])
        time.sleep(0.002)
        calls[0] += 1
        inside[0] -= 1

    args = [{"channel": channel, "instId": "BTC-USDT"} for channel in ("tickers", "trades", "books", "books5")]
    ws.subscribe(args, handler=dawdle, inline=True)
    eventually(lambda: calls[0] > 60, timeout=20)
    assert worst[0] == 1 and len(ws.stats()["endpoints"]["public"]["links"]) == 4
