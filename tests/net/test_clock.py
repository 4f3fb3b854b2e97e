"""The clock: logins are signed with OKX's time, whatever this machine's clock says; and the worker that asks it."""

import time

import pytest

from okx_ws import LoginError
from okx_ws.net.worker import RestWorker
from okx_ws.protocol.clock import Sample, offset_of
from tests.watch import Watch, eventually


def test_the_offset_is_that_of_the_quickest_answer_against_its_midpoint():
    """Pure: half of the round trip is the most it can be wrong."""
    samples = [Sample(100.0, 101.0, 140.9), Sample(110.0, 110.2, 150.1), Sample(120.0, 120.6, 161.0)]
    assert offset_of(samples) == pytest.approx(40.0)


@pytest.mark.parametrize("skew", [-40.0, 40.0, 3600.0])
def test_a_wrong_clock_does_not_matter(skew, exchange, connect):
    """Acceptance 23: the timestamp sent is server time; the skew is told once."""
    exchange.clock_skew_s = skew
    ws = connect(exchange, **exchange.credentials)
    watch = Watch(ws)
    ws.subscribe("account").wait(5)
    ws.subscribe("orders-algo", instType="ANY").wait(5)
    side = "ahead of" if skew < 0 else "behind"
    assert f"{abs(skew):.1f} s {side} OKX's" in watch.wait("notice").msg
    assert sum("clock" in notice.msg for notice in watch.of("notice")) == 1
    assert ws._clock.offset_s == pytest.approx(skew, abs=0.5)


def test_without_clock_sync_a_wrong_clock_is_a_typed_error(exchange, connect):
    """Acceptance 23: 60006, at once, with what to do."""
    exchange.clock_skew_s = 40
    ws = connect(exchange, clock_sync=False, **exchange.credentials)
    with pytest.raises(LoginError, match="Timestamp request expired.*synchronise") as caught:
        ws.subscribe("account").wait(5)
    assert caught.value.code == "60006"
    assert exchange.rest.requests == [] and len(exchange.desks[0].requests) == 1


def test_a_clock_that_went_wrong_is_asked_anew(exchange, connect):
    """60006 on a later link: one resync, one retry."""
    ws = connect(exchange, **exchange.credentials)
    watch = Watch(ws)
    ws.subscribe("account").wait(5)
    exchange.clock_skew_s = 50  # as if this machine had been suspended
    exchange.drop()
    watch.wait("subscribed")
    watch.wait("subscribed")
    assert [request["op"] for request in exchange.desks[1].requests] == ["login", "login", "subscribe"]
    retried = watch.wait("login_failed")
    assert (retried.code, retried.delay_s) == ("60006", 0)
    assert len(exchange.rest.requests) == 6


def test_public_data_asks_nothing(exchange, connect):
    """Not even with a key at hand."""
    ws = connect(exchange, **exchange.credentials)
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    assert exchange.rest.requests == []


def test_rest_that_is_down_does_not_hold_up_a_login(exchange, connect):
    """Refused at once: the local clock is used at once, and told."""
    ws = connect(exchange, **{**exchange.credentials, "urls": {**exchange.urls, "rest": "http://127.0.0.1:9"}})
    watch = Watch(ws)
    start = time.monotonic()
    ws.subscribe("account").wait(5)
    assert time.monotonic() - start < 1
    assert "signed with the local one" in watch.wait("notice").msg


def test_rest_that_is_mute_holds_up_a_login_for_two_seconds(exchange, peer, connect):
    """At most; and close does not wait for it."""
    mute = peer(lambda talk: talk.read(10**6))
    rest = {"rest": f"http://127.0.0.1:{mute.port}"}
    ws = connect(exchange, **{**exchange.credentials, "urls": {**exchange.urls, **rest}})
    watch = Watch(ws)
    start = time.monotonic()
    ws.subscribe("account").wait(5)
    assert 1.9 < time.monotonic() - start < 2.8
    assert "signed with the local one" in watch.wait("notice").msg
    start = time.monotonic()
    ws.close()
    assert time.monotonic() - start < 1


def test_the_worker_runs_jobs_in_order_of_their_time_and_survives_bad_ones():
    """One thread; a job that raises costs only itself; stopped, nothing runs."""
    worker, done = RestWorker(), []
    worker.submit(lambda: done.append("late"), 0.1)
    worker.submit(lambda: 1 / 0)
    worker.submit(lambda: done.append("first"))
    worker.submit(lambda: done.append("second"))
    eventually(lambda: len(done) == 3)
    assert done == ["first", "second", "late"]
    worker.submit(lambda: done.append("never"), 5)
    worker.stop()
    assert worker.join(time.monotonic() + 2)
    worker.submit(lambda: done.append("never"))
    assert len(done) == 3
