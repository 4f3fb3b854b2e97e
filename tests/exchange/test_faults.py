"""The switchboard: what can be started, when it strikes, what it says of it, and that it can be told so anywhere."""

import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from okx_ws.exchange import FAULTS, Faults, LocalExchange, describe_faults
from tests.exchange.client import talk
from tests.watch import eventually

TICKERS = {"channel": "tickers", "instId": "BTC-USDT"}


@pytest.fixture
def idle():
    """An exchange that was not started: what is wrong is told all the same."""
    return LocalExchange()


@pytest.mark.parametrize(
    ("name", "parameters", "told"),
    [
        ("dorp", {}, "there is no fault 'dorp'; did you mean drop?"),
        ("zzz", {}, "there are drop, close"),
        ("drop", {"every": 2}, "drop has no parameter 'every'; did you mean every_s?"),
        ("drop", {"code": 1001}, "drop has no parameter 'code'"),
        ("drop", {"endpoint": "pubic"}, "drop: endpoint is one of public, private, business, not 'pubic'"),
        ("drop", {"one": "maybe"}, "drop: one is true or false, not 'maybe'"),
        ("drop", {"one": 1}, "drop: one is true or false, not 1"),
        ("drop", {"every_s": "soon"}, "drop: every_s is a number, not 'soon'"),
        ("drop", {"every_s": float("nan")}, "drop: every_s is a number, not nan"),
        ("drop", {"every_s": 0}, "drop: every_s is more than 0, not 0.0"),
        ("drop", {"after_s": -1}, "drop: after_s is not less than 0, not -1.0"),
        ("drop", {"jitter": 2}, "drop: jitter is from 0 to 1"),
        ("drop", {"probability": 0}, "drop: probability is more than 0"),
        ("drop", {"times": 0}, "drop: times is at least 1"),
        ("drop", {"times": 1.5}, "drop: times is a whole number, not 1.5"),
        ("close", {"code": 1006}, "close: code is one that a close frame can have"),
        ("close", {"reason": "x" * 124}, "close: reason is at most 123 bytes"),
        ("slow", {"delay_s": -1}, "slow: delay_s is not less than 0"),
        ("slow", {"spread": 2}, "slow: spread is from 0 to 1"),
        ("throttle", {"per_s": 0}, "throttle: per_s and frames are more than 0"),
        ("refuse", {"endpoint": "public"}, "use what=upgrade"),
        ("refuse", {"what": "subscribe", "endpoint": "rest"}, "see rest_error"),
        ("refuse", {"what": "upgrade", "status": 200}, "refuse: status is an HTTP status from 300 up"),
        ("rest_error", {"status": 1000}, "rest_error: status is an HTTP status"),
        ("clock_skew", {"every_s": 5}, "say beside every_s how long it lasts each time, by for_s"),
        ("stall", {"channel": 5}, None),
        ("stall", {"channel": 5.5}, "stall: channel is a text, not 5.5"),
        ("stall", {"channel": None}, "stall: channel is a text, not None"),
    ],
)
def test_what_is_wrong_is_told_with_what_would_be_right(name, parameters, told, idle):
    """At once, with nothing started."""
    if told is None:
        assert idle.faults.start(name, **parameters).kind.channel == "5"
        return
    with pytest.raises(ValueError) as caught:
        idle.faults.start(name, **parameters)
    assert told in str(caught.value)
    assert idle.faults._running == []


@pytest.mark.parametrize(
    ("text", "told"), [("drop:2", "'2' in 'drop:2' is not written as key=value"), ("", "there is no fault ''")]
)
def test_a_fault_in_words_is_checked(text, told, idle):
    """As on the command line."""
    with pytest.raises(ValueError, match=told):
        idle.faults.parse(text)


def test_a_fault_in_words_is_the_one_in_python(idle):
    """Types are those of the parameters."""
    fault = idle.faults.parse("notice:endpoint=public, close_after_s=2,one=true,every_s=3,times=4,probability=0.5")
    assert (fault.kind.endpoint, fault.kind.close_after_s, fault.kind.one) == ("public", 2.0, True)
    schedule = fault.schedule
    assert (schedule.every_s, schedule.times, schedule.probability, schedule.for_s) == (3.0, 4, 0.5, None)


def test_all_faults_are_described():
    """With every parameter; all of the design's are there."""
    told = describe_faults()
    wanted = (
        "drop close stall half_open gap corrupt malformed_level notice slow refuse login_silence clock_skew duplicate"
        " reorder no_snapshot historic_checksums reset unsubscribed conn_count_error late_snapshot missing_snapshot"
        " ack_lost rest_error key_removed throttle"
    )
    assert set(wanted.split()) <= set(FAULTS)
    for name in FAULTS:
        assert f"{name}: " in told and FAULTS[name].__doc__
    assert "    probability    of striking at a chance to [1.0]" in told.splitlines()


def test_a_fault_before_the_start_begins_with_it():
    """Its clock too."""
    exchange = LocalExchange()
    fault = exchange.faults.start("refuse", what="upgrade", status=503)
    assert fault.strikes == 0
    with exchange:
        with pytest.raises(Exception, match="503"), talk(exchange):
            pass
        assert fault.strikes == 1
        fault.stop()
        fault.stop()
        with talk(exchange) as client:
            assert client.ask("ping") == "pong"


def test_a_fault_strikes_as_often_as_it_is_told(exchange):
    """every_s, times; and it is written down."""
    fault = exchange.faults.start("duplicate", channel="tickers", every_s=0.05, jitter=0.5, times=3)
    with talk(exchange) as client:
        client.subscribe(TICKERS)
        doubled, last = 0, None
        while doubled < 3:
            (push,) = client.pushes(1, timeout=10)
            doubled, last = doubled + (push == last), push
        assert fault.wait(3)
        (later,) = client.pushes(1, timeout=10)
        assert later != last
    strikes = exchange.faults.log
    assert fault.strikes == len(strikes) == 3
    assert {(s.fault, s.endpoint, s.connId) for s in strikes} == {("duplicate", "public", exchange.desks[0].connId)}
    assert strikes[0].text.startswith("push tickers BTC-USDT ts ")


def test_stopping_all_faults_stops_all(exchange):
    """And what was kept back comes."""
    exchange.faults.start("slow", delay_s=60)
    exchange.faults.start("stall")
    with talk(exchange) as client:
        client.send("ping")
        client.subscribe(TICKERS)
        eventually(lambda: len(exchange.faults.log) >= 2)
        exchange.faults.stop()
        assert client.get() == "pong"
        assert client.get()["event"] == "subscribe"
        assert client.pushes(1)


def test_a_lasting_fault_ends_by_itself(exchange):
    """for_s."""
    fault = exchange.faults.start("clock_skew", by_s=-40, for_s=0.1)
    assert exchange.clock_skew_s == -40 and fault.strikes == 1
    eventually(lambda: exchange.clock_skew_s == 0)


def test_the_same_seed_makes_the_same_choices():
    """A failing run can be repeated."""

    def choices(seed):
        exchange = LocalExchange(seed=seed)
        fault = exchange.faults.start("stall", probability=0.5)
        fault._open = True
        return [fault.strike(None, "") for _ in range(64)]

    assert choices(1) == choices(1) != choices(2)


def test_faults_that_are_over_are_forgotten(exchange):
    """Ten thousand of a long run do not pile up."""
    with talk(exchange) as client:
        client.subscribe(TICKERS)
        client.pushes(1)
        for _ in range(20):
            exchange.faults.start("duplicate", what="push").wait(timeout=5)
        assert len(exchange.faults._running) <= 2
        assert len(exchange.faults.log) == 20


@pytest.mark.parametrize("name", ["half_open", "slow", "refuse"])
def test_faults_whose_time_is_up_are_forgotten(name, exchange):
    """They have nothing to undo, and nothing that is sent is shown to them any more."""
    for _ in range(3):
        exchange.faults.start(name, for_s=0.01)
    lasting = exchange.faults.start(name, for_s=60.0)
    eventually(lambda: exchange.faults.start("reset") and len(exchange.faults._running) <= 3)
    assert lasting in exchange.faults._running
    lasting.stop()
    assert lasting not in exchange.faults._running


def test_faults_may_be_started_from_many_threads(exchange):
    """The log is of all of them."""
    threads = [
        threading.Thread(target=lambda: [exchange.faults.start("clock_skew", by_s=1) for _ in range(10)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert exchange.clock_skew_s == 40 == len(exchange.faults.log)
    exchange.faults.stop()
    assert exchange.clock_skew_s == 0


def test_whoever_watches_is_told_of_faults_too(exchange):
    """On the exchange's thread, from which faults can be started and stopped."""
    told = []

    def see(happening):
        told.append(happening)
        if happening.kind == "connected":
            exchange.faults.start("drop")

    exchange.watch(see)
    with pytest.raises(ConnectionClosed), talk(exchange) as client:
        client.get()
    eventually(lambda: [h.kind for h in told] == ["connected", "fault", "disconnected"])
    assert told[1].text == "drop: 1 connections" and told[2].text == "1006 cut"


def test_a_watcher_that_raises_is_told_no_more(exchange, caplog):
    """And harms nobody."""
    exchange.watch(lambda happening: 1 / 0)
    with talk(exchange) as client:
        client.subscribe(TICKERS)
        assert client.pushes(1)
    assert caplog.text.count("it is told no more") == 1


@given(st.sampled_from(sorted(FAULTS)), st.dictionaries(st.text(max_size=12), st.text(max_size=8), max_size=3))
def test_any_words_are_a_fault_or_an_error(name, parameters):
    """Never another exception."""
    text = f"{name}:{','.join(f'{key}={value}' for key, value in parameters.items())}"
    faults = Faults(SimpleNamespace(call=lambda function: function()), 1)
    try:
        assert faults.parse(text).name == name
    except ValueError as exc:
        assert str(exc)
