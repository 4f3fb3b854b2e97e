"""`Session.resubscribe`: one unsubscribe and one subscribe on the same link, and snapshots that do not come."""

import json

import pytest

from .wired import TICKERS, TRADES, Wired, push, states, timed

BOOKS = {"channel": "books", "instId": "BTC-USDT"}


def active(*args, snapshot_s=None, **settings):
    """Return a session with these args acknowledged, and their streams."""
    wired = Wired(**settings)
    streams = wired.want(*args)
    if snapshot_s is not None:
        for stream in streams:
            wired.session.want_snapshots(stream, snapshot_s, wired.now)
    (request,) = wired.sent()
    wired.ack(request)
    wired.events()
    return wired, streams


def asked(wired):
    return [(request["op"], request["args"]) for request in wired.sent()]


def test_it_unsubscribes_and_subscribes_once_and_touches_nobody_else():
    """Acceptance 50, 51: however often it is asked for meanwhile."""
    wired, (stream, other) = active(BOOKS, TICKERS)
    assert wired.session.resubscribe(stream, wired.now) and stream.anew
    assert not wired.session.resubscribe(stream, wired.now)
    (request,) = wired.sent()
    assert (request["op"], request["args"]) == ("unsubscribe", [BOOKS])
    assert not wired.session.resubscribe(stream, wired.now)
    wired.ack(request)
    (request,) = wired.sent()
    assert (request["op"], request["args"]) == ("subscribe", [BOOKS])
    assert not stream.anew and not wired.session.resubscribe(stream, wired.now)
    wired.ack(request)
    assert states([stream, other]) == ["on", "on"] and wired.sent() == []
    assert wired.events() == [("gap", BOOKS, None), ("subscribed", BOOKS, None)]


def test_each_request_and_each_lost_link_begins_an_epoch():
    """What came before says nothing about what comes after."""
    wired, (stream, other) = active(BOOKS, TICKERS)
    epochs, others = [stream.epoch], other.epoch
    wired.session.resubscribe(stream, wired.now)
    for _ in range(2):
        (request,) = wired.sent()
        epochs.append(stream.epoch)
        wired.ack(request)
    assert other.epoch == others
    wired.reconnect()
    epochs.append(stream.epoch)
    assert epochs == sorted(set(epochs)) and other.epoch > others


def test_the_second_time_it_waits_and_after_a_while_in_health_it_does_not():
    """A stream that breaks again and again must not become a storm."""
    wired, (stream,) = active(BOOKS)
    waits = []
    for _ in range(4):
        assert wired.session.resubscribe(stream, wired.now)
        begin = wired.now
        while not (requests := wired.sent()):
            wired.now = wired.session.due
        waits.append(wired.now - begin)
        wired.ack(*requests)
        wired.ack(*wired.sent())
    assert waits[0] == 0 and waits[1] >= 1 and waits == sorted(waits)
    wired.now += 61
    wired.get(push(BOOKS))
    assert wired.session.resubscribe(stream, wired.now)
    assert [op for op, _ in asked(wired) if op != "ping"] == ["unsubscribe"]


def test_a_lost_link_does_it_anyway():
    """The new link subscribes; nothing is left of the wish."""
    wired, (stream,) = active(BOOKS)
    wired.session.resubscribe(stream, wired.now)
    wired.reconnect()
    assert asked(wired) == [("subscribe", [BOOKS])] and not stream.anew


@pytest.mark.parametrize("code", ["50011", "60014", "64007"])
@pytest.mark.parametrize("op", ["unsubscribe", "subscribe"])
def test_what_is_worth_a_retry_is_tried_again(op, code):
    """Acceptance 58: busy or limited, at either of the two requests."""
    wired, (stream,) = active(BOOKS)
    wired.session.resubscribe(stream, wired.now)
    (request,) = wired.sent()
    if op == "subscribe":
        wired.ack(request)
        (request,) = wired.sent()
    wired.refuse(code, "later", request["id"])
    assert wired.sent() == []
    wired.now += 10
    request = next(request for request in wired.sent() if request["op"] == op)
    wired.ack(request)
    if op == "unsubscribe":
        wired.ack(*wired.sent())
    assert states([stream]) == ["on"] and not stream.anew


def test_what_no_retry_mends_stops_and_the_intent_is_kept():
    """Acceptance 58: 60018; the holder stays, and a user who subscribes anew begins afresh."""
    wired, (stream,) = active(BOOKS)
    wired.session.resubscribe(stream, wired.now)
    wired.ack(*wired.sent())
    (request,) = wired.sent()
    wired.refuse("60018", "channel:books,instId:BTC-USDT doesn't exist", request["id"])
    assert stream.refusal is not None and stream.refusal.code == "60018" and stream.holders == ["me"]
    wired.now += 9
    assert asked(wired) == []
    wired.want(BOOKS, holder="you")
    assert asked(wired) == [("subscribe", [BOOKS])]


def test_an_unsubscribe_that_is_refused_for_good_is_followed_by_the_subscribe():
    """The server may no longer have it."""
    wired, (stream,) = active(BOOKS)
    wired.session.resubscribe(stream, wired.now)
    (request,) = wired.sent()
    wired.refuse("60018", "channel:books,instId:BTC-USDT doesn't exist", request["id"])
    assert asked(wired) == [("subscribe", [BOOKS])]


def test_one_that_is_unsubscribed_meanwhile_only_leaves():
    """The wish of the user counts."""
    wired, (stream,) = active(BOOKS)
    wired.session.resubscribe(stream, wired.now)
    wired.session.unsubscribe(stream, "me")
    (request,) = wired.sent()
    wired.ack(request)
    assert request["op"] == "unsubscribe" and wired.sent() == [] and len(wired.session.subscriptions) == 0


def test_a_second_arg_for_the_same_pushes_does_not_hinder_it():
    """With extraParams: to the server they are one subscription."""
    wired, (stream, _) = active(BOOKS, {**BOOKS, "extraParams": "{}"})
    wired.session.resubscribe(stream, wired.now)
    (request,) = wired.sent()
    wired.ack(request, BOOKS)
    assert (request["op"], asked(wired)) == ("unsubscribe", [("subscribe", [BOOKS])])


def test_a_snapshot_that_does_not_come_is_asked_for_anew():
    """Acceptance 57: after a limit; each attempt is told, at growing distances, for ever."""
    wired, (stream, _) = active(BOOKS, TRADES, snapshot_s=5)
    wired.session.subscriptions.find(TRADES).snapshot_by = float("inf")
    attempts = []
    for _ in range(4):
        acked = wired.now
        while not (requests := [request for request in wired.sent() if request["op"] == "unsubscribe"]):
            wired.now = min(wired.session.due, wired.now + 1)
            wired.get(b"pong")
        attempts.append(wired.now - acked)
        assert requests[0]["args"] == [BOOKS]
        assert ("subscribe_failed", BOOKS, None) in wired.events()
        wired.ack(*requests)
        wired.ack(*wired.sent())
    assert 5 <= attempts[0] < 6 and 6 <= attempts[1] < attempts[2] < attempts[3]


def test_a_snapshot_that_comes_is_enough():
    """Silence after it is no fault: a thin book changes rarely."""
    wired, (stream,) = active(BOOKS, snapshot_s=5)
    wired.now += 1
    wired.get(push(BOOKS))
    for _ in range(60):
        wired.now += 1
        wired.get(b"pong")
        assert [op for op, _ in asked(wired)] == [] and not stream.anew


def test_a_snapshot_is_wanted_of_a_stream_that_is_there_already():
    """The second holder joins mid-stream: without one it would have to guess."""
    wired, (stream,) = active(BOOKS)
    (again,) = wired.want(BOOKS, holder="you")
    wired.session.want_snapshots(again, 5, wired.now)
    assert again is stream and asked(wired) == [("unsubscribe", [BOOKS])]


def test_whoever_else_reads_the_stream_is_told_of_the_hole():
    """Between the two answers nothing comes: a marker stands there in queues, where the new snapshot begins."""
    wired = Wired(markers=True)
    (stream,) = wired.want(BOOKS)
    wired.ack(*wired.sent())
    wired.get(timed(BOOKS, 1_700_000_000_001))
    wired.session.resubscribe(stream, wired.now)
    (leave,) = wired.sent()
    assert len(wired.get(timed(BOOKS, 1_700_000_000_002))) == 1, "still under way: no hole yet"
    wired.ack(leave)
    wired.ack(*wired.sent())
    marker, _ = map(json.loads, wired.get(timed(BOOKS, 1_700_000_000_009)))
    bounds = (marker["cause"], marker["since_ms"], marker["until_ms"])
    assert bounds == ("sequence", 1_700_000_000_002, 1_700_000_000_009)
    assert len(wired.get(timed(BOOKS, 1_700_000_000_010))) == 1
