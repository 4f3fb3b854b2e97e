"""Streams that fall silent, and streams that are subscribed anew. Times are set by hand."""

import pytest

from okx_ws.protocol.session import LinkFault
from tests.protocol.wired import TICKERS, TRADES, Wired

PUSH = {"arg": TICKERS, "data": [{"ts": "1700000000000"}]}
OTHER = {"arg": TRADES, "data": [1]}


def ops(requests):
    return [(request["op"], request["args"]) for request in requests]


def listening(max_silence=20.0, **settings):
    """A session with a stream that must not be silent, and one that may; both active."""
    wired = Wired(ping_interval=29, pong_timeout=10_000, **settings)
    wired.session.subscribe(TICKERS, False, "me", max_silence)
    wired.want(TRADES)
    (request,) = wired.sent()
    wired.ack(request)
    wired.told()
    return wired


def told(wired, type):
    return [event for event in wired.told() if event.type == type]


def test_silence_subscribes_anew_and_then_gives_the_link_up():
    """Told as `stalled` each time; the patience doubles."""
    wired = listening(20)
    assert wired.session.due <= wired.now + 20
    wired.now += 19.9
    wired.get(OTHER)
    assert wired.sent() == [] and told(wired, "stalled") == []
    wired.now += 0.2
    (leave,) = wired.sent()
    assert ops([leave]) == [("unsubscribe", [TICKERS])]
    (stalled,) = told(wired, "stalled")
    assert stalled.arg == TICKERS and "20 s" in stalled.msg
    wired.ack(leave)
    (enter,) = wired.sent()
    wired.ack(enter)
    wired.now += 39
    wired.get(OTHER)
    assert wired.sent() == []
    wired.now += 2
    with pytest.raises(LinkFault, match="stalled.*tickers"):
        wired.sent()
    assert "given up" in told(wired, "stalled")[0].msg


def test_a_stall_is_found_though_the_acknowledgement_was_lost():
    """Data had come, so it is subscribed: what is missing has its beginning and its end."""
    wired = Wired(ping_interval=29, pong_timeout=10_000, markers=True)
    wired.session.subscribe(TICKERS, False, "me", 4.0)
    assert len(wired.sent()) == 1
    wired.now += 5
    assert wired.sent() == [] and told(wired, "stalled") == [], "nothing has come yet"
    wired.get(PUSH)
    wired.now += 3.9
    assert wired.sent() == [] and told(wired, "stalled") == []
    wired.now += 0.2
    wired.sent()
    events = wired.told()
    assert [event.type for event in events] == ["gap", "stalled"] and events[0].data["cause"] == "stall"


@pytest.mark.parametrize("markers", [False, True])
def test_a_message_ends_the_stall(markers):
    """Told as `repaired`; with markers, one stands before it, with the cause."""
    wired = listening(20, markers=markers)
    wired.get(PUSH)
    wired.now += 21
    wired.sent()
    wired.told()
    got = wired.get(PUSH)
    assert [b'"cause":"stall"' in text for text in got] == ([True, False] if markers else [False])
    assert [event.arg for event in told(wired, "repaired")] == [TICKERS]
    wired.get(PUSH)
    assert told(wired, "repaired") == []
    stream = wired.session.subscriptions.find(TICKERS)
    assert stream.stalls == 0 and stream.messages == 3


def test_messages_keep_a_stream_from_stalling():
    """Each starts the time anew."""
    wired = listening(20)
    for _ in range(10):
        wired.now += 19
        wired.get(PUSH)
        assert wired.sent() == []
    assert told(wired, "stalled") == []


def test_what_has_arrived_but_was_not_told_yet_is_no_silence():
    """A process that was stopped reads first."""
    wired = listening(20)
    wired.now += 500
    wired.session.pump(wired.now, idle=False)
    assert told(wired, "stalled") == []


def test_only_what_is_active_and_wanted_can_stall():
    """Not what is refused, left, or not acknowledged yet."""
    wired = Wired(ping_interval=29, pong_timeout=10_000)
    stream = wired.session.subscribe(TICKERS, False, "me", 2.0)
    (request,) = wired.sent()
    wired.now += 5
    wired.sent()
    assert told(wired, "stalled") == []
    wired.ack(request)
    wired.session.unsubscribe(stream, "me")
    wired.sent()
    wired.now += 5
    wired.sent()
    assert told(wired, "stalled") == []


def test_a_stall_is_answered_at_once_whatever_was_asked_for_before():
    """An order book that was mended lately is paced; a stall has had its patience."""
    wired = listening(20)
    stream = wired.session.subscriptions.find(TICKERS)
    for _ in range(4):
        wired.session.resubscribe(stream, wired.now)
        while not (requests := wired.sent()):
            wired.now = stream.not_before
        wired.ack(*requests)
        wired.ack(*wired.sent())
    assert stream.attempts == 4
    wired.now += 21
    assert ops(wired.sent()) == [("unsubscribe", [TICKERS])]


BOOK = {"channel": "books", "instId": "BTC-USDT"}


def with_book(max_silence=None, arg=BOOK):
    wired = Wired(ping_interval=29, pong_timeout=10_000)
    wired.session.subscribe(arg, False, "me", max_silence)
    wired.want(TRADES)
    wired.ack(*wired.sent())
    wired.told()
    return wired


def pass_time(wired, seconds):
    """Let time pass in which only another stream speaks; return how often a stall was told."""
    stalls = 0
    for _ in range(seconds // 10):
        wired.now += 10
        wired.get(OTHER)
        for request in wired.sent():
            wired.ack(request)
        stalls += len(told(wired, "stalled"))
    return stalls


def test_a_book_has_a_patience_of_its_own_and_ends_no_link():
    """OKX promises a sign of life each minute; one that is not kept costs a subscription, no more."""
    wired = with_book()
    wired.get({"arg": BOOK, "action": "snapshot", "data": [{"asks": [], "bids": [], "ts": "1", "seqId": 1}]})
    assert pass_time(wired, 290) == 0
    assert pass_time(wired, 20) == 1
    assert pass_time(wired, 5000) == 0, "nothing has come since: it may be that nothing ever does"


@pytest.mark.parametrize(
    ("arg", "max_silence", "stalls"),
    [
        (BOOK, float("inf"), 0),
        (BOOK, 30.0, 1),
        ({"channel": "tickers", "instId": "BTC-USDT"}, None, 0),
        ({"channel": "mark-price", "instId": "BTC-USDT"}, None, 1),
        ({"channel": "account"}, None, 1),
        ({"channel": "account", "extraParams": '{"updateInterval": "0"}'}, None, 0),
    ],
)
def test_how_long_a_stream_may_be_silent(arg, max_silence, stalls):
    """By its channel, unless users say otherwise: never, or their own number."""
    wired = with_book(max_silence, arg)
    wired.get({"arg": {name: value for name, value in arg.items() if name != "extraParams"}, "data": [{"ts": "1"}]})
    assert pass_time(wired, 80) == stalls


def test_what_has_never_spoken_keeps_no_promise():
    """An instrument that is suspended, for example."""
    assert pass_time(with_book(), 1000) == 0
