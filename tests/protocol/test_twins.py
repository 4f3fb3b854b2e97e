"""A stream and its twin on another link: what stands, what begins anew, and who takes whose place."""

from okx_ws.protocol.calls import Call, Calls
from tests.protocol.wired import TICKERS, TRADES, Wired, push, timed


def paired(*args):
    """Two sessions with links: the second wants what the first wants; everything is acknowledged on both."""
    first, second = Wired(), Wired()
    streams = first.want(*args)
    for stream in streams:
        second.session.want_twin(stream)
    for wired in (first, second):
        wired.session.merged(True)
        for request in wired.sent():
            wired.ack(request)
        wired.told()
    return first, second, streams


def test_a_twin_is_wanted_as_long_as_the_stream_is():
    """By the same holders: the last one that leaves leaves both."""
    first, second, (stream,) = paired(TICKERS)
    assert stream.stands and stream.twin.wanted
    first.session.unsubscribe(stream, "me")
    second.session.want_twin(stream)
    assert not stream.wanted and not stream.twin.wanted
    assert [request["op"] for request in (*first.sent(), *second.sent())] == ["unsubscribe", "unsubscribe"]


def test_no_epoch_begins_while_the_twin_goes_on():
    """What is chained goes on over the other link; when that is lost as well, nothing does."""
    first, second, (stream,) = paired(TICKERS)
    epoch = stream.epoch
    first.session.link_down()
    assert stream.stands and not stream.live and stream.epoch == epoch
    second.session.link_down()
    assert not stream.stands and stream.epoch > epoch and stream.twin.epoch == stream.epoch


def test_what_the_twin_brings_for_sure_is_no_hole():
    """Unless it is not sure, or not there."""
    first, second, (covered, not_sure) = paired(TICKERS, TRADES)
    covered.twin.sure = True
    first.session.link_down()
    assert covered.hole_since_ms is None and not_sure.hole_since_ms is not None


def test_a_new_acknowledgement_has_to_be_proven_anew():
    """Sure is said of one acknowledgement."""
    first, _, (stream,) = paired(TICKERS)
    stream.sure = True
    first.session.resubscribe(stream, first.now)
    first.ack(first.sent()[0])
    assert not stream.sure


def test_a_stream_takes_the_place_of_its_twin():
    """With its routes, its answers, and what is known of its messages; its hole is told already, or there is none."""
    first, second, (stream, quiet) = paired(TICKERS, TRADES)
    twin = stream.twin
    assert first.get(push(TICKERS, 1)) and second.get(push(TICKERS, 2))
    quiet.twin.sure = True
    second.session.resubscribe(twin, second.now)
    request = second.sent()[0]
    first.session.link_down()
    for one in (stream, quiet):
        second.session.take_over(one)
    assert second.session.subscriptions.find(TICKERS) is stream and stream.twin is None
    assert stream.hole_since_ms is None and quiet.hole_since_ms is None and quiet.live
    assert stream.messages == 2 and b'"n":2' in stream.newest
    second.ack(request)
    second.ack(second.sent()[0])
    assert stream.live and second.get(push(TICKERS, 3))


def test_what_the_twin_lacks_by_then_is_missing():
    """The server has ended it, which was nothing while the stream covered it; then the stream's own link went."""
    first, second, (stream,) = paired(TRADES)
    assert first.get(timed(TRADES, 1_700_000_000_001))
    stream.sure = True
    second.get({"event": "unsubscribe", "arg": TRADES, "connId": "c0"})
    assert stream.twin.hole_since_ms is not None and "gap" not in [event.type for event in second.told()]
    first.session.link_down()
    second.session.take_over(stream)
    assert (stream.wire, stream.hole_cause) == ("off", "disconnect")
    assert stream.hole_since_ms is not None and "gap" not in [event.type for event in first.told() + second.told()]


def test_a_refused_twin_has_a_fresh_start_with_the_stream():
    """When somebody subscribes anew."""
    first, second, (stream,) = paired(TICKERS)
    stream.twin.refusal = ValueError("refused")
    first.want(TICKERS, holder="another")
    second.session.want_twin(stream)
    assert stream.twin.refusal is None


def test_pongs_are_counted_against_pings():
    """Those of the heartbeat as well: the number asked for is behind all that were sent before."""
    wired = Wired()
    wired.now += 16
    assert wired.session.pump(wired.now) == ["ping"]
    target = wired.session.ping()
    assert wired.session.pump(wired.now) == ["ping"] and target == 2
    wired.get(b"pong")
    assert wired.session.pongs == 1
    wired.get(b"pong")
    assert wired.session.pongs == target
    wired.reconnect()
    assert wired.session.pings == wired.session.pongs == 0


def test_calls_that_wait_go_on_elsewhere_those_sent_end_here():
    """Each ends once, with its own link's reply or loss."""
    done = []
    calls = [Call("order", [{}], 2000.0, lambda call, outcome: done.append(call)) for _ in range(3)]
    old, new = Calls(), Calls()
    none = old.split()
    old.absorb(new)
    assert none.due == old.due == float("inf"), "nothing to do: the link sleeps"
    old.add(calls[0])
    assert len(old.pump(1000.0, True)) == 1
    old.add(calls[1])
    new.add(calls[2])
    sent = old.split()
    old.absorb(new)
    assert sent.in_flight and not old.in_flight and len(old) == 2
    assert len(old.pump(1000.0, True)) == 2
    assert sent.replied({"id": calls[0].id}, 1000.0) and not old.replied({"id": calls[0].id}, 1000.0)
    old.expire(3000.0)
    assert [call for call, _ in sent.settled] == [calls[0]]
    assert {call for call, _ in old.settled} == {calls[1], calls[2]}


def test_a_hole_begins_behind_what_was_delivered_not_behind_what_came():
    """What one link brought and the merge had still to prove was delivered to nobody."""
    first, second, (stream,) = paired(TRADES)
    assert first.get(timed(TRADES, 1_700_000_000_001))
    (delivered,) = (route.last for route in stream.routes)
    assert first.get(timed(TRADES, 1_700_000_000_002))
    first.session.link_down()
    assert stream.hole_since_ms == 1_700_000_000_002
    (route,) = stream.routes
    route.last = delivered
    first.session.holes.moved(stream)
    assert (stream.hole_since_ms, stream.hole_last) == (1_700_000_000_001, delivered)
